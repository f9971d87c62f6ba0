"""Images that are nearly the same: found by a 64-bit hash, confirmed by their pixels.

The hash is the difference hash of N. Krawetz ("Kind of Like That", hackerfactor.com, 2013): the image in 9x8 grey
levels, a bit for each that is darker than its right neighbour. Brightness, contrast, size and compression hardly change
it, a small crop changes a few bits. What hashes call near is compared as grey levels, for plain images share hashes.
docs/own_images.md says how often that is right.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIDE = 16
BITS = 12
"""Hashes that differ in more bits are not compared further."""
CORRELATION = 0.93
MAX_PAIRS = 20_000  # a film has as many pairs as its frames squared
ROWS, COLUMNS = 256, 4096  # of hashes compared at once: their differences stay in the cache
VIEWS = ("", "mirrored", "upside down")


class Pair(NamedTuple):
    """Two images by their indices, `first` below `second`; `view` says how the one is turned."""

    first: int
    second: int
    correlation: float
    view: str


def difference_hashes(image: Image.Image) -> NDArray[np.uint64]:
    """The hash of the image and of it in each of VIEWS: uint64 (3,)."""
    grey = np.asarray(image.convert("L").resize((9, 8), Image.Resampling.BOX, reducing_gap=2.0)).astype(np.int16)
    return np.array([_hash(grey), _hash(grey[:, ::-1]), _hash(grey[::-1])], np.uint64)


def _hash(grey: NDArray[np.int16]) -> int:
    return int.from_bytes(np.packbits(grey[:, :-1] < grey[:, 1:]).tobytes())


def near_pairs(hashes: NDArray[np.uint64], small: NDArray[np.uint8], progress: Callable[[int], None]) -> list[Pair]:
    """The pairs of images that are nearly the same, by `hashes` (N, 3) and grey levels `small` (N, SIDE, SIDE).

    Compares each with each: 50,000 images take seconds, 500,000 many minutes; `progress` is told how many more are
    compared in one of VIEWS. Stops at MAX_PAIRS.
    """
    pairs: dict[tuple[int, int], Pair] = {}
    for number, view in enumerate(VIEWS):
        for first, second in _candidates(hashes[:, 0], hashes[:, number], progress):
            turned = (small[second], small[second, :, ::-1], small[second, ::-1])[number]
            values = correlations(small[first], turned)
            near = values >= CORRELATION
            for one, other, value in zip(
                first[near].tolist(), second[near].tolist(), values[near].tolist(), strict=True
            ):
                pairs.setdefault((one, other), Pair(one, other, value, view))
            if len(pairs) > MAX_PAIRS:
                return sorted(pairs.values())[:MAX_PAIRS]
    return sorted(pairs.values())


def correlations(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Of each of the images with its partner, both uint8 (N, SIDE, SIDE): the highest that a shift of up to a pixel in
    each direction gives. That of an image without contrast is 0."""
    middle = _normalised(first[:, 1:-1, 1:-1])
    shifts = [(down, right) for down in range(3) for right in range(3)]
    size = SIDE - 2
    windows = (_normalised(second[:, down : down + size, right : right + size]) for down, right in shifts)
    return np.max([np.einsum("nk,nk->n", middle, window) for window in windows], axis=0)


def _normalised(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Each image as a vector of mean 0 and length 1; one without contrast as zeros."""
    flat = images.reshape(len(images), -1).astype(np.float32)
    flat -= flat.mean(axis=1, keepdims=True)
    length = np.linalg.norm(flat, axis=1, keepdims=True)
    return np.where(length > SIDE, flat / np.maximum(length, 1), 0)


def _candidates(
    plain: NDArray[np.uint64], turned: NDArray[np.uint64], progress: Callable[[int], None]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """The indices of pairs, the first below the second, of which the hashes are near."""
    count = len(plain)
    for top in range(0, count, ROWS):
        for left in range(top, count, COLUMNS):
            bits = np.bitwise_count(plain[top : top + ROWS, None] ^ turned[None, left : left + COLUMNS])
            rows, columns = np.divmod(np.flatnonzero(bits <= BITS), bits.shape[1])
            ordered = rows + top < columns + left
            if ordered.any():
                yield rows[ordered] + top, columns[ordered] + left
        progress(len(plain[top : top + ROWS]))
