import time

import pytest
import torch
from torch import nn

from cnnbench.data.batches import Normalize
from cnnbench.device import make_device
from cnnbench.models.graphs import GraphNet
from cnnbench.speed.clock import as_torch_gives_it, measure, noise, of_network, speedup
from cnnbench.techniques.compression.int8 import Quantize

SHAPE = (1, 8, 8)


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(288, 3)).eval()


class Slow(nn.Module):
    """Takes three milliseconds more for every batch."""

    def __init__(self):
        super().__init__()
        self.net = network()

    def forward(self, images):
        time.sleep(0.003)
        return self.net(images)


@pytest.fixture
def device():
    return make_device("cpu", "fp32", "channels_last", False, 1)


@pytest.fixture
def normalize(device):
    return Normalize(torch.tensor([0.5]), torch.tensor([0.25]), device)


def test_what_is_slower_by_the_clock_is_so_by_the_ratio(device, normalize):
    images = noise(SHAPE)
    slow, fast = (
        of_network(name, model, "policy", device, normalize, images)
        for name, model in (("slow", Slow()), ("fast", network()))
    )
    found = measure([slow, fast], rounds=8)
    assert not found.problems
    assert {size: len(seconds["slow"]) for size, seconds in found.times.items()} == {1: 8, 64: 8, 256: 8}
    ratios = speedup(found.times, "slow", "fast")
    for ratio in ratios.values():
        assert ratio.interval[0] <= ratio.ratio <= ratio.interval[1]
    assert ratios["1"].interval[0] > 1
    latency = found.rows["slow"]["latency_ms"]["1"]
    assert 3 <= latency["p50"] <= latency["p95"]
    assert torch.allclose(found.logits["slow"], found.logits["fast"], atol=1e-5)


def test_as_torch_gives_it_is_float32_contiguous_and_unfolded(normalize):
    policy = make_device("cpu", "bf16", "channels_last", False, 1)
    model, images = network(), noise(SHAPE)
    contender = as_torch_gives_it("eager", model, normalize, policy, images)
    assert (contender.device.precision, contender.device.memory_format) == ("fp32", "contiguous")
    logits = contender.start(4)()
    assert logits.dtype == torch.float32
    assert torch.allclose(logits, model(normalize(images[:4])), atol=1e-6)


@pytest.mark.slow
def test_an_int8_network_through_the_compiler_gives_its_answers_and_has_a_time(device, normalize):
    images = noise(SHAPE)
    normalised = normalize(images)
    made = Quantize(64).finish(network(), [(normalised[:64], torch.zeros(64))])
    assert isinstance(made, GraphNet)
    found = measure([of_network("int8", made, "compiled", device, normalize, images)], rounds=2)
    with torch.no_grad():
        expected = made(normalised)
    assert (found.logits["int8"].argmax(1) == expected.argmax(1)).float().mean() > 0.97
    assert (found.logits["int8"] - expected).norm() < 0.05 * expected.norm()
    assert found.rows["int8"]["images_per_second"] > 0
