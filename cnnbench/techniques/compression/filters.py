"""Filters removed for good: the network that is left is smaller, not full of zeros.

What depends on a filter goes with it: its norm's numbers, the channel of every layer that reads it, the same filter of
layers whose maps are added to its own. Which these are torch-pruning's dependency graph says (Fang et al., DepGraph,
2023).
"""

import math
import warnings
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cnnbench.config.settings import Count, Positive, PositiveInt, ProperFraction
from cnnbench.errors import ConfigError
from cnnbench.extras import imported
from cnnbench.techniques.compression.compression import Compression, Examples, FineTuning
from cnnbench.techniques.pruning import Scope, keep_highest

Score = Literal["l1", "l2", "taylor", "bn_scale", "random"]
WHAT = "compression=filters"
EXAMPLES = 512  # whose loss the Taylor score is of


@dataclass(frozen=True)
class Filters:
    """Filters of convolutions, and hidden units, that can only go together.

    Attributes:
        name: of the first layer that has them.
        group: torch-pruning's, of all of them.
        blocks: into how many equal parts a grouped convolution or norm divides them; each loses the same ones.
        members: the names of all layers that have them.
    """

    name: str
    group: Any
    blocks: int
    members: tuple[str, ...]

    @property
    def count(self) -> int:
        """How many there are to choose from."""
        return len(self.group[0].idxs) // self.blocks

    @property
    def have_norm(self) -> bool:
        """Whether a batch norm scales them."""
        return any(isinstance(dep.target.module, nn.BatchNorm2d) for dep, _ in self.group)


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
            scores = self._scores(model, examples, found)
            remove(model, images, found, self._kept(found, scores, before, step))
            found, _ = self._removable(model, images)
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


def removable_filters(model: nn.Module, images: Tensor) -> tuple[list[Filters], list[str]]:
    """What can be removed from a network, and a line on each convolution and linear layer from which nothing can be.

    Raises:
        ConfigError: torch-pruning does not follow its forward pass.
    """
    names = {module: name for name, module in model.named_modules()}
    roots = [nn.Conv2d, nn.Linear]
    try:
        graph = dependencies(model, images)
        groups = list(graph.get_all_groups(root_module_types=roots))
    except Exception as error:  # of any class: it traces what anybody may have written
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise ConfigError(
            f"{WHAT}: the layers of this network cannot be followed ({first}); use compression=int8"
        ) from error
    found = []
    for group in groups:
        layers = [(dep.target.module, graph.is_out_channel_pruning_fn(dep.handler)) for dep, _ in group]
        members = tuple(names[layer] for layer, is_out in layers if is_out and isinstance(layer, tuple(roots)))
        is_read = any(not is_out and isinstance(layer, tuple(roots)) for layer, is_out in layers)
        if is_read and members:
            blocks = max(_blocks(layer, is_out) for layer, is_out in layers)
            each = Filters(members[0], group, blocks, tuple(dict.fromkeys(members)))
            found += [each] if each.count > 1 else []
    cut = {name for each in found for name in each.members}
    logits = _last(model, roots)
    uncut = [
        f"{name} {'gives the logits' if name == logits else 'has one filter, or is tied to what cannot be cut'}"
        for layer, name in names.items()
        if isinstance(layer, tuple(roots)) and name not in cut
    ]
    return found, uncut


def dependencies(model: nn.Module, images: Tensor) -> Any:
    """torch-pruning's graph of which filters can only go together."""
    tp = imported("torch_pruning", WHAT)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it takes the last dimension of parameters of no layer, which is right
        return tp.DependencyGraph().build_dependency(model, example_inputs=images)


def _last(model: nn.Module, kinds: list[type[nn.Module]]) -> str | None:
    return next((name for name, m in reversed(list(model.named_modules())) if isinstance(m, tuple(kinds))), None)


def _blocks(layer: Any, is_out: bool) -> int:
    if isinstance(layer, nn.Conv2d):
        return 1 if layer.groups == layer.out_channels else layer.groups
    return layer.num_groups if isinstance(layer, nn.GroupNorm) else 1


def remove(model: nn.Module, images: Tensor, found: list[Filters], kept: list[Tensor]) -> None:
    """Removes, in place, of each of the `found` the filters that are not in its mask (count,) of those kept."""
    graph = dependencies(model, images)
    for filters, mask in zip(found, kept, strict=True):
        gone = (~mask).nonzero().flatten()
        if len(gone):
            indices = torch.cat([gone + block * filters.count for block in range(filters.blocks)]).tolist()
            first = filters.group[0].dep
            graph.get_pruning_group(first.target.module, first.handler, indices).prune()


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
