"""What an augmentation is: a pure function of images and of uniform noise that somebody else drew."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate

from torch import Tensor


@dataclass(frozen=True)
class Augmentation:
    """`apply(images, noise)` changes a batch of images at random, all the randomness being in `noise`.

    images uint8 (B, C, H, W), noise float32 (B, draws) uniform in [0, 1); the result is like `images` and never
    shares a row's outcome with its neighbours: an image and its noise give the same bits in any batch.

    The noise in the columns `alternating` is that of the first epoch in every even one and lies on the other side of
    0.5 in every odd one, so what is decided by it happens to an image every other epoch.
    """

    draws: int
    apply: Callable[[Tensor, Tensor], Tensor]
    alternating: tuple[int, ...] = ()


def compose(augmentations: Sequence[Augmentation]) -> Augmentation:
    """One augmentation that applies all of them in order, each with noise columns of its own."""
    widths = [augmentation.draws for augmentation in augmentations]
    starts = accumulate(widths, initial=0)
    alternating = tuple(
        start + column
        for start, augmentation in zip(starts, augmentations, strict=False)
        for column in augmentation.alternating
    )

    def apply(images: Tensor, noise: Tensor) -> Tensor:
        for augmentation, columns in zip(augmentations, noise.split(widths, dim=1), strict=True):
            images = augmentation.apply(images, columns)
        return images

    return Augmentation(sum(widths), apply, alternating)


def uniform_integers(noise: Tensor, count: int) -> Tensor:
    """Integers int64 uniform in 0 ... count - 1, from noise in [0, 1)."""
    return (noise * count).long()
