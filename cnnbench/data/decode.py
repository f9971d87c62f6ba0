"""From an image file to uint8 (C, H, W), with Pillow, whatever the file's mode or state."""

import functools
import logging
import os
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from cnnbench.data.images import ImageShape
from cnnbench.disk import NoRegularFile, open_regular
from cnnbench.errors import DataError

EXTENSIONS = frozenset((
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".avif", ".pgm", ".ppm",
    ".pbm", ".pnm",
))  # fmt: skip
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP", "AVIF", "PPM")
"""Pillow's others need programs or are no photographs."""
GreyRange = tuple[int, int]
FULL_RANGE: GreyRange = (0, 65535)
SIGNATURE_BYTES = 16  # what Pillow hands to a format that is to say whether a file is its own
MAX_PIXELS = 100_000_000
ORIENTATION, SIDEWAYS = 0x0112, (5, 6, 7, 8)  # Exif 2.32, 4.6.4


@functools.cache
def _quieten_pillow() -> None:
    """Turns off its warnings in this process: what matters becomes a DataError of one line."""
    warnings.filterwarnings("ignore", module=r"PIL\.")
    logging.getLogger("PIL").setLevel(logging.CRITICAL)


def decode_image(path: str | os.PathLike[str], image_shape: ImageShape, grey_range: GreyRange = FULL_RANGE) -> Tensor:
    """The image at `path`, upright, as uint8 (C, H, W) of `image_shape`; C is 1 (grey) or 3 (RGB).

    It is resized to cover height and width, then cropped at the centre. Transparency is laid over white; 16-bit grey is
    scaled to 8 bits, the ends of `grey_range` to 0 and 255; palettes, CMYK and the other modes are converted. A JPEG
    four or more times as large as asked is decoded at a half, a quarter or an eighth: faster, and off by a few levels.

    Raises:
        DataError: naming `path`, for every file that holds no complete image.
    """
    _quieten_pillow()
    channels, height, width = image_shape
    try:
        with open_regular(path) as file, Image.open(file, formats=FORMATS) as opened:
            _check_pixels(opened)
            opened.draft(None, (2 * max(height, width),) * 2)  # of a JPEG, that size or more
            ImageOps.exif_transpose(opened, in_place=True)
            image = _to_mode(opened, "L" if channels == 1 else "RGB", grey_range)
        if image.size != (width, height):
            image = ImageOps.fit(image, (width, height), Image.Resampling.BILINEAR)
        pixels = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8)
    except Exception as error:  # in a damaged file Pillow meets nearly every kind
        raise DataError(f"{os.fspath(path)}: {_reason(error, path)}") from error
    return pixels.view(height, width, channels).permute(2, 0, 1).contiguous()


@dataclass(frozen=True)
class Inspected:
    """What a file is: `image` upright, in RGB, of the size it has or, of a large JPEG, a half or less; the rest as in
    the file. `values` are the least and largest of a 16-bit image."""

    image: Image.Image
    format: str
    mode: str
    width: int
    height: int
    frames: int
    is_rotated: bool
    has_transparency: bool
    values: tuple[int, int] | None


def inspect_image(path: str | os.PathLike[str], at_least: int) -> Inspected:
    """The image at `path`, decoded as `decode_image` does it; a JPEG to `at_least` pixels a side.

    Raises:
        DataError: as `decode_image`.
    """
    _quieten_pillow()
    try:
        with open_regular(path) as file, Image.open(file, formats=FORMATS) as opened:
            _check_pixels(opened)
            size, kind, mode = opened.size, opened.format or "", opened.mode
            frames = getattr(opened, "n_frames", 1)
            is_rotated = opened.getexif().get(ORIENTATION, 1) != 1
            opened.draft(None, (at_least, at_least))
            ImageOps.exif_transpose(opened, in_place=True)
            transparent, wide = opened.has_transparency_data, opened.mode.startswith("I")
            values = opened.getextrema() if wide else None
            image = _to_mode(opened, "RGB", FULL_RANGE)
    except Exception as error:  # as above
        raise DataError(f"{os.fspath(path)}: {_reason(error, path)}") from error
    low_high = (int(values[0]), int(values[1])) if values else None  # type: ignore[arg-type]
    return Inspected(image, kind, mode, *size, frames, is_rotated, transparent, low_high)


def size_of(path: str | os.PathLike[str]) -> tuple[int, int]:
    """The height and width that `decode_image` finds in the file, read from its header.

    Raises:
        DataError: naming `path`, if it is no image.
    """
    _quieten_pillow()
    try:
        with open_regular(path) as file, Image.open(file, formats=FORMATS) as image:
            width, height = image.size
            return (width, height) if image.getexif().get(ORIENTATION) in SIDEWAYS else (height, width)
    except Exception as error:  # as above
        raise DataError(f"{os.fspath(path)}: {_reason(error, path)}") from error


def deep_values(path: str | os.PathLike[str]) -> tuple[int, int] | None:
    """The least and largest value of a 16-bit image; null for any other file."""
    _quieten_pillow()
    try:
        with open_regular(path) as file, Image.open(file, formats=FORMATS) as image:
            _check_pixels(image)
            low, high = image.getextrema() if image.mode.startswith("I") else (None, None)
    except Exception:  # who decodes it says why it cannot be
        return None
    return None if low is None or high is None else (int(low), int(high))  # type: ignore[arg-type]


def is_image(path: str | os.PathLike[str]) -> bool:
    """Whether the first bytes of a regular file, and then its header, are those of a format that is read."""
    Image.init()
    try:
        with open_regular(path) as file:
            start = file.read(SIGNATURE_BYTES)
    except (OSError, NoRegularFile):
        return False
    for name in FORMATS:
        accepts = Image.OPEN[name][1] if name in Image.OPEN else None
        if accepts is not None and accepts(start):
            break
    else:
        return False
    try:
        size_of(path)
    except DataError:
        return False
    return True


def _to_mode(image: Image.Image, mode: str, grey_range: GreyRange) -> Image.Image:
    if image.mode.startswith(("I", "F")):
        return _from_16_bits(image, grey_range).convert(mode)
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image.convert("RGBA")).convert(mode)
    return image if image.mode == mode else image.convert(mode)


def _from_16_bits(image: Image.Image, grey_range: GreyRange) -> Image.Image:
    """The grey values of the range as 0..255, rounded; Pillow's own conversion would clip them at 255."""
    values, (low, high) = np.asarray(image), grey_range
    if image.mode == "F" or (values.size and (values.min() < 0 or values.max() > 65535)):
        raise ValueError("its values have no known range")
    above = values.clip(low, high).astype(np.int64) - low
    return Image.fromarray(((2 * 255 * above + high - low) // (2 * (high - low))).astype(np.uint8))


def _check_pixels(image: Image.Image) -> None:
    if image.width * image.height > MAX_PIXELS:
        raise ValueError(f"{image.width}x{image.height} are more than {MAX_PIXELS:,} pixels")


def _reason(error: Exception, path: str | os.PathLike[str]) -> str:
    if isinstance(error, Image.UnidentifiedImageError):
        size = Path(path).stat().st_size
        return "is empty (0 bytes)" if not size else f"is no image of a known format ({', '.join(FORMATS)})"
    if isinstance(error, NoRegularFile):
        return f"cannot be read ({error})"
    if isinstance(error, OSError) and error.strerror:
        return f"cannot be read ({error.strerror})"
    return " ".join(f"holds no image that can be read ({error or type(error).__name__})".split())
