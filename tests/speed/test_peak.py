import pytest

from cnnbench.speed import peak


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(peak, "ROUNDS", 1)
    monkeypatch.setattr(peak, "SIDE", 32)
    monkeypatch.setattr(peak, "SIZES", {"cpu": 64})


def test_the_peak_is_that_of_the_fastest_product(small, monkeypatch):
    monkeypatch.setattr(peak, "take_turns", lambda products, rounds: {name: [2.0, 0.5, 1.0] for name in products})
    assert peak.measure_peaks("cpu", ["fp32"]) == {"fp32": 2 * 64**3 / 0.5}


def test_an_emulated_precision_counts_by_its_small_product_and_a_missing_one_not_at_all(small, monkeypatch):
    seconds = {"fp32": 1.0, "bf16": 3.0}
    monkeypatch.setattr(peak, "_product", lambda kind, numbers, size, threads: numbers)
    monkeypatch.setattr(peak, "best_seconds", seconds.__getitem__)
    monkeypatch.setattr(peak, "take_turns", lambda products, rounds: {name: [0.5] for name in products})
    peaks = peak.measure_peaks("cpu", ["fp32", "bf16"])
    assert peaks == {"fp32": 2 * 64**3 / 0.5, "bf16": 2 * 32**3 / 3}
    assert peak.is_emulated("bf16", peaks)
    assert not peak.is_emulated("tf32", peaks)


def test_real_products_take_time_and_what_a_processor_lacks_has_none(small):
    peaks = peak.measure_peaks("cpu", ["fp32", "tf32", "bf16", "int8"])
    assert set(peaks) == {"fp32", "bf16", "int8"}
    assert all(rate > 0 for rate in peaks.values())
