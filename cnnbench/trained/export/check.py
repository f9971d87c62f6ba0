"""Whether an exported model gives the answers of the run."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from cnnbench.errors import DataError
from cnnbench.progress import Wait

Answer = Callable[[Tensor], tuple[Tensor, Tensor]]
"""From uint8 images (N, C, H, W) to logits and probabilities, float32 (N, K)."""

TOLERANCE = 1e-3  # of the largest logit: what float32 sums may differ by that are added in another order
LEAST_AGREEMENT = 0.97  # of images whose answer int8 leaves as it is


@dataclass(frozen=True)
class Comparison:
    """Two models' answers to the same images.

    `agreement` is the share of images with the same class. `changed` counts those with another one though the two best
    logits of the first model lie further apart than `largest_difference`, that between any two logits of the models.
    """

    images: int
    agreement: float
    changed: int
    largest_difference: float
    largest_logit: float

    @property
    def is_rounding(self) -> bool:
        """Whether they are one network in float32 but for rounding."""
        return not self.changed and self.largest_difference <= TOLERANCE * self.largest_logit

    @property
    def keeps_answers(self) -> bool:
        """Whether the second, in fewer bits, answers enough images as the first does."""
        return self.agreement >= LEAST_AGREEMENT and self.largest_difference < float("inf")

    @property
    def differs(self) -> str:
        """The figures in words."""
        return (
            f"{1 - self.agreement:.2%} of {self.images} images get another class, and logits, which reach "
            f"{self.largest_logit:.4g}, differ by up to {self.largest_difference:.4g}"
        )


@torch.inference_mode()
def compare(first: Answer, second: Answer, batches: Iterable[Tensor], wait: Wait) -> Comparison:
    """How the answers of `second` differ from those of `first`."""
    pairs = []
    for images in batches:
        pairs.append((first(images)[0], second(images)[0]))
        wait.advance(len(images))
    ours, theirs = (torch.cat(logits) for logits in zip(*pairs, strict=True))
    return differences(ours, theirs)


def differences(ours: Tensor, theirs: Tensor) -> Comparison:
    """How two models' logits (N, K) of the same images differ."""
    difference = float((ours - theirs).abs().max())
    best = ours.topk(min(2, ours.shape[1])).values
    is_same = ours.argmax(1) == theirs.argmax(1)
    return Comparison(
        images=len(ours),
        agreement=float(is_same.double().mean()),
        changed=int((~is_same & (best[:, 0] - best[:, -1] > difference)).sum()),
        largest_difference=difference,
        largest_logit=float(ours.abs().max()),
    )


def refuse_other_answers(found: Comparison) -> None:
    """Refuses a float32 export whose answers are not the run's but for rounding.

    Raises:
        DataError: with the figures.
    """
    if not found.is_rounding:
        raise DataError(f"export: {found.differs}; nothing was written; use another --format")


def refuse_lost_answers(found: Comparison, cure: str) -> None:
    """Refuses an int8 export that answers too many images otherwise than the run does.

    Raises:
        DataError: with the figures.
    """
    if not found.keeps_answers:
        allowed = f"{1 - LEAST_AGREEMENT:.0%} are allowed"
        raise DataError(f"export: int8: {found.differs}; {allowed}, nothing was written; {cure}")
