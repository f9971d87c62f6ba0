import math

import pytest
import torch
from torch import nn

from cnnbench.errors import ConfigError
from cnnbench.models.blocks import (
    ACTIVATIONS,
    Residual,
    Style,
    SumPool2d,
    activation_layer,
    conv_unit,
    initialize,
    norm_layer,
    separable_unit,
    with_shortcut,
)

STYLE = Style("batch", "relu")


def test_sum_pooling_is_the_sum_over_each_window():
    images = torch.randn(2, 3, 6, 6)
    pooled = SumPool2d(2, 2)(images)
    assert torch.allclose(pooled, images.reshape(2, 3, 3, 2, 3, 2).sum(dim=(3, 5)), atol=1e-6)


@pytest.mark.parametrize("norm", ["batch", "group", "layer", "none"])
def test_a_convolution_has_a_bias_exactly_where_no_norm_follows(norm):
    unit = conv_unit(3, 32, Style(norm, "relu"))
    assert (unit.conv.bias is None) == (norm != "none")
    assert hasattr(unit, "norm") == (norm != "none")


def test_group_norm_has_groups_of_sixteen_channels_and_layer_norm_has_one():
    assert norm_layer("group", 64).num_groups == 4
    assert norm_layer("group", 24).num_groups == 1
    assert norm_layer("layer", 64).num_groups == 1


def test_every_activation_has_its_formula():
    x = torch.linspace(-3, 3, 13)
    formulas = {
        "relu": x.clamp(min=0),
        "leaky_relu": torch.where(x > 0, x, 0.01 * x),
        "elu": torch.where(x > 0, x, x.exp() - 1),
        "gelu": x * (1 + torch.erf(x / math.sqrt(2))) / 2,
        "silu": x / (1 + (-x).exp()),
        "sigmoid": 1 / (1 + (-x).exp()),
        "tanh": (x.exp() - (-x).exp()) / (x.exp() + (-x).exp()),
    }
    assert set(formulas) == set(ACTIVATIONS)
    for name, expected in formulas.items():
        assert torch.allclose(activation_layer(name)(x), expected, atol=1e-6), name


def test_a_separable_unit_has_one_kernel_per_channel_and_a_pointwise_mix():
    unit = separable_unit(8, 20, STYLE)
    weights = sum(m.weight.numel() for m in unit.modules() if isinstance(m, nn.Conv2d))
    assert weights == 8 * 9 + 8 * 20
    assert weights / (8 * 20 * 9) == pytest.approx(1 / 20 + 1 / 9)


def test_an_even_kernel_cannot_keep_the_map_and_says_so():
    with pytest.raises(ConfigError, match=r"^model.kernel_size=4: padding=same needs an odd kernel"):
        Style("batch", "relu", kernel_size=4)


def test_a_residual_block_is_the_activation_of_the_sum():
    block = Residual(nn.Conv2d(2, 2, 1), nn.Identity(), nn.ReLU())
    images = torch.randn(3, 2, 4, 4)
    assert torch.equal(block(images), (images + block.branch(images)).relu())


def test_a_shortcut_projects_only_where_sizes_change():
    def shortcut(in_channels: int, out_channels: int, stride: int) -> nn.Module:
        branch = nn.Sequential(conv_unit(in_channels, out_channels, STYLE, stride=stride, activate=False))
        return with_shortcut(branch, in_channels, out_channels, stride, STYLE, residual=True).shortcut

    assert isinstance(shortcut(4, 4, 1), nn.Identity)
    assert shortcut(4, 8, 1).conv.kernel_size == (1, 1)
    assert shortcut(4, 4, 2).conv.stride == (2, 2)


def test_stochastic_depth_drops_whole_images_and_keeps_the_expectation():
    torch.manual_seed(0)
    block = Residual(nn.Identity(), nn.Identity(), nn.Identity())
    block.drop_probability = 0.25
    images = torch.ones(20_000, 1, 2, 2)
    branch = block(images) - images
    per_image = branch.flatten(1)
    assert torch.equal(per_image, per_image[:, :1].expand(-1, 4))
    assert branch.unique().tolist() == pytest.approx([0, 4 / 3])
    # mean 1; standard error sqrt(p / (1 - p) / n) = 0.0041
    assert branch.mean().item() == pytest.approx(1, abs=0.02)


def test_stochastic_depth_is_off_by_default_and_at_eval():
    block = Residual(nn.Identity(), nn.Identity(), nn.Identity())
    images = torch.randn(8, 1, 2, 2)
    assert block.drop_probability == 0
    assert torch.equal(block(images), 2 * images)
    block.drop_probability = 0.5
    assert torch.equal(block.eval()(images), 2 * images)


@pytest.mark.parametrize(("activation", "gain"), [("relu", math.sqrt(2)), ("tanh", 5 / 3), ("sigmoid", 1)])
def test_initial_weights_have_the_spread_gain_over_root_fan_in(activation, gain):
    torch.manual_seed(0)
    depthwise = nn.Conv2d(256, 256, 3, groups=256)
    full, logits = nn.Conv2d(64, 128, 3), nn.Linear(100, 10)
    last = logits.weight.clone()
    initialize(nn.Sequential(full, depthwise, logits), activation)
    assert full.weight.std().item() == pytest.approx(gain / math.sqrt(64 * 9), rel=0.03)
    assert depthwise.weight.std().item() == pytest.approx(gain / 3, rel=0.06)
    assert not full.bias.any()
    assert torch.equal(logits.weight, last)


def test_the_signal_keeps_its_scale_through_thirty_relu_layers():
    torch.manual_seed(0)
    units = nn.Sequential(*(conv_unit(16, 16, Style("none", "relu")) for _ in range(30)), nn.Linear(1, 1))
    images, others = torch.randn(2, 8, 16, 8, 8)

    def kept() -> float:
        """The mean squared difference between two batches after the units, as a share of the one before."""
        return ((units[:-1](images) - units[:-1](others)).square().mean() / (images - others).square().mean()).item()

    assert kept() < 1e-12  # PyTorch's own start
    initialize(units, "relu")
    assert 1e-4 < kept() < 1e2
