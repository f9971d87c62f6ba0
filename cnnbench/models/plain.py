"""The backbone of the articles' networks: stages of convolutions with pooling between, every part a setting."""

from itertools import pairwise
from math import prod
from typing import Literal

from torch import nn

from cnnbench.config.settings import Count, Positive, PositiveInt, ProperFraction
from cnnbench.errors import ConfigError
from cnnbench.models.blocks import (
    POOLS,
    Activation,
    ConvNet,
    Head,
    ImageShape,
    Norm,
    Pool,
    Style,
    classifier,
    conv_unit,
    scaled,
    separable_unit,
    with_shortcut,
)

CURE = "use model.pool_ceil_mode=true, fewer model.widths, model.pool=none or larger images"
UNPADDED_CURE = "use model.padding=same, fewer model.widths or larger images"
MONOTONE = ("relu", "leaky_relu", "elu", "sigmoid", "tanh")
CONVS_PER_BLOCK = 2  # a skip around two convolutions, He et al., 2016, figure 2


def plain(
    image_shape: ImageShape,
    num_classes: int,
    *,
    widths: list[PositiveInt],
    width_multiplier: Positive,
    depth: PositiveInt,
    kernel_size: PositiveInt,
    stride: PositiveInt,
    padding: Count | Literal["same"],
    separable: bool,
    residual: bool,
    norm: Norm,
    activation: Activation,
    pool: Pool,
    pool_size: PositiveInt,
    pool_stride: PositiveInt,
    pool_ceil_mode: bool,
    last_pool: bool,
    spatial_dropout: ProperFraction,
    head: Head,
    hidden: PositiveInt,
    dropout: ProperFraction,
) -> ConvNet:
    """One stage per width: `depth` convolutions, a pooling layer, dropout of whole channels; then the head.

    Pooling takes the maximum, average or sum of k x k windows, has no parameters and is no convolution;
    pool=stride lets the last convolution of the stage step by `pool_stride` instead (Springenberg et al., 2015).
    With `pool_ceil_mode` a window may hang over the border, so that a map of one pixel can still be pooled; without,
    a row that fills no window is left out, as in the articles. `last_pool=false` spares the last stage's map.
    `stride` is that of the first convolution of each stage. Residual blocks span two convolutions, one where
    the number is odd. With `separable` the first convolution stays a full one: images have few channels to mix.

    Raises:
        ConfigError: a window is larger than its map, or skips and branches would differ in size.
    """
    if not widths:
        raise ConfigError("model.widths=[]: names no stage; give at least one width, for instance [32,64]")
    if residual and padding != "same" and 2 * padding != kernel_size - 1:
        raise ConfigError(
            f"model.residual=true: the skip needs maps that keep their size, model.padding={padding} with "
            f"model.kernel_size={kernel_size} does not; use model.padding=same"
        )
    style = Style(norm, activation, kernel_size, padding, separable)
    pools = [pool] * (len(widths) - 1) + [pool if last_pool else "none"]
    channels = pairwise([image_shape[0], *scaled(widths, width_multiplier)])
    stages = nn.Sequential()
    for (in_channels, out_channels), stage_pool in zip(channels, pools, strict=True):
        strides = [stride] + [1] * (depth - 1)
        if stage_pool == "stride":
            strides[-1] *= pool_stride
        stage = _blocks(in_channels, out_channels, strides, style, residual=residual, opens_net=len(stages) == 0)
        if stage_pool in POOLS:
            stage.pool = POOLS[stage_pool](pool_size, pool_stride, ceil_mode=pool_ceil_mode)
        if stage_pool == "max" and activation in MONOTONE:
            activate_after_pool(stage)
        if spatial_dropout:
            stage.dropout = nn.Dropout2d(spatial_dropout)
        stages.append(stage)
    return classifier(
        stages,
        image_shape,
        num_classes,
        head=head,
        hidden=scaled([hidden], width_multiplier),
        dropout=dropout,
        activation=activation,
        cure=CURE if padding == "same" else UNPADDED_CURE,
    )


def activate_after_pool(stage: nn.Sequential) -> None:
    """Moves the activation before the pooling layer behind it, in place: the same numbers from a quarter of the work.

    The maximum of a window is the same position before and after a function that never falls.
    """
    last_block = stage[-2]
    stage.activation = last_block.activation
    last_block.activation = nn.Identity()


def _blocks(
    in_channels: int, out_channels: int, strides: list[int], style: Style, *, residual: bool, opens_net: bool
) -> nn.Sequential:
    """One convolution per stride, in blocks of two, with or without skips: the same layers and names either way."""
    blocks = nn.Sequential()
    for start in range(0, len(strides), CONVS_PER_BLOCK):
        block_in, block_strides = in_channels, strides[start : start + CONVS_PER_BLOCK]
        branch = nn.Sequential()
        for position, stride in enumerate(block_strides, start=1):
            is_full = not style.separable or (opens_net and start == 0 and position == 1)
            make = conv_unit if is_full else separable_unit
            is_last = position == len(block_strides)  # its activation comes after the sum
            branch.append(make(in_channels, out_channels, style, stride=stride, activate=not is_last))
            in_channels = out_channels
        blocks.append(with_shortcut(branch, block_in, out_channels, prod(block_strides), style, residual=residual))
    return blocks
