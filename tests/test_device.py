import copy
from pathlib import Path

import pytest
import torch
import yaml
from torch import nn
from torch.testing import assert_close
from torch.utils._pytree import tree_leaves

from cnnbench import arithmetic
from cnnbench.config.settings import build
from cnnbench.device import DEVICES, TORCH_THREADS, Device, auto, cpu, make_device
from cnnbench.errors import UnavailableError
from cnnbench.techniques.optimizers import OPTIMIZERS
from cnnbench.techniques.regularizers import SAM

CONF = Path(__file__).parents[1] / "conf" / "optimizer"

IMAGES = torch.randn(8, 2, 6, 6, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(8) % 3
POLICY = {"precision": "fp32", "memory_format": "contiguous", "compile": False, "threads": 1}


def policy(precision="fp32", **changes):
    return cpu(**{**POLICY, "precision": precision, **changes})


def tiny():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3))


def loss_of(device, model):
    with device.autocast():
        logits = model(IMAGES)
    return nn.functional.cross_entropy(logits.float(), LABELS)


def no_change(_):
    pass


def train(precision, steps=3):
    """The weights after a few steps, as one vector."""
    device, model = policy(precision), tiny()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    stepped = [device.backward_and_step(loss_of(device, model), optimizer, no_change) for _ in range(steps)]
    assert stepped == [True] * steps
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


@pytest.mark.parametrize(("precision", "tolerance"), [("bf16", 0.03), ("fp16", 0.005)])
def test_steps_in_lower_precision_stay_close_to_those_in_fp32(precision, tolerance):
    start = torch.cat([parameter.detach().flatten() for parameter in tiny().parameters()])
    exact, lower = train("fp32"), train(precision)
    moved = (exact - start).norm()
    assert 0 < (lower - exact).norm() < tolerance * moved


@pytest.mark.parametrize(
    ("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float16)]
)
def test_autocast_computes_in_the_precision_of_the_policy(precision, dtype):
    device = policy(precision)
    with device.autocast():
        assert tiny()(IMAGES).dtype == dtype


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_on_gradients_sees_gradients_in_true_units_and_may_change_them(precision):
    device, model = policy(precision), tiny()
    reference = torch.autograd.grad(loss_of(policy(precision), model), list(model.parameters()))
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    before = [parameter.detach().clone() for parameter in model.parameters()]

    def halve(_):
        for parameter, expected in zip(model.parameters(), reference, strict=True):
            assert_close(parameter.grad, expected, rtol=0.01, atol=1e-4)
            parameter.grad.mul_(0.5)

    assert device.backward_and_step(loss_of(device, model), optimizer, halve)
    for parameter, old, gradient in zip(model.parameters(), before, reference, strict=True):
        assert_close(parameter.detach(), old - 0.5 * gradient, rtol=0.01, atol=1e-4)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_second_backward_replaces_the_gradients_by_those_of_the_other_loss(precision):
    device, model = policy(precision), tiny()
    reference = torch.autograd.grad(3 * loss_of(device, model), list(model.parameters()))

    def again(backward):
        backward(3 * loss_of(device, model))
        for parameter, expected in zip(model.parameters(), reference, strict=True):
            assert_close(parameter.grad, expected, rtol=0.02, atol=1e-3)

    assert device.backward_and_step(loss_of(device, model), torch.optim.SGD(model.parameters(), lr=0.1), again)


def test_sharpness_aware_steps_in_fp16_stay_close_to_those_in_fp32():
    ends = {}
    for precision in ("fp32", "fp16"):
        device, model, sam = policy(precision), tiny(), SAM(rho=0.05)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

        def second(backward, device=device, model=model, sam=sam):
            sam.on_gradients(model, lambda: backward(loss_of(device, model)))

        for _ in range(3):
            assert device.backward_and_step(loss_of(device, model), optimizer, second)
        ends[precision] = torch.cat([parameter.detach().flatten() for parameter in model.parameters()])
    assert_close(ends["fp16"], ends["fp32"], rtol=0.02, atol=5e-4)


def test_an_fp16_overflow_skips_the_step_and_halves_the_scale():
    device, model = policy("fp16"), tiny()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    before = [parameter.detach().clone() for parameter in model.parameters()]
    device.load_state_dict(device.state_dict() | {"scale": 2.0**40})
    assert not device.backward_and_step(loss_of(device, model), optimizer, no_change)
    assert device.state_dict()["scale"] == 2.0**39
    for parameter, old in zip(model.parameters(), before, strict=True):
        assert torch.equal(parameter, old)


@pytest.mark.parametrize("skipped", [0, 1, 2])
@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_a_skipped_step_leaves_weights_and_optimizer_as_they_were(name, skipped):
    def state():
        leaves = tree_leaves([optimizer.state_dict(), list(model.parameters())])
        return [copy.deepcopy(leaf) for leaf in leaves if isinstance(leaf, torch.Tensor | float | int)]

    settings = yaml.safe_load((CONF / f"{name}.yaml").read_text())
    ends = []
    for skips in ([], [skipped]):
        device, model = policy("fp16"), tiny()
        optimizer = build(OPTIMIZERS, "optimizer", settings, model=model)
        for number in range(3):
            for scale in [2.0**40] * (number in skips) + [1.0]:
                before = state()
                device.load_state_dict(device.state_dict() | {"scale": scale})
                assert device.backward_and_step(loss_of(device, model), optimizer, no_change) == (scale == 1.0)
                if scale != 1.0:
                    assert_close(state(), before, rtol=0, atol=0)
        ends.append(torch.cat([parameter.detach().flatten() for parameter in model.parameters()]))
    assert torch.equal(*ends)


def test_the_loss_scale_survives_a_round_trip_and_other_precisions_keep_none():
    device = policy("fp16")
    device.load_state_dict(device.state_dict() | {"scale": 512.0})
    other = policy("fp16")
    other.load_state_dict(device.state_dict())
    assert other.state_dict()["scale"] == 512.0
    assert policy("bf16").state_dict() == {}
    policy("fp32").load_state_dict({})


def test_place_moves_the_model_into_the_memory_format():
    channels_last = policy(memory_format="channels_last")
    assert channels_last.place(tiny())[0].weight.is_contiguous(memory_format=torch.channels_last)
    assert channels_last.torch_memory_format == torch.channels_last
    assert policy().place(tiny())[0].weight.is_contiguous()


@pytest.mark.parametrize(("threads", "number"), [(2, 2), (1, 1), (None, TORCH_THREADS)])
def test_threads_are_set_when_the_policy_is_made_the_processs_and_null_means_torchs_own(threads, number):
    torch.set_num_threads(3)
    device = policy(threads=threads)
    assert torch.get_num_threads() == 3
    device.activate()
    assert device.threads == torch.get_num_threads() == number


def test_a_device_that_is_not_there_is_unavailable(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.mps, "is_available", lambda: False)
    for name in ("cuda", "mps"):
        with pytest.raises(UnavailableError, match=f"device={name}: .*use device=auto") as caught:
            build(DEVICES, "device", {"name": name, **POLICY})
        assert caught.value.exit_code == 69


def test_tf32_on_a_cpu_is_refused_not_replaced():
    with pytest.raises(UnavailableError, match=r"device\.precision=tf32: this cpu has no TF32") as caught:
        policy("tf32")
    assert caught.value.exit_code == 69


@pytest.mark.parametrize(("rate", "precision"), [(2.0, "bf16"), (1.0, "fp32"), (0.1, "fp32")])
def test_auto_takes_bf16_only_where_the_cpu_computes_faster_in_it(monkeypatch, rate, precision):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.mps, "is_available", lambda: False)
    monkeypatch.setattr(arithmetic, "core_rate", lambda numbers: {"fp32": 1.0, "bf16": rate}[numbers])
    monkeypatch.setattr(arithmetic, "trains_in", lambda precision: True)
    device = auto(precision="auto", memory_format="auto", compile=False, threads=1)
    assert (device.torch_device.type, device.precision, device.memory_format) == ("cpu", precision, "channels_last")


def test_auto_keeps_what_is_asked_for():
    device = auto(precision="fp32", memory_format="contiguous", compile=False, threads=1)
    assert (device.precision, device.memory_format) == ("fp32", "contiguous")


def test_without_compile_the_forward_pass_is_the_model_itself():
    model = tiny()
    assert make_device("cpu", "fp32", "contiguous", threads=1).compiled(model) is model


@pytest.mark.slow
def test_the_compiled_forward_pass_gives_the_same_logits():
    device, model = policy(compile=True), tiny()
    assert isinstance(device, Device)
    forward = device.compiled(model)
    assert forward is not model
    assert_close(forward(IMAGES), model(IMAGES))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_step_on_the_gpu_is_close_to_one_on_the_cpu():
    device, model = make_device("cuda", "fp32", "channels_last"), tiny()
    expected = tiny()(IMAGES)
    device.place(model)
    assert_close(model(IMAGES.cuda()).cpu(), expected, rtol=1e-3, atol=1e-4)
