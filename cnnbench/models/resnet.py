"""Residual networks: the ones for CIFAR and for ImageNet, and wide ones with activations before convolutions."""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from cnnbench.config.settings import Positive, PositiveInt, ProperFraction
from cnnbench.errors import ConfigError
from cnnbench.models.blocks import (
    Activation,
    ConvNet,
    ImageShape,
    Norm,
    Residual,
    Stem,
    Style,
    activation_layer,
    classifier,
    conv_unit,
    norm_layer,
    scaled,
    with_shortcut,
)
from cnnbench.models.dropout import Dropout


@dataclass(frozen=True)
class Plan:
    """The blocks per stage, the width of each stage, and what a block's output widens it by (bottleneck: 4)."""

    blocks: tuple[int, ...]
    widths: tuple[int, ...]
    expansion: int = 1


CIFAR_WIDTHS = (16, 32, 64)
IMAGENET_WIDTHS = (64, 128, 256, 512)
# He et al., Deep Residual Learning, 2016: section 4.2 (6n + 2 layers) and table 1.
PLANS = {depth: Plan(((depth - 2) // 6,) * 3, CIFAR_WIDTHS) for depth in (20, 32, 44, 56, 110)} | {
    18: Plan((2, 2, 2, 2), IMAGENET_WIDTHS),
    34: Plan((3, 4, 6, 3), IMAGENET_WIDTHS),
    50: Plan((3, 4, 6, 3), IMAGENET_WIDTHS, expansion=4),
}


def resnet(
    image_shape: ImageShape,
    num_classes: int,
    *,
    depth: Literal[18, 20, 32, 34, 44, 50, 56, 110],
    stem: Stem,
    width_multiplier: Positive,
    residual: bool,
    norm: Norm,
    activation: Activation,
    dropout: ProperFraction,
) -> ConvNet:
    """ResNet: 20, 32, 44, 56 and 110 layers as for CIFAR, 18, 34 and 50 as for ImageNet.

    `residual` false leaves the skips out: the paper's plain network of equal depth. The `small` stem is a 3x3
    convolution; the `large` one, for images of about 224 pixels, is 7x7 at stride 2 and max pooling. The stride of
    a bottleneck is in its 3x3 convolution. Skips are projections where sizes change (option B), for CIFAR too.
    """
    style = Style(norm, activation)
    plan = PLANS[depth]
    widths = scaled(plan.widths, width_multiplier)
    stages = nn.Sequential(OrderedDict(stem=_stem(image_shape[0], widths[0], stem, style)))
    in_channels = widths[0]
    for number, (blocks, width) in enumerate(zip(plan.blocks, widths, strict=True), start=1):
        stage = nn.Sequential()
        for block in range(blocks):
            stride = 2 if number > 1 and block == 0 else 1
            out_channels = width * plan.expansion
            branch = _branch(in_channels, width, out_channels, stride, style)
            stage.append(with_shortcut(branch, in_channels, out_channels, stride, style, residual=residual))
            in_channels = out_channels
        stages.add_module(f"stage{number}", stage)
    return classifier(stages, image_shape, num_classes, head="gap", hidden=(), dropout=dropout, activation=activation)


def _stem(in_channels: int, width: int, stem: Stem, style: Style) -> nn.Sequential:
    if stem == "small":
        return conv_unit(in_channels, width, style)
    unit = conv_unit(in_channels, width, style, kernel_size=7, stride=2)
    unit.pool = nn.MaxPool2d(3, stride=2, padding=1)
    return unit


def _branch(in_channels: int, width: int, out_channels: int, stride: int, style: Style) -> nn.Sequential:
    """Two 3x3 convolutions or, where the output is wider than `width`, a bottleneck of 1x1, 3x3 and 1x1."""
    if width == out_channels:
        return nn.Sequential(
            conv_unit(in_channels, width, style, stride=stride), conv_unit(width, width, style, activate=False)
        )
    return nn.Sequential(
        conv_unit(in_channels, width, style, kernel_size=1),
        conv_unit(width, width, style, stride=stride),
        conv_unit(width, out_channels, style, kernel_size=1, activate=False),
    )


class PreActivation(Residual):
    """shortcut(x) + branch(activated x); a projecting shortcut starts from the activated map too.

    Source: He et al., Identity Mappings in Deep Residual Networks, 2016, figure 1b.
    """

    def __init__(self, opening: nn.Module, branch: nn.Module, shortcut: nn.Module) -> None:
        super().__init__(branch, shortcut, nn.Identity())
        self.opening = opening

    def forward(self, images: Tensor) -> Tensor:
        opened = self.opening(images)
        kept = images if isinstance(self.shortcut, nn.Identity) else self.shortcut(opened)
        return kept + self.drop(self.branch(opened))


def wide_resnet(
    image_shape: ImageShape,
    num_classes: int,
    *,
    depth: PositiveInt,
    widen_factor: PositiveInt,
    norm: Norm,
    activation: Activation,
    dropout: ProperFraction,
) -> ConvNet:
    """WRN-depth-widen_factor: 6n + 4 layers in three stages of n blocks (Zagoruyko & Komodakis, 2016, table 1).

    Dropout acts between the two convolutions of each block (section 2.4).

    Raises:
        ConfigError: `depth` is not 6n + 4 (10, 16, 22, 28, 40, ...).
    """
    blocks, rest = divmod(depth - 4, 6)
    if rest or blocks < 1:
        raise ConfigError(f"model.depth={depth}: a wide ResNet has 6n + 4 layers; use 10, 16, 22, 28, 34 or 40")
    style = Style(norm, activation)
    stages = nn.Sequential()
    stages.stem = _bare(image_shape[0], CIFAR_WIDTHS[0], 3, 1, style)
    in_channels = CIFAR_WIDTHS[0]
    for number, width in enumerate(scaled(CIFAR_WIDTHS, widen_factor), start=1):
        stage = nn.Sequential()
        for block in range(blocks):
            stride = 2 if number > 1 and block == 0 else 1
            stage.append(_pre_activation(in_channels, width, stride, style, dropout))
            in_channels = width
        stages.add_module(f"stage{number}", stage)
    stages.closing = _opening(in_channels, style)
    return classifier(stages, image_shape, num_classes, head="gap", hidden=(), dropout=0.0, activation=activation)


def _pre_activation(in_channels: int, width: int, stride: int, style: Style, dropout: float) -> PreActivation:
    branch = conv_unit(in_channels, width, style, stride=stride)
    if dropout:
        branch.dropout = Dropout(dropout)
    branch.conv2 = _bare(width, width, 3, 1, style)
    shortcut = nn.Identity() if stride == 1 and in_channels == width else _bare(in_channels, width, 1, stride, style)
    return PreActivation(_opening(in_channels, style), branch, shortcut)


def _opening(channels: int, style: Style) -> nn.Sequential:
    opening = nn.Sequential()
    if style.norm != "none":
        opening.norm = norm_layer(style.norm, channels)
    opening.activation = activation_layer(style.activation)
    return opening


def _bare(in_channels: int, out_channels: int, kernel_size: int, stride: int, style: Style) -> nn.Conv2d:
    """A convolution alone: norm and activation follow after the sum."""
    padding, bias = kernel_size // 2, style.norm == "none"
    return nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding, bias=bias)
