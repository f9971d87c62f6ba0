"""GoogLeNet: branches of several kernel sizes side by side, joined along the channels."""

from collections import OrderedDict

import torch
from torch import Tensor, nn

from cnnbench.config.settings import Positive, ProperFraction
from cnnbench.models.blocks import Activation, ConvNet, ImageShape, Norm, Stem, Style, classifier, conv_unit, scaled

# Szegedy et al., Going Deeper with Convolutions, 2015, table 1: 1x1, 3x3 reduce, 3x3, 5x5 reduce, 5x5, pool projection.
STAGES = (
    ((64, 96, 128, 16, 32, 32), (128, 128, 192, 32, 96, 64)),
    (
        (192, 96, 208, 16, 48, 64),
        (160, 112, 224, 24, 64, 64),
        (128, 128, 256, 24, 64, 64),
        (112, 144, 288, 32, 64, 64),
        (256, 160, 320, 32, 128, 128),
    ),
    ((256, 160, 320, 32, 128, 128), (384, 192, 384, 48, 128, 128)),
)
STEM_WIDTHS = (64, 64, 192)


class InceptionBlock(nn.Module):
    """Four branches over the same map: 1x1, 3x3 and 5x5 convolutions behind 1x1 reductions, and 3x3 max pooling."""

    def __init__(self, in_channels: int, widths: list[int], style: Style) -> None:
        super().__init__()
        one, reduce3, three, reduce5, five, projection = widths
        self.branches = nn.ModuleList(
            [
                conv_unit(in_channels, one, style, kernel_size=1),
                nn.Sequential(
                    conv_unit(in_channels, reduce3, style, kernel_size=1),
                    conv_unit(reduce3, three, style, kernel_size=3),
                ),
                nn.Sequential(
                    conv_unit(in_channels, reduce5, style, kernel_size=1),
                    conv_unit(reduce5, five, style, kernel_size=5),
                ),
                nn.Sequential(
                    nn.MaxPool2d(3, stride=1, padding=1), conv_unit(in_channels, projection, style, kernel_size=1)
                ),
            ]
        )
        self.out_channels = one + three + five + projection

    def forward(self, images: Tensor) -> Tensor:
        return torch.cat([branch(images) for branch in self.branches], dim=1)


def inception(
    image_shape: ImageShape,
    num_classes: int,
    *,
    stem: Stem,
    width_multiplier: Positive,
    norm: Norm,
    activation: Activation,
    dropout: ProperFraction,
) -> ConvNet:
    """GoogLeNet's nine blocks under an average pooling head; batch norm in place of the auxiliary classifiers.

    The `large` stem divides the map by 8 before the first block, for images of about 224 pixels; the `small` one is
    a single 3x3 convolution of the same width.
    """
    style = Style(norm, activation)
    stages = nn.Sequential(OrderedDict(stem=_stem(image_shape[0], stem, style, width_multiplier)))
    in_channels = scaled(STEM_WIDTHS, width_multiplier)[-1]
    for number, table in enumerate(STAGES, start=3):  # the paper numbers them 3 to 5
        stage = nn.Sequential()
        if number > 3:
            stage.pool = _halve()
        for letter, widths in zip("abcde", table, strict=False):
            block = InceptionBlock(in_channels, scaled(widths, width_multiplier), style)
            stage.add_module(letter, block)
            in_channels = block.out_channels
        stages.add_module(f"stage{number}", stage)
    return classifier(stages, image_shape, num_classes, head="gap", hidden=(), dropout=dropout, activation=activation)


def _stem(in_channels: int, stem: Stem, style: Style, width_multiplier: float) -> nn.Sequential:
    first, reduced, last = scaled(STEM_WIDTHS, width_multiplier)
    if stem == "small":
        return nn.Sequential(conv_unit(in_channels, last, style))
    return nn.Sequential(
        conv_unit(in_channels, first, style, kernel_size=7, stride=2),
        _halve(),
        conv_unit(first, reduced, style, kernel_size=1),
        conv_unit(reduced, last, style, kernel_size=3),
        _halve(),
    )


def _halve() -> nn.MaxPool2d:
    return nn.MaxPool2d(3, stride=2, padding=1)
