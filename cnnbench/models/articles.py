"""The networks of the articles' listings, as they were meant: `plain` with its finer settings fixed."""

from typing import Any, Literal

from cnnbench.config.settings import Count, Positive, PositiveInt, ProperFraction
from cnnbench.models.blocks import Activation, ConvNet, Head, ImageShape, Norm, Pool
from cnnbench.models.plain import plain

FIXED: dict[str, Any] = {"stride": 1, "pool_size": 2, "pool_stride": 2, "spatial_dropout": 0.0}


def stacked(
    image_shape: ImageShape,
    num_classes: int,
    *,
    widths: list[PositiveInt],
    width_multiplier: Positive,
    depth: PositiveInt,
    kernel_size: PositiveInt,
    padding: Count | Literal["same"],
    separable: bool,
    residual: bool,
    norm: Norm,
    activation: Activation,
    pool: Pool,
    pool_ceil_mode: bool,
    last_pool: bool,
    head: Head,
    hidden: PositiveInt,
    dropout: ProperFraction,
) -> ConvNet:
    """`simple` (article 000), `small3` (001), `deep` (002, section 4.5), `deep_residual` and `separable`.

    They differ in the values of their YAML files only, so any two compare at equal depth and width: with `residual`
    the net has the skips that the listing of `deep` promises (1x1 projections where the width changes), with
    `separable` each convolution but the first is split into a depthwise and a pointwise one.
    Convolutions are equivariant to translation; invariance to rotation and flips has to come from the data.
    The logits go to the loss as they are, without the listing's softmax (001) or dropout (002).
    """
    return plain(
        image_shape,
        num_classes,
        widths=widths,
        width_multiplier=width_multiplier,
        depth=depth,
        kernel_size=kernel_size,
        padding=padding,
        separable=separable,
        residual=residual,
        norm=norm,
        activation=activation,
        pool=pool,
        pool_ceil_mode=pool_ceil_mode,
        last_pool=last_pool,
        head=head,
        hidden=hidden,
        dropout=dropout,
        **FIXED,
    )
