"""Int8 against whole numbers: NumPy multiplies and adds what torchao's network, and ours of one layer, say they do."""

import numpy as np
import pytest
import torch
from torch import fx, nn

from cnnbench.techniques.compression.int8 import Quantize
from cnnbench.techniques.compression.one_layer import input_ranges, quantization_of, round_layers, rounded_weight


def whole_numbers(values, scale, zero, lowest, highest):
    """Float32 values as whole numbers: one scale, or one for each filter."""
    inverse = (1 / np.asarray(scale, np.float32)).reshape(-1, *[1] * (values.ndim - 1)).astype(np.float32)
    return np.clip(np.rint(values * inverse) + zero, lowest, highest).astype(np.int32)


def integer_conv(images, weight, *, stride, padding, groups):
    """int32 (N, C, H, W) and (O, C / groups, k, k) to int32 (N, O, H', W'): every product and sum a whole number."""
    images = np.pad(images, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    out_channels, channels, size, _ = weight.shape
    windows = np.lib.stride_tricks.sliding_window_view(images, (size, size), (2, 3))[:, :, ::stride, ::stride]
    per_group = out_channels // groups
    parts = []
    for group in range(groups):
        seen = windows[:, group * channels : (group + 1) * channels]
        filters = weight[group * per_group : (group + 1) * per_group]
        parts.append(np.einsum("nchwij,ocij->nohw", seen, filters, dtype=np.int32))
    sums = np.concatenate(parts, axis=1)
    assert sums.dtype == np.int32
    return sums


class Kept(fx.Interpreter):
    """Keeps the value of every node."""

    def __init__(self, graph):
        super().__init__(graph)
        self.values = {}

    def run_node(self, n):
        self.values[n.name] = super().run_node(n)
        return self.values[n.name]


def network():
    torch.manual_seed(0)
    layers = [
        nn.Conv2d(3, 8, 3, stride=2, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 4, 3, padding=1, groups=2),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, 5),
    ]
    net = nn.Sequential(*layers)
    net(torch.randn(64, 3, 10, 10))  # the norm's averages
    return net.eval()


EXAMPLES = [(torch.randn(32, 3, 10, 10, generator=torch.Generator().manual_seed(1)), torch.zeros(32))]


@pytest.mark.parametrize("number", [0, 1])
def test_a_convolution_of_a_quantised_network_is_one_of_whole_numbers(number):
    quantised = Quantize(32).finish(network(), EXAMPLES)
    nodes = {node["name"]: node for node in quantised.nodes}
    conv = [node for node in quantised.nodes if node.get("of") == "aten.conv2d.default"][number]
    inputs, weights, bias = (nodes[arg["node"]] for arg in conv["args"][:3])
    stride, padding, *rest = conv["args"][3:]
    tensors = quantised.tensors()
    weight, weight_scale, weight_zero = (tensors[nodes[arg["node"]]["of"]].numpy() for arg in weights["args"][:3])
    scale, zero = inputs["args"][1:3]
    assert weight.dtype == np.int8
    assert not weight_zero.any()

    kept = Kept(quantised.graph)
    kept.run(EXAMPLES[0][0])
    values = {node["name"]: value for node, value in zip(quantised.nodes, kept.values.values(), strict=True)}
    stored = values[inputs["args"][0]["node"]]
    assert stored.dtype == torch.uint8
    groups = rest[1] if rest else 1  # after the dilation
    whole_inputs = stored.numpy().astype(np.int32) - zero
    sums = integer_conv(whole_inputs, weight, stride=stride[0], padding=padding[0], groups=groups)
    per_filter = (np.float32(scale) * weight_scale).reshape(1, -1, 1, 1)
    expected = sums * per_filter + tensors[bias["of"]].numpy().reshape(1, -1, 1, 1)
    np.testing.assert_allclose(values[conv["name"]].numpy(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("name", "shape"), [("0", (1, -1, 1, 1)), ("3", (1, -1, 1, 1)), ("7", (1, -1))])
def test_one_rounded_layer_is_one_of_whole_numbers(name, shape):
    model = network()
    layer, images = model.get_submodule(name), EXAMPLES[0][0]
    ranges = input_ranges(model, EXAMPLES)
    inputs = model[: int(name)](images).detach().numpy()
    assert ranges[name] == (min(0.0, inputs.min()), max(0.0, inputs.max()))
    weight, bias = layer.weight.detach().numpy(), layer.bias.detach().numpy()

    low, high = ranges[name]
    scale = (high - low) / 255
    zero = round(-low / scale)
    weight_scale = np.abs(weight).reshape(len(weight), -1).max(1) / np.float32(127.5)
    whole_inputs = whole_numbers(inputs, scale, zero, 0, 255) - zero
    whole_weight = whole_numbers(weight, weight_scale, 0, -128, 127)
    if isinstance(layer, nn.Linear):
        sums = whole_inputs @ whole_weight.T
    else:
        settings = {"stride": layer.stride[0], "padding": layer.padding[0], "groups": layer.groups}
        sums = integer_conv(whole_inputs, whole_weight, **settings)
    expected = sums * (np.float32(scale) * weight_scale).reshape(shape) + bias.reshape(shape)

    round_layers(model, [name], ranges)
    found = model[: int(name) + 1](images).detach().numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    in_float = layer_of_float(name)(torch.from_numpy(inputs)).detach().numpy()
    assert 1e-4 < np.abs(found - in_float).max() < 0.1


def layer_of_float(name):
    return network().get_submodule(name)


def test_the_weights_of_one_rounded_layer_are_those_that_torchao_stores():
    model = network()
    quantised = Quantize(32).finish(network(), EXAMPLES)
    tensors = quantised.tensors()
    stored = tensors["_frozen_param1"].float() * tensors["_scale_1"].view(-1, 1, 1, 1)
    torch.testing.assert_close(rounded_weight(model[3].weight.detach()), stored)


def test_other_layers_and_their_inputs_stay_as_they_are():
    model, rounded = network(), network()
    round_layers(rounded, ["7"], input_ranges(rounded, EXAMPLES))
    assert torch.equal(model[:7](EXAMPLES[0][0]), rounded[:7](EXAMPLES[0][0]))
    assert all(torch.equal(model[place].weight, rounded[place].weight) for place in (0, 1, 3))


@pytest.mark.parametrize(
    ("low", "high", "expected"), [(0.0, 2.55, (0.01, 0)), (-2.55, 0.0, (0.01, 255)), (-1.0, 1.0, (2 / 255, 128))]
)
def test_zero_is_one_of_the_whole_numbers(low, high, expected):
    scale, zero = quantization_of(low, high)
    assert scale == pytest.approx(expected[0])
    assert zero == expected[1]
    assert quantization_of(0.0, 0.0) == (2**-12, 0)


@pytest.mark.parametrize(("size", "missing"), [(7, True), (8, False)])
def test_a_pooling_that_rounds_up_is_quantised_all_the_same(size, missing):
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.MaxPool2d(2, ceil_mode=True), nn.ReLU(), nn.Flatten(), nn.LazyLinear(3)
    )
    images = torch.randn(16, 1, size, size)
    expected = net(images).detach()
    made = Quantize(16).finish(net.eval(), [(images, torch.zeros(16))])
    pads = [node for node in made.nodes if node.get("of") == "aten.pad.default"]
    poolings = [node for node in made.nodes if node.get("of") == "aten.max_pool2d.default"]
    assert [node["args"][-1] for node in poolings] == [False]
    assert bool(pads) is missing
    assert (made(images) - expected).norm() < 0.1 * expected.norm()
