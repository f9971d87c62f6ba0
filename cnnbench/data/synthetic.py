"""Generated images, for trying things out and for measuring speed at any size: accuracy on them means nothing."""

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from cnnbench.config.settings import Count, NonNegative, PositiveInt
from cnnbench.data.images import ImageShape, ResidentImages
from cnnbench.data.source import Part, Source
from cnnbench.errors import ConfigError
from cnnbench.seeds import generator

GREY, CONTRAST = 127.5, 40.0
CHUNK_IMAGES = 1024


def synthetic(
    *,
    image_shape: list[PositiveInt],
    num_classes: PositiveInt,
    train_images: PositiveInt,
    test_images: PositiveInt,
    noise: NonNegative,
    seed: Count,
) -> Source:
    """Each class a smooth random pattern, each image its pattern plus Gaussian noise of `noise` grey levels."""
    if len(image_shape) != 3:
        raise ConfigError(f"data.image_shape={image_shape}: should be [channels, height, width]")
    if num_classes < 2:
        raise ConfigError(f"data.num_classes={num_classes}: should be at least 2")
    channels, height, width = image_shape
    shape = (channels, height, width)

    def read(part: Part) -> ResidentImages:
        labels = torch.arange(train_images if part == "train" else test_images) % num_classes
        images = _noisy(_patterns(shape, num_classes, seed), labels, noise, generator(seed, "noise", part))
        return ResidentImages(images, labels)

    return Source("synthetic", "generated", shape, tuple(f"class {i}" for i in range(num_classes)), read)


def _patterns(shape: ImageShape, num_classes: int, seed: int) -> Tensor:
    """A float (K, C, H, W) of smooth patterns in grey levels: 4x4 random numbers, enlarged."""
    channels, height, width = shape
    coarse = torch.randn(num_classes, channels, 4, 4, generator=generator(seed, "patterns"))
    return GREY + CONTRAST * interpolate(coarse, size=(height, width), mode="bilinear", align_corners=False)


def _noisy(patterns: Tensor, labels: Tensor, noise: float, random: torch.Generator) -> Tensor:
    images = torch.empty(len(labels), *patterns.shape[1:], dtype=torch.uint8)
    for chunk, chosen in zip(images.split(CHUNK_IMAGES), labels.split(CHUNK_IMAGES), strict=True):
        clean = patterns[chosen]
        chunk.copy_((clean + noise * torch.randn(clean.shape, generator=random)).round_().clamp_(0, 255))
    return images
