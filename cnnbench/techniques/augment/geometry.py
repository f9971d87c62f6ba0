"""Augmentations that move or cover pixels: crop, flip, rotate, cutout."""

from typing import Annotated, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from cnnbench.config.settings import PositiveInt, Range
from cnnbench.errors import ConfigError
from cnnbench.techniques.augment.augmentation import Augmentation, uniform_integers
from cnnbench.techniques.augment.operations import rotate as rotate_by


def crop_flip(
    image_shape: tuple[int, int, int],
    *,
    padding: PositiveInt,
    padding_mode: Literal["constant", "reflect"],
    flip: bool,
    alternate: bool,
) -> Augmentation:
    """Pads with black or the image's reflection, crops back to size anywhere and, where `flip`, mirrors left to right.

    That is at random half of the time or, with `alternate`, every other epoch, the first time at random (Jordan,
    94% on CIFAR-10, 2024, section 3.6): each two epochs then hold every image both ways.
    """
    limit = min(image_shape[1:]) - 1
    if padding_mode == "reflect" and padding > limit:
        raise ConfigError(f"augmentation.crop_flip.padding={padding}: should be at most {limit} to be reflected")
    if alternate and not flip:
        raise ConfigError("augmentation.crop_flip.alternate=true: there is nothing to alternate; set flip to true")

    def apply(images: Tensor, noise: Tensor) -> Tensor:
        batch, channels, height, width = images.shape
        rows = torch.arange(height, device=images.device) + uniform_integers(noise[:, :1], 2 * padding + 1)
        columns = torch.arange(width, device=images.device)
        if flip:
            columns = torch.where(noise[:, 2:] < 0.5, columns.flip(0), columns)
        columns = columns + uniform_integers(noise[:, 1:2], 2 * padding + 1)

        # One gather crops and flips: (B, H, W) positions in the padded image, shared by its channels.
        padded = F.pad(images.contiguous(), (padding,) * 4, mode=padding_mode)
        positions = rows[:, :, None] * padded.shape[3] + columns[:, None, :]
        positions = positions.flatten(1)[:, None].expand(-1, channels, -1)
        return padded.flatten(2).gather(2, positions).view(batch, channels, height, width)

    return Augmentation(3 if flip else 2, apply, alternating=(2,) if alternate else ())


def flip(*, horizontal: bool, vertical: bool, alternate: bool) -> Augmentation:
    """Mirrors left to right and top to bottom, each half of the time and independently.

    With `alternate` each every other epoch, the first time at random, as in `crop_flip`.
    """
    if not (horizontal or vertical):
        raise ConfigError("augmentation.flip: neither horizontal nor vertical; set one to true, or drop flip")
    dimensions = [3] * horizontal + [2] * vertical

    def apply(images: Tensor, noise: Tensor) -> Tensor:
        for dimension, column in zip(dimensions, noise.T, strict=True):
            images = torch.where(column[:, None, None, None] < 0.5, images.flip(dimension), images)
        return images

    return Augmentation(len(dimensions), apply, alternating=tuple(range(len(dimensions))) if alternate else ())


def rotate(*, degrees: Annotated[float, Range(above=0, at_most=180)]) -> Augmentation:
    """Turns about the centre by an angle uniform in [-degrees, degrees), bilinear; uncovered corners are black."""

    def apply(images: Tensor, noise: Tensor) -> Tensor:
        return rotate_by(images, (2 * noise[:, 0] - 1) * degrees, "bilinear")

    return Augmentation(1, apply)


def cutout(image_shape: tuple[int, int, int], fill: Tensor, *, size: PositiveInt) -> Augmentation:
    """Covers a square with `fill` (DeVries & Taylor 2017): its centre is any pixel, borders clip it.

    Around its centre c it covers c - size // 2 ... c - size // 2 + size - 1, which for even sizes is the paper's.
    """
    height, width = image_shape[1:]
    if size > min(height, width):
        raise ConfigError(
            f"augmentation.cutout.size={size}: should be at most {min(height, width)} for {height}x{width} images"
        )

    def covered(noise: Tensor, length: int) -> Tensor:
        offset = torch.arange(length, device=noise.device) - uniform_integers(noise, length) + size // 2
        return (offset >= 0) & (offset < size)

    def apply(images: Tensor, noise: Tensor) -> Tensor:
        square = covered(noise[:, :1], height)[:, :, None] & covered(noise[:, 1:], width)[:, None, :]
        colour = fill.to(images.device, non_blocking=True)[:, None, None]
        return images * ~square[:, None] + colour * square[:, None]  # faster on a CPU than torch.where on bytes

    return Augmentation(2, apply)
