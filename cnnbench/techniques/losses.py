"""What training minimises: functions of logits (N, K) and targets, either labels (N,) or soft targets (N, K)."""

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor

from cnnbench.config.settings import FolderPath, Fraction, NonNegative, Positive, ProperFraction
from cnnbench.errors import ConfigError
from cnnbench.techniques.callback import Callback

Loss = Callable[[Tensor, Tensor], Tensor]
"""One that is a Callback too is told of each batch, after all others have changed it."""


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


class Distillation(Callback):
    """(1 - weight) * cross-entropy with the targets + weight * temperature² * KL(teacher || student), in float32.

    The two distributions are the softmax of logits / temperature. temperature² keeps the size of the gradient, which
    falls with its square (Hinton, Vinyals & Dean, Distilling the Knowledge in a Neural Network, 2015, section 2).
    The teacher, `ask_teacher` from images to logits, sees each batch as it is trained on, once. None: the loss is not
    going to be computed.
    """

    def __init__(
        self,
        ask_teacher: Callable[[Tensor], Tensor] | None,
        *,
        teacher: FolderPath | None,
        temperature: Positive,
        weight: Fraction,
        label_smoothing: ProperFraction,
    ) -> None:
        if teacher is None:
            raise ConfigError("loss.teacher: which run? Give the path that `train` printed, as loss.teacher=PATH")
        self.ask_teacher = ask_teacher
        self.temperature, self.weight = temperature, weight
        self.of_labels = cross_entropy(label_smoothing=label_smoothing)
        self.answers: Tensor | None = None

    def on_batch(self, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        assert self.ask_teacher is not None
        self.answers = self.ask_teacher(images)
        return images, targets

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The loss of the batch that `on_batch` has seen."""
        assert self.answers is not None
        ours, theirs = (F.log_softmax(each.float() / self.temperature, dim=1) for each in (logits, self.answers))
        divergence = self.temperature**2 * F.kl_div(ours, theirs, reduction="batchmean", log_target=True)
        return (1 - self.weight) * self.of_labels(logits, targets) + self.weight * divergence


LOSSES: dict[str, Callable[..., Loss]] = {
    "cross_entropy": cross_entropy,
    "smooth_l1": smooth_l1,
    "distillation": Distillation,
}
