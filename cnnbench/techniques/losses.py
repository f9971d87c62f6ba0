"""What training minimises: functions of logits (N, K) and targets, either labels (N,) or soft targets (N, K)."""

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor

from cnnbench.config.settings import NonNegative, ProperFraction

Loss = Callable[[Tensor, Tensor], Tensor]


def cross_entropy(*, label_smoothing: ProperFraction) -> Loss:
    """Mean cross-entropy of the softmax of the logits, in float32.

    The target distribution t becomes (1 - label_smoothing) * t + label_smoothing / K
    (Szegedy et al., Rethinking the Inception Architecture, 2016, section 7).
    """

    def loss(logits: Tensor, targets: Tensor) -> Tensor:
        soft = targets.is_floating_point()
        return F.cross_entropy(logits.float(), targets.float() if soft else targets, label_smoothing=label_smoothing)

    return loss


def smooth_l1(num_classes: int, *, beta: NonNegative) -> Loss:
    """Smooth L1 distance of the softmax probabilities from the targets, in float32.

    Per class d²/(2 beta) where |d| < beta, else |d| - beta/2 (Girshick, Fast R-CNN, 2015, equation 3);
    summed over the classes, mean over the images, so a learning rate means the same for 10 classes and for 100.
    It is a regression loss: no |d| exceeds 1, so from beta = 1 on it is a multiple of the Brier score, and
    its gradient vanishes where the model is confidently wrong. Offered to measure that contrast.
    """

    def loss(logits: Tensor, targets: Tensor) -> Tensor:
        soft = targets if targets.is_floating_point() else F.one_hot(targets, num_classes)
        probabilities = logits.float().softmax(dim=1)
        return F.smooth_l1_loss(probabilities, soft.float(), beta=beta, reduction="sum") / len(logits)

    return loss


LOSSES: dict[str, Callable[..., Loss]] = {"cross_entropy": cross_entropy, "smooth_l1": smooth_l1}
