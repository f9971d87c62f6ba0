"""Augmentations that move or cover pixels: crop, flip, rotate, cutout."""

from typing import Annotated

import torch
from torch import Tensor
from torch.nn import functional as F

from cnnbench.augment.augmentation import Augmentation, uniform_integers
from cnnbench.augment.operations import rotate as rotate_by
from cnnbench.errors import ConfigError
from cnnbench.lookup import PositiveInt, Range


def crop_flip(*, padding: PositiveInt, flip: bool) -> Augmentation:
    """Pads with black, crops back to size anywhere and, where `flip`, mirrors left to right half of the time."""

    def apply(images: Tensor, noise: Tensor) -> Tensor:
        batch, channels, height, width = images.shape
        rows = torch.arange(height, device=images.device) + uniform_integers(noise[:, :1], 2 * padding + 1)
        columns = torch.arange(width, device=images.device)
        if flip:
            columns = torch.where(noise[:, 2:] < 0.5, columns.flip(0), columns)
        columns = columns + uniform_integers(noise[:, 1:2], 2 * padding + 1)

        # One gather crops and flips: (B, H, W) positions in the padded image, shared by its channels.
        padded = F.pad(images.contiguous(), (padding,) * 4)
        positions = rows[:, :, None] * padded.shape[3] + columns[:, None, :]
        positions = positions.flatten(1)[:, None].expand(-1, channels, -1)
        return padded.flatten(2).gather(2, positions).view(batch, channels, height, width)

    return Augmentation(3 if flip else 2, apply)


def flip(*, horizontal: bool, vertical: bool) -> Augmentation:
    """Mirrors left to right and top to bottom, each half of the time and independently."""
    if not (horizontal or vertical):
        raise ConfigError("augmentation.flip: neither horizontal nor vertical; set one to true, or drop flip")
    dimensions = [3] * horizontal + [2] * vertical

    def apply(images: Tensor, noise: Tensor) -> Tensor:
        for dimension, column in zip(dimensions, noise.T, strict=True):
            images = torch.where(column[:, None, None, None] < 0.5, images.flip(dimension), images)
        return images

    return Augmentation(len(dimensions), apply)


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
