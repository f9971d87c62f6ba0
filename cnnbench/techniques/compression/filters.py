"""Filters removed for good: the network that is left is smaller, not full of zeros."""

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cnnbench.config.settings import Count, Positive, PositiveInt, ProperFraction
from cnnbench.errors import ConfigError
from cnnbench.extras import imported
from cnnbench.techniques.compression.compression import Compression, Examples, FineTuning
from cnnbench.techniques.filter_groups import Filters, removable_filters, remove
from cnnbench.techniques.masking import Scope, keep_highest

Score = Literal["l1", "l2", "taylor", "bn_scale", "random"]
WHAT = "compression=filters"
EXAMPLES = 512  # whose loss the Taylor score is of


class RemoveFilters(Compression):
    """Removes the share `amount` of the filters of the lowest score, in `steps` after each of which they are scored
    anew; at least one of each layer stays."""

    def __init__(
        self, score: Score, scope: Scope, amount: float, round_to: int, steps: int, fine_tuning: FineTuning
    ) -> None:
        self.score, self.scope, self.amount = score, scope, amount
        self.round_to, self.steps, self.fine_tuning = round_to, steps, fine_tuning
        self.examples_wanted = EXAMPLES if score == "taylor" else 2

    def require(self, kind: str) -> None:
        imported("torch_pruning", WHAT)

    def cut(self, model: nn.Module, examples: Examples) -> list[str]:
        images = examples[0][0][:1]
        found, uncut = self._removable(model, images)
        if not found:
            why = "; ".join(uncut) or "it has no layer"
            raise ConfigError(f"{WHAT}: nothing can be removed from this network: {why}")
        before = {filters.name: filters.count for filters in found}
        for step in range(1, self.steps + 1):
            if step > 1:
                found, _ = self._removable(model, images)
            scores = self._scores(model, examples, found)
            remove(model, images, found, self._kept(found, scores, before, step))
        for parameter in model.parameters():
            parameter.grad = None
        return uncut

    def kept(self, model: nn.Module, found: list[Filters]) -> list[Tensor]:
        """Of each the filters that stay, ascending, where nothing has gone before and all go in one step."""
        before = {filters.name: filters.count for filters in found}
        return self._kept(found, self._scores(model, [], found), before, self.steps)

    def _removable(self, model: nn.Module, images: Tensor) -> tuple[list[Filters], list[str]]:
        """What can be removed and has a score; and a line on each layer from which nothing can be."""
        found, uncut = removable_filters(model, images)
        if self.score != "bn_scale":
            return found, uncut
        bare = [name for filters in found if not filters.have_norm for name in filters.members]
        return [filters for filters in found if filters.have_norm], [*uncut, *(f"{name} has no norm" for name in bare)]

    def _kept(self, found: list[Filters], scores: list[Tensor], before: dict[str, int], step: int) -> list[Tensor]:
        """Of each the filters that stay, ascending."""
        goal = self.amount * step / self.steps  # of those there were at first
        whole, left = sum(before.values()), sum(filters.count for filters in found)
        masks = []
        if self.scope == "global":
            masks = keep_highest(1 - (1 - goal) * whole / left, "global", _with_best_kept(scores), 1.0)
        else:
            for filters, score in zip(found, scores, strict=True):
                share = 1 - (1 - goal) * before[filters.name] / filters.count
                masks += keep_highest(share, "layer", _with_best_kept([score]), 1.0)
        return [_rounded_up(mask, score, self.round_to) for mask, score in zip(masks, scores, strict=True)]

    def _scores(self, model: nn.Module, examples: Examples, found: list[Filters]) -> list[Tensor]:
        """Of each the score of every filter, (count,); the lower, the sooner it goes."""
        tp = imported("torch_pruning", WHAT)
        scale = None if self.scope == "layer" else "mean"  # layers of other sizes compare by their own mean
        match self.score:
            case "l1" | "l2":
                importance = tp.importance.GroupMagnitudeImportance(p=int(self.score[1]), normalizer=scale)
            case "taylor":
                importance = tp.importance.GroupTaylorImportance(normalizer=scale)
                add_gradients(model, examples)
            case "bn_scale":
                importance = tp.importance.BNScaleImportance(normalizer=scale)
            case "random":
                importance = tp.importance.RandomImportance()
        scores = []
        for filters in found:
            score = importance(filters.group)
            scores.append(score.detach().float().cpu().view(filters.blocks, -1).mean(0))
        return scores


def filters(
    *,
    score: Score,
    scope: Scope,
    amount: ProperFraction,
    round_to: PositiveInt,
    steps: PositiveInt,
    epochs: Count,
    lr_factor: Positive,
) -> Compression:
    """Removes filters for good: the share `amount` of each layer, or of all ranked together, those of the lowest score.

    l1, l2: the norm of all weights that would go (Li et al., 2017). taylor: the change of the loss to first order
    (Molchanov et al., 2019). bn_scale: |gamma| of their norms (Liu et al., Network Slimming, 2017). random: by lot.
    """
    return RemoveFilters(score, scope, amount, round_to, steps, FineTuning(epochs, lr_factor))


def _with_best_kept(scores: list[Tensor]) -> list[Tensor]:
    """Copies in which the best of each layer is beyond removal."""
    kept = [score.clone() for score in scores]
    for score in kept:
        score[score.argmax()] = math.inf
    return kept


def _rounded_up(mask: Tensor, score: Tensor, multiple: int) -> Tensor:
    """`mask` with as many of the best that would go added as make their number a multiple, or all."""
    count = int(mask.sum())
    missing = min(-count % multiple, len(mask) - count)
    if missing:
        others = torch.where(mask, -math.inf, score)
        mask = mask.clone()
        mask[others.topk(missing).indices] = True
    return mask


def add_gradients(model: nn.Module, examples: Examples) -> None:
    """Gives every parameter its gradient of the mean cross-entropy over the examples."""
    frozen = [parameter for parameter in model.parameters() if not parameter.requires_grad]
    for parameter in model.parameters():
        parameter.requires_grad_()
        parameter.grad = None
    total = sum(len(labels) for _, labels in examples)
    for images, labels in examples:
        (F.cross_entropy(model(images).float(), labels, reduction="sum") / total).backward()
    for parameter in frozen:
        parameter.requires_grad_(False)
