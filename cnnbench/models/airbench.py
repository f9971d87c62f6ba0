"""The network of the fastest published CIFAR-10 trainings: a frozen whitening layer, then plain blocks.

Source: Jordan, 94% on CIFAR-10 in 3.29 Seconds on a Single GPU, 2024, arXiv 2404.00498, sections 3.1 to 3.3.
"""

from itertools import pairwise
from typing import Annotated

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cnnbench.config.settings import Fraction, Positive, PositiveInt, Range
from cnnbench.errors import ConfigError
from cnnbench.models.blocks import Activation, ConvNet, ImageShape, activation_layer
from cnnbench.models.describe import output_shape

CURE = "use fewer model.widths, a smaller model.whitening_size or larger images"
NORM_EPS = 1e-12
WHITENING_EPS = 5e-4  # added to each variance, so that rare patterns are not blown up
PIXELS_AT_ONCE = 500_000  # whose 2x2 patches of three channels are 48 MB in float64


class WhitenedNet(ConvNet):
    """A ConvNet whose logits are scaled and whose `stages.whitening` takes its weight from training images."""

    def __init__(self, stages: nn.Module, head: nn.Module, logit_scale: float) -> None:
        super().__init__(stages, head)
        self.logit_scale = logit_scale

    def forward(self, images: Tensor) -> Tensor:
        return self.logit_scale * super().forward(images)

    def initialize_from_images(self, images: Tensor) -> None:
        """Sets the whitening weight, in place; images: (N, C, H, W) float32, normalised, not augmented."""
        weight = self.stages.get_submodule("whitening").weight
        assert isinstance(weight, nn.Parameter)
        with torch.no_grad():
            weight.copy_(whitening_filters(images, weight.shape[-1]))


def airbench(
    image_shape: ImageShape,
    num_classes: int,
    *,
    widths: list[PositiveInt],
    depth: Annotated[int, Range(at_least=1, at_most=3)],
    whitening_size: PositiveInt,
    whitening_stride: PositiveInt,
    activation: Activation,
    norm_momentum: Fraction,
    logit_scale: Positive,
) -> WhitenedNet:
    """Whitening, one block per width (3x3 convolutions, each halving the map after its first), maximum, logits.

    The whitening weight is frozen (its bias learns) and random until `initialize_from_images`. Norms have no
    scale, as a frozen one. Each convolution starts as the identity on its first channels, the rest as torch
    draws it. The maximum of each channel is over the whole map, which for 32x32 images is the source's 3x3.

    Raises:
        ConfigError: a kernel or pooling window is larger than its map.
    """
    if not widths:
        raise ConfigError("model.widths=[]: names no block; give at least one width, for instance [64,256,256]")
    channels = image_shape[0]
    filters = 2 * channels * whitening_size**2
    stages = nn.Sequential()
    stages.whitening = nn.Conv2d(channels, filters, whitening_size, whitening_stride)
    stages.whitening.weight.requires_grad_(False)
    assert stages.whitening.bias is not None
    nn.init.zeros_(stages.whitening.bias)
    stages.activation = activation_layer(activation)
    for number, (width_in, width) in enumerate(pairwise([filters, *widths]), start=1):
        block = nn.Sequential()
        for position in range(depth):
            block.append(_unit(width if position else width_in, width, position == 0, activation, norm_momentum))
        stages.add_module(f"block{number}", block)
    output_shape(stages, image_shape, name="stages", cure=CURE)
    head = nn.Sequential()
    head.pool = nn.AdaptiveMaxPool2d(1)
    head.flatten = nn.Flatten()
    head.logits = nn.Linear(widths[-1], num_classes, bias=False)
    return WhitenedNet(stages, head, logit_scale)


def _unit(
    in_channels: int, out_channels: int, is_pooled: bool, activation: Activation, norm_momentum: float
) -> nn.Sequential:
    unit = nn.Sequential()
    unit.conv = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False)
    nn.init.dirac_(unit.conv.weight.detach()[:in_channels])
    if is_pooled:
        unit.pool = nn.MaxPool2d(2)
    unit.norm = nn.BatchNorm2d(out_channels, eps=NORM_EPS, momentum=norm_momentum)
    unit.norm.weight.requires_grad_(False)
    unit.activation = activation_layer(activation)
    return unit


def whitening_filters(images: Tensor, size: int) -> Tensor:
    """Filters (2 * C * size², C, size, size) whose responses to patches of `images` are uncorrelated.

    The eigenvectors of the patches' second moments over the roots of their eigenvalues, the largest first, then
    the same with the other sign, for an activation keeps one sign only. In float64 on the CPU: the same everywhere.
    """
    _, channels, height, width = images.shape
    length = channels * size**2
    moments = torch.zeros(length, length, dtype=torch.float64)
    count = 0
    for part in images.cpu().split(max(1, PIXELS_AT_ONCE // (height * width))):
        patches = F.unfold(part.double(), size).transpose(0, 1).flatten(1)
        moments += patches @ patches.T
        count += patches.shape[1]
    variances, vectors = torch.linalg.eigh(moments / count)
    filters = (vectors / (variances + WHITENING_EPS).sqrt()).T.flip(0)
    return torch.cat([filters, -filters]).view(-1, channels, size, size)
