"""The classics from before skips: LeNet-5, AlexNet and VGG, with the adjustments small images need."""

from collections import OrderedDict
from itertools import pairwise
from typing import Literal

from torch import nn

from cnnbench.config.settings import Positive, PositiveInt, ProperFraction
from cnnbench.models.blocks import (
    POOLS,
    Activation,
    ConvNet,
    ImageShape,
    Norm,
    Stem,
    Style,
    classifier,
    conv_unit,
    scaled,
)

LENET_SIDE = 32  # pixels
VGG_DEPTHS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
VGG_WIDTHS = (64, 128, 256, 512, 512)
ALEXNET_WIDTHS = (64, 192, 384, 256, 256)
ALEXNET_POOLED = (1, 2, 5)


def lenet(
    image_shape: ImageShape,
    num_classes: int,
    *,
    activation: Activation,
    pool: Literal["max", "avg", "sum"],
    dropout: ProperFraction,
) -> ConvNet:
    """LeNet-5: 5x5 convolutions to 6 and 16 maps, hidden layers of 120 and 84 (LeCun et al., 1998, section II.B).

    The first convolution pads images of less than 32 pixels to that size, as the paper centres its 28x28 digits in a
    field of 32x32; the second pads nothing. As usual today, S2 feeds C3 completely, subsampling has no weights and
    the output layer is linear.
    """
    border = max(0, LENET_SIDE - min(image_shape[1:]))
    stages = nn.Sequential()
    for in_channels, out_channels, padding in ((image_shape[0], 6, (border + 1) // 2), (6, 16, 0)):
        unit = conv_unit(in_channels, out_channels, Style("none", activation, kernel_size=5, padding=padding))
        stages.append(nn.Sequential(OrderedDict(unit=unit, pool=POOLS[pool](2, 2))))
    return classifier(
        stages,
        image_shape,
        num_classes,
        head="fc",
        hidden=(120, 84),
        dropout=dropout,
        activation=activation,
    )


def alexnet(
    image_shape: ImageShape,
    num_classes: int,
    *,
    stem: Stem,
    width_multiplier: Positive,
    norm: Norm,
    hidden: PositiveInt,
    dropout: ProperFraction,
) -> ConvNet:
    """AlexNet on one tower: five convolutions, overlapping pooling, two hidden layers.

    Source: Krizhevsky, One Weird Trick for Parallelizing Convolutional Neural Networks, 2014, without response norm.

    `large` starts with 11x11 at stride 4, for images of about 224 pixels. `small` starts with 5x5 at stride 1 and
    pads the 3x3 pooling windows, so that each halves the map down to 1x1.
    """
    pool_padding = 0 if stem == "large" else 1
    widths = [image_shape[0], *scaled(ALEXNET_WIDTHS, width_multiplier)]
    stages = nn.Sequential()
    for number, (in_channels, out_channels) in enumerate(pairwise(widths), start=1):
        style = Style(norm, "relu", kernel_size=5 if number <= 2 else 3)
        if number == 1 and stem == "large":
            stage = conv_unit(in_channels, out_channels, Style(norm, "relu", kernel_size=11, padding=2), stride=4)
        else:
            stage = conv_unit(in_channels, out_channels, style)
        if number in ALEXNET_POOLED:
            stage.pool = nn.MaxPool2d(3, stride=2, padding=pool_padding)
        stages.append(stage)
    return classifier(
        stages,
        image_shape,
        num_classes,
        head="fc",
        hidden=scaled([hidden, hidden], width_multiplier),
        dropout=dropout,
        activation="relu",
        cure="use model.stem=small or larger images",
    )


def vgg(
    image_shape: ImageShape,
    num_classes: int,
    *,
    depth: Literal[11, 13, 16, 19],
    width_multiplier: Positive,
    norm: Norm,
    hidden: PositiveInt,
    dropout: ProperFraction,
) -> ConvNet:
    """VGG, configurations A, B, D and E (Simonyan & Zisserman, 2015, table 1): 3x3 convolutions, two hidden layers.

    Pooling windows may hang over the edge, so maps of odd size round up and a 1x1 map stays: the five poolings fit
    images of any size, and do as in the paper where sizes are even.
    """
    style = Style(norm, "relu")
    stages = nn.Sequential()
    in_channels = image_shape[0]
    for convolutions, width in zip(VGG_DEPTHS[depth], scaled(VGG_WIDTHS, width_multiplier), strict=True):
        stage = nn.Sequential()
        for number in range(1, convolutions + 1):
            stage.add_module(f"unit{number}", conv_unit(in_channels, width, style))
            in_channels = width
        stage.pool = nn.MaxPool2d(2, ceil_mode=True)
        stages.append(stage)
    return classifier(
        stages,
        image_shape,
        num_classes,
        head="fc",
        hidden=scaled([hidden, hidden], width_multiplier),
        dropout=dropout,
        activation="relu",
    )
