"""What is removed stays at zero: a score x a choice by it x a unit x a calendar.

Tensors keep their shapes, so a masked model is no faster. A score such as the magnitude is only a proxy for what a
weight contributes to the loss, which is why training goes on with the masks in place.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from cnnbench.errors import ConfigError
from cnnbench.techniques.callback import Callback

Scope = Literal["global", "layer"]
Pace = Literal["one_shot", "linear", "cubic"]
Choice = Callable[[list[Tensor], float], list[Tensor]]

LAYERS = {"weight": (nn.Conv2d, nn.Linear), "filter": (nn.Conv2d,)}

# Weight (out, ...) -> one score per unit, the shape broadcasting to the weight. Filters are scored by means,
# not sums, so that filters of different sizes compare.
SCORES: dict[str, Callable[[Tensor], Tensor]] = {
    "magnitude": torch.abs,
    "l1": lambda weight: weight.abs().mean(dim=(1, 2, 3), keepdim=True),
    "l2": lambda weight: weight.square().mean(dim=(1, 2, 3), keepdim=True).sqrt(),
}


@dataclass(frozen=True)
class Calendar:
    """What share of the removal is done in which epoch (counted from 1): all of it from `end` on."""

    schedule: Pace
    start: int
    end: int

    def progress(self, epoch: int) -> float:
        """The share removed from the start of `epoch` on; 0 before `start`, 1 from `end`."""
        if epoch < self.start:
            return 0.0
        left = max(0, self.end - epoch) / (self.end - self.start + 1)
        return 1 - left**3 if self.schedule == "cubic" else 1 - left


def plan(schedule: Pace, start_epoch: int | None, end_epoch: int | None, epochs: int) -> Calendar:
    """The calendar of a run of `epochs` epochs.

    Weights go at the start of each epoch from `start_epoch` to `end_epoch`: evenly for `linear`, most of them
    early for `cubic` (Zhu & Gupta, To prune, or not to prune, 2017). For `one_shot` all go at `start_epoch`, and
    `end_epoch` is not used. Where they are null, the first half of the epochs is dense and the last quarter is
    left to recover.

    Raises:
        ConfigError: the epochs are out of order.
    """
    start = start_epoch or min(epochs // 2 + 1, end_epoch or epochs)
    end = start if schedule == "one_shot" else end_epoch or max(start, math.ceil(0.75 * epochs))
    if end < start:
        raise ConfigError(f"pruning.end_epoch={end}: before start_epoch; set it to {start} or later")
    return Calendar(schedule, start, end)


def keep_highest(amount: float, scope: Scope, scores: list[Tensor], progress: float) -> list[Tensor]:
    """True for all but the lowest `amount * progress` of the scores, per layer or of all layers together.

    Rounded to a whole number of units. Infinite scores are always kept.
    """
    if scope == "layer":
        return [_all_but_lowest(score, amount * progress) for score in scores]
    keep = _all_but_lowest(torch.cat([score.flatten() for score in scores]), amount * progress)
    parts = keep.split([score.numel() for score in scores])
    return [part.view(score.shape) for part, score in zip(parts, scores, strict=True)]


def keep_above(threshold: float, scores: list[Tensor], progress: float) -> list[Tensor]:
    """True where the score reaches `threshold * progress`."""
    return [score >= threshold * progress for score in scores]


def _all_but_lowest(scores: Tensor, share: float) -> Tensor:
    count = min(round(share * scores.numel()), int(scores.isfinite().sum()))
    keep = torch.ones(scores.numel(), dtype=torch.bool, device=scores.device)
    keep[scores.flatten().argsort(stable=True)[:count]] = False
    return keep.view(scores.shape)


class Pruning(Callback):
    """Removes units of the lowest scores at the start of the calendar's epochs and keeps them at zero.

    What is removed stays removed, and the best unit of a layer is never removed, so no layer dies.

    Args:
        unit: "weight" (of convolutions and linear layers) or "filter" (of convolutions).
        score: one number per unit of a weight.
        choose: masks (True: keep) from the layers' scores and the calendar's progress.
    """

    def __init__(
        self,
        model: nn.Module,
        unit: Literal["weight", "filter"],
        score: Callable[[Tensor], Tensor],
        choose: Choice,
        calendar: Calendar,
        steps_per_epoch: int,
    ) -> None:
        self.model = model
        self.unit = unit
        self.score = score
        self.choose = choose
        self.calendar = calendar
        self.steps_per_epoch = steps_per_epoch
        self.batches = 0
        self.masks = [torch.ones_like(s, dtype=torch.bool) for s in self._scores()]
        if not self.masks:
            raise ConfigError(f"pruning: this model has no {unit} to remove; set pruning=none")

    @property
    def epoch(self) -> int:
        """The epoch of the latest batch, counted from 1."""
        return math.ceil(self.batches / self.steps_per_epoch)

    def on_batch(self, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        self.batches += 1  # not in after_step: a float16 step can be skipped, and epochs end all the same
        progress = self.calendar.progress(self.epoch)
        first_of_epoch = (self.batches - 1) % self.steps_per_epoch == 0
        if first_of_epoch and progress > self.calendar.progress(self.epoch - 1):
            self.remove(progress)
        return images, targets

    def after_step(self, model: nn.Module) -> None:
        if self.epoch >= self.calendar.start:
            self._apply(model)

    def model_for_evaluation(self, model: nn.Module) -> nn.Module:
        """`model` with the masks applied in place: an average of weights still holds what was removed late."""
        self._apply(model)
        return model

    def epoch_metrics(self, model: nn.Module) -> dict[str, float]:
        """`sparsity`: the share of exact zeros among the weights that pruning may remove."""
        weights = self._weights(model)
        zeros = torch.stack([(weight == 0).sum() for weight in weights]).sum().item()
        return {"sparsity": zeros / sum(weight.numel() for weight in weights)}

    def is_settled(self) -> bool:
        return self.epoch >= self.calendar.end

    def state_dict(self) -> dict[str, Any]:
        return {"batches": self.batches, "masks": self.masks}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.batches = state["batches"]
        self.masks = [new.to(old.device) for new, old in zip(state["masks"], self.masks, strict=True)]

    def _layers(self, model: nn.Module) -> list[Any]:
        return [layer for layer in model.modules() if isinstance(layer, LAYERS[self.unit])]

    def _weights(self, model: nn.Module) -> list[Tensor]:
        return [layer.weight for layer in self._layers(model)]

    def _scores(self) -> list[Tensor]:
        return [self.score(w.detach().float()).contiguous() for w in self._weights(self.model)]

    def remove(self, progress: float) -> None:
        """Removes, in place, what the calendar has removed at this `progress`."""
        scores = self._scores()
        for score, mask in zip(scores, self.masks, strict=True):
            score[~mask] = -1.0  # below every score: what is removed stays removed
            score.view(-1)[score.argmax()] = math.inf
        self.masks = self.choose(scores, progress)
        self._apply(self.model)

    @torch.no_grad()
    def _apply(self, model: nn.Module) -> None:
        for layer, mask in zip(self._layers(model), self.masks, strict=True):
            layer.weight.mul_(mask)
            if self.unit == "filter" and layer.bias is not None:
                layer.bias.mul_(mask.flatten())
