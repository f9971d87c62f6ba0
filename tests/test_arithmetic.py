import pytest
import torch

from cnnbench import arithmetic
from cnnbench.arithmetic import best_seconds, computes_in, core_gflops, core_rate, is_faster, matrix_product, trains_in


@pytest.fixture
def rates(monkeypatch):
    """A processor that is as fast in each kind of numbers as the test says."""
    found = {"fp32": 4.0}
    monkeypatch.setattr(arithmetic, "core_rate", lambda numbers: found.get(numbers, 0.0))
    return found


@pytest.fixture
def steps(monkeypatch):
    """Convolutions that take as long as the test says; nothing is cached."""
    seconds = {"fp32": 1.0}
    monkeypatch.setattr(arithmetic, "convolution_step", lambda precision: precision)
    monkeypatch.setattr(arithmetic, "best_seconds", lambda precision: seconds[precision])
    monkeypatch.setattr(arithmetic, "trains_in", trains_in.__wrapped__)
    return seconds


def test_one_unit_for_bf16_where_fp32_has_two_is_no_gain(rates, steps):
    rates["bf16"], steps["bf16"] = 4.2, 1.1
    assert computes_in("bf16", "cpu")
    assert not is_faster("bf16", "cpu")
    rates["bf16"] = 8.0
    assert is_faster("bf16", "cpu")


def test_what_multiplies_fast_and_trains_by_reference_code_is_emulated(rates, steps):
    rates["fp16"], steps["fp16"] = 8.0, 40.0
    assert not computes_in("fp16", "cpu")
    steps["fp16"] = 0.7
    assert computes_in("fp16", "cpu")


def test_what_multiplies_slowly_is_emulated_without_training_a_step(rates, steps):
    rates["bf16"] = 1.0
    assert not computes_in("bf16", "cpu")
    assert "bf16" not in steps


def test_other_devices_are_asked_what_they_are():
    assert computes_in("fp32", "mps")
    assert computes_in("fp16", "mps")
    assert not computes_in("bf16", "mps")
    assert not computes_in("tf32", "cpu")


def test_real_rates_are_positive_and_take_no_random_numbers():
    for cached in (core_rate, trains_in):
        cached.cache_clear()
    torch.manual_seed(0)
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    rates = core_gflops(("fp32", "bf16", "int8"))
    assert trains_in("fp32")
    assert min(rates.values()) > 0
    assert torch.equal(before, torch.get_rng_state())
    assert torch.get_num_threads() == threads


def test_products_of_whole_numbers_are_exact():
    product = matrix_product("int8", 32, torch.device("cpu"))
    left, right = product.args
    assert torch.equal(product(), left.int() @ right.int())


def test_what_is_slow_is_not_repeated_often(monkeypatch):
    calls = []
    monkeypatch.setattr(arithmetic.time, "perf_counter", lambda: float(len(calls)))
    best_seconds(lambda: calls.append(None))
    assert len(calls) == 2
