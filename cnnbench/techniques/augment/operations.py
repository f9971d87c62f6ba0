"""Image operations with one strength per image: the vocabulary of the policies.

Each maps uint8 images (B, C, H, W) and, where it has a strength, magnitudes float32 (B,) to uint8 images. Meaning
and rounding are torchvision's. Sums over pixels are taken in integers and no product is fused with a sum: the
result must not depend on where in a batch an image stands.
"""

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

Interpolation = Literal["nearest", "bilinear"]


def shear_x(images: Tensor, slope: Tensor, interpolation: Interpolation) -> Tensor:
    """Row r (from the top) moves left by slope * (r + 0.5) pixels."""
    x, y = _centred_pixels(images)
    return _resample(images, x + _per_image(slope) * (y + images.shape[2] / 2), y, interpolation)


def shear_y(images: Tensor, slope: Tensor, interpolation: Interpolation) -> Tensor:
    """Column c (from the left) moves up by slope * (c + 0.5) pixels."""
    x, y = _centred_pixels(images)
    return _resample(images, x, y + _per_image(slope) * (x + images.shape[3] / 2), interpolation)


def translate_x(images: Tensor, pixels: Tensor, interpolation: Interpolation) -> Tensor:
    """Moves right by whole pixels (the magnitude cut towards zero)."""
    x, y = _centred_pixels(images)
    return _resample(images, x - _per_image(pixels.trunc()), y, interpolation)


def translate_y(images: Tensor, pixels: Tensor, interpolation: Interpolation) -> Tensor:
    """Moves down by whole pixels (the magnitude cut towards zero)."""
    x, y = _centred_pixels(images)
    return _resample(images, x, y - _per_image(pixels.trunc()), interpolation)


def rotate(images: Tensor, degrees: Tensor, interpolation: Interpolation) -> Tensor:
    """Turns counter-clockwise about the centre."""
    x, y = _centred_pixels(images)
    angle = _per_image(degrees.deg2rad())
    cos, sin = angle.cos(), angle.sin()
    return _resample(images, cos * x - sin * y, sin * x + cos * y, interpolation)


def brightness(images: Tensor, factor: Tensor) -> Tensor:
    """Multiplies: 0 is black, 1 the image itself."""
    return _to_uint8(images * _per_image(factor))


def contrast(images: Tensor, factor: Tensor) -> Tensor:
    """Away from the image's mean grey: 0 is flat grey, 1 the image itself."""
    grey = _grey(images)
    mean = grey.sum((1, 2, 3), keepdim=True, dtype=torch.long) / grey[0].numel()
    return _blend(images, mean, factor)


def colour(images: Tensor, factor: Tensor) -> Tensor:
    """Saturation: 0 is grey, 1 the image itself. Nothing happens to images that are not RGB."""
    return _blend(images, _grey(images), factor) if images.shape[1] == 3 else images


def sharpness(images: Tensor, factor: Tensor) -> Tensor:
    """Away from a 3x3 blur with a heavier centre: 0 is blurred, 1 the image itself. The border stays as it is."""
    if min(images.shape[2:]) < 3:
        return images
    wide = images.float()
    triples = wide[..., :-2] + wide[..., 1:-1] + wide[..., 2:]
    squares = triples[..., :-2, :] + triples[..., 1:-1, :] + triples[..., 2:, :]
    inner = wide[..., 1:-1, 1:-1]
    blurred = ((squares + 4 * inner) / 13).round()  # weights 1 and, in the centre, 5
    sharpened = images.clone()
    sharpened[..., 1:-1, 1:-1] = _blend(inner, blurred, factor)
    return sharpened


def posterize(images: Tensor, bits: Tensor) -> Tensor:
    """Keeps the `bits` (0 ... 8, whole) highest bits of every pixel."""
    return images & (256 - (1 << (8 - _per_image(bits).long()))).to(torch.uint8)


def solarize(images: Tensor, threshold: Tensor) -> Tensor:
    """Inverts the pixels at or above the threshold (in grey levels, 0 ... 255)."""
    inverted = (images >= _per_image(threshold)).to(torch.uint8)
    return images ^ (255 * inverted)  # faster on a CPU than torch.where on bytes


def autocontrast(images: Tensor) -> Tensor:
    """Stretches each channel to 0 ... 255; a flat channel stays as it is."""
    darkest = images.amin((2, 3), keepdim=True).float()
    span = images.amax((2, 3), keepdim=True) - darkest
    darkest, span = torch.where(span > 0, darkest, 0), torch.where(span > 0, span, 255)
    return _to_uint8((images - darkest) / (span * (1 / 255)))


def equalize(images: Tensor) -> Tensor:
    """Flattens each channel's histogram, by PIL's integer table; a nearly flat channel stays as it is."""
    pixels = images.flatten(2).long()
    histogram = torch.zeros(*images.shape[:2], 256, dtype=torch.long, device=images.device)
    histogram.scatter_add_(2, pixels, torch.ones_like(pixels))
    step = (pixels.shape[2] - histogram.gather(2, pixels.amax(2, keepdim=True))) // 255
    darker = histogram.cumsum(2) - histogram
    table = ((darker + step // 2) // step.clamp(min=1)).clamp(max=255)
    table = torch.where(step > 0, table, torch.arange(256, device=images.device)).to(torch.uint8)
    return table.gather(2, pixels).view(images.shape)


def _per_image(values: Tensor) -> Tensor:
    return values[:, None, None, None]


def _centred_pixels(images: Tensor) -> tuple[Tensor, Tensor]:
    """Pixel centres, counted from the image's centre to the right (W,) and downwards (H, 1)."""
    height, width = images.shape[2:]
    x = torch.arange(width, device=images.device) - (width - 1) / 2
    y = torch.arange(height, device=images.device) - (height - 1) / 2
    return x, y[:, None]


def _resample(images: Tensor, x: Tensor, y: Tensor, interpolation: Interpolation) -> Tensor:
    """The images read at x, y (units of `_centred_pixels`, broadcastable to (B, 1, H, W)); black outside."""
    batch, _, height, width = images.shape
    x, y = (axis.expand(batch, 1, height, width)[:, 0] for axis in (x * (2 / width), y * (2 / height)))
    grid = torch.stack([x, y], dim=-1)
    pixels = F.grid_sample(images.float(), grid, interpolation, padding_mode="zeros", align_corners=False)
    return pixels.round().to(torch.uint8)


def _grey(images: Tensor) -> Tensor:
    """Luma float32 (B, 1, H, W), rounded down; for images that are not RGB the mean of the channels."""
    if images.shape[1] != 3:
        return images.float().mean(1, keepdim=True).floor()
    red, green, blue = images.float().split(1, dim=1)
    return (0.2989 * red + 0.587 * green + 0.114 * blue).floor()


def _blend(images: Tensor, other: Tensor, factor: Tensor) -> Tensor:
    return _to_uint8(images * _per_image(factor) + other * _per_image(1 - factor))


def _to_uint8(values: Tensor) -> Tensor:
    return values.clamp(0, 255).to(torch.uint8)
