"""Automatic augmentation policies: RandAugment, TrivialAugment and AugMix, as batched sequences of operations.

Which operation, and how strong, is drawn per image; each operation then runs once, on the images that drew it.
"""

from collections.abc import Callable, Sequence
from typing import Annotated

import torch
from torch import Tensor
from torch.nn import functional as F

from cnnbench.config.settings import PositiveInt, Range
from cnnbench.techniques.augment import operations as ops
from cnnbench.techniques.augment.augmentation import Augmentation, uniform_integers

Operation = Callable[[Tensor, Tensor], Tensor]  # images (B, C, H, W) and level (B,) in [-1, 1] to images
LEVELS = 30  # the strongest of the levels 0 ... 30 of RandAugment and TrivialAugment


def randaugment(
    image_shape: tuple[int, int, int],
    *,
    num_ops: PositiveInt,
    magnitude: Annotated[int, Range(at_least=0, at_most=LEVELS)],
) -> Augmentation:
    """`num_ops` operations in a row of one strength (Cubuk et al. 2020), in torchvision's space; black fill."""
    height, width = image_shape[1:]
    operations = _fourteen_operations(
        shear=0.3, translate=(150 / 331 * width, 150 / 331 * height), degrees=30, enhance=0.9, bits=4
    )

    def apply(images: Tensor, noise: Tensor) -> Tensor:
        choice, sign = noise.reshape(-1, num_ops, 2).unbind(2)
        level = _signed(magnitude / LEVELS, sign)
        return _apply_in_turn(operations, images, uniform_integers(choice, len(operations)), level)

    return Augmentation(2 * num_ops, apply)


def trivialaugment() -> Augmentation:
    """One operation of any strength (Müller & Hutter 2021), in torchvision's wide space; black fill.

    The wide space shifts by up to 32 pixels whatever the size of the image, as published.
    """
    operations = _fourteen_operations(shear=0.99, translate=(32, 32), degrees=135, enhance=0.99, bits=6)

    def apply(images: Tensor, noise: Tensor) -> Tensor:
        choice, level, sign = noise.split(1, dim=1)
        level = _signed(uniform_integers(level, LEVELS + 1) / LEVELS, sign)
        return _apply_in_turn(operations, images, uniform_integers(choice, len(operations)), level)

    return Augmentation(3, apply)


def augmix(
    image_shape: tuple[int, int, int],
    *,
    severity: Annotated[int, Range(at_least=1, at_most=10)],
    width: PositiveInt,
    depth: PositiveInt | None,
) -> Augmentation:
    """A random average of the image and of `width` chains of operations (Hendrycks et al. 2020, algorithm 1).

    A chain has `depth` operations, or 1 to 3 by chance if None. The weights of the mixture are Dirichlet(1) and
    Beta(1, 1), the paper's defaults. Only the images: the paper's Jensen-Shannon loss is not part of it. As in the
    paper, contrast, colour, brightness and sharpness stay out: robustness is measured on corruptions like them.
    """
    operations = [*_nine_operations(image_shape[1], image_shape[2]), _identity]
    steps = depth or 3
    widths = [1, width - 1, 0 if depth else width, 3 * width * steps]

    def apply(images: Tensor, noise: Tensor) -> Tensor:
        share, cuts, lengths, draws = noise.split(widths, dim=1)
        choice, level, sign = draws.reshape(-1, steps, 3).unbind(2)
        choice = uniform_integers(choice, len(operations) - 1)
        if depth is None:
            unused = torch.arange(steps, device=noise.device) > uniform_integers(lengths.reshape(-1, 1), steps)
            choice = torch.where(unused, len(operations) - 1, choice)
        level = _signed((0.1 + level * (severity - 0.1)) / 10, sign)
        chains = _apply_in_turn(operations, images.repeat_interleave(width, 0), choice, level)
        return _mix(images, chains.unflatten(0, (-1, width)), share, cuts)

    return Augmentation(sum(widths), apply)


def _mix(images: Tensor, chains: Tensor, share: Tensor, cuts: Tensor) -> Tensor:
    """Averages images and chains (B, width, C, H, W); the chains weigh `share` (B, 1) together.

    `cuts` (B, width - 1) uniform in [0, 1): the gaps between them, sorted, are the chains' Dirichlet(1) weights.
    """
    ends = F.pad(F.pad(cuts.sort(dim=1).values, (1, 0), value=0.0), (0, 1), value=1.0)
    weights = share * ends.diff(dim=1)
    mixed = images * (1 - share)[:, :, None, None]
    for weight, chain in zip(weights.T, chains.unbind(1), strict=True):
        mixed = mixed + chain * weight[:, None, None, None]
    return mixed.round().to(torch.uint8)


def _apply_in_turn(operations: Sequence[Operation], images: Tensor, choice: Tensor, level: Tensor) -> Tensor:
    """Applies to image b the operations choice[b, 0], choice[b, 1], ... at level[b, 0], ...; both (B, steps)."""
    counts = F.one_hot(choice, len(operations)).sum(0).tolist()  # the only time the host waits for the device
    for step, sizes in enumerate(counts):
        order = choice[:, step].argsort()
        groups = zip(operations, images[order].split(sizes), level[order, step].split(sizes), strict=True)
        images = torch.cat([operation(group, levels) for operation, group, levels in groups if len(group)])
        images = images[order.argsort()]
    return images


def _signed(level: Tensor | float, noise: Tensor) -> Tensor:
    """`level`, negative half of the time."""
    return torch.where(noise < 0.5, -level, level)


def _identity(images: Tensor, level: Tensor) -> Tensor:
    return images


def _fourteen_operations(
    *, shear: float, translate: tuple[float, float], degrees: float, enhance: float, bits: int
) -> list[Operation]:
    """The operations of RandAugment and TrivialAugment, given what level 1 means for each kind."""
    across, down = translate
    return [
        _identity,
        lambda images, level: ops.shear_x(images, shear * level, "nearest"),
        lambda images, level: ops.shear_y(images, shear * level, "nearest"),
        lambda images, level: ops.translate_x(images, across * level, "nearest"),
        lambda images, level: ops.translate_y(images, down * level, "nearest"),
        lambda images, level: ops.rotate(images, degrees * level, "nearest"),
        lambda images, level: ops.brightness(images, 1 + enhance * level),
        lambda images, level: ops.colour(images, 1 + enhance * level),
        lambda images, level: ops.contrast(images, 1 + enhance * level),
        lambda images, level: ops.sharpness(images, 1 + enhance * level),
        lambda images, level: ops.posterize(images, 8 - (bits * level.abs()).round()),
        lambda images, level: ops.solarize(images, 255 * (1 - level.abs())),
        lambda images, level: ops.autocontrast(images),
        lambda images, level: ops.equalize(images),
    ]


def _nine_operations(height: int, width: int) -> list[Operation]:
    """The operations of AugMix."""
    return [
        lambda images, level: ops.shear_x(images, 0.3 * level, "bilinear"),
        lambda images, level: ops.shear_y(images, 0.3 * level, "bilinear"),
        lambda images, level: ops.translate_x(images, width / 3 * level, "bilinear"),
        lambda images, level: ops.translate_y(images, height / 3 * level, "bilinear"),
        lambda images, level: ops.rotate(images, 30 * level, "bilinear"),
        lambda images, level: ops.posterize(images, 4 - (4 * level.abs()).trunc()),
        lambda images, level: ops.solarize(images, 256 * (1 - level.abs())),
        lambda images, level: ops.autocontrast(images),
        lambda images, level: ops.equalize(images),
    ]
