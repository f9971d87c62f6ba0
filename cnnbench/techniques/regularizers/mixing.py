"""Training on mixtures of two images, with targets mixed in the same proportion.

Each image's partner is its neighbour in the batch, whose order is random already. The proportion is one per batch,
drawn from the global CPU generator, which the loop seeds: nothing waits for the device.
"""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributions import Beta

from cnnbench.config.settings import Positive
from cnnbench.techniques.callback import Callback


class MixUp(Callback):
    """x = share * x1 + (1 - share) * x2, share ~ Beta(alpha, alpha) (Zhang et al., mixup, 2018)."""

    def __init__(self, num_classes: int, *, alpha: Positive) -> None:
        self.num_classes = num_classes
        self.alpha = alpha

    def on_batch(self, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        share = _draw_share(self.alpha)
        targets = soft(targets, self.num_classes)
        return images.lerp(images.roll(1, 0), 1 - share), targets.lerp(targets.roll(1, 0), 1 - share)


class CutMix(Callback):
    """Pastes a box of the partner, of a share 1 - Beta(alpha, alpha) of the area (Yun et al., CutMix, 2019).

    The box is cut off at the image's edge; the targets follow the area really pasted.
    """

    def __init__(self, num_classes: int, *, alpha: Positive) -> None:
        self.num_classes = num_classes
        self.alpha = alpha

    def on_batch(self, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        height, width = images.shape[2:]
        side = (1 - _draw_share(self.alpha)) ** 0.5
        rows, columns = _span(height, side), _span(width, side)
        mixed = images.clone()
        mixed[:, :, rows, columns] = images[:, :, rows, columns].roll(1, 0)
        pasted = (rows.stop - rows.start) * (columns.stop - columns.start) / (height * width)
        targets = soft(targets, self.num_classes)
        return mixed, targets.lerp(targets.roll(1, 0), pasted)


def soft(targets: Tensor, num_classes: int) -> Tensor:
    """Soft targets (N, K) float32: the one-hot rows of labels; soft targets as they are."""
    return targets if targets.is_floating_point() else F.one_hot(targets, num_classes).float()


def _draw_share(alpha: float) -> float:
    return float(Beta(alpha, alpha).sample())


def _span(length: int, share: float) -> slice:
    """`share` of `length` pixels around a random centre, cut off at both ends."""
    centre = int(torch.randint(length, ()))
    size = round(share * length)
    start = centre - size // 2
    return slice(max(0, start), min(length, start + size))
