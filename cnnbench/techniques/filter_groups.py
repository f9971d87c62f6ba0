"""Which filters of a network can only go together, and how they go: they, and all that depends on them.

What depends on a filter: its norm's numbers, the channel of every layer that reads it, the same filter of layers whose
maps are added to its own. Which these are torch-pruning's dependency graph says (Fang et al., DepGraph, 2023).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from cnnbench.errors import ConfigError, first_line
from cnnbench.extras import imported, silenced

WHAT = "removing filters"
ROOTS = (nn.Conv2d, nn.Linear)
NORMS = (nn.BatchNorm2d, nn.GroupNorm, nn.LayerNorm)


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

    def places(self, names: Mapping[nn.Module, str]) -> list[tuple[str, Tensor, Tensor]]:
        """Of each layer and norm that has them its name, their places there, and which of `blocks * count` they are."""
        return [
            (names[item.dep.target.module], torch.tensor(item.idxs), torch.tensor(item.root_idxs))
            for item in self.group
            if item.dep.target.module in names and _gives(item.dep)
        ]

    @property
    def have_norm(self) -> bool:
        """Whether a batch norm scales them."""
        return any(isinstance(dep.target.module, nn.BatchNorm2d) for dep, _ in self.group)


def removable_filters(model: nn.Module, images: Tensor) -> tuple[list[Filters], list[str]]:
    """What can be removed from a network, and a line on each convolution and linear layer from which nothing can be.

    Raises:
        ConfigError: torch-pruning does not follow its forward pass.
    """
    names = {module: name for name, module in model.named_modules()}
    try:
        graph = dependencies(model, images)
        groups = list(graph.get_all_groups(root_module_types=list(ROOTS)))
    except Exception as error:  # of any class: it traces what anybody may have written
        why, cure = first_line(error), "mask them, or use compression=int8"
        raise ConfigError(f"{WHAT}: the layers of this network cannot be followed ({why}); {cure}") from error
    found = []
    for group in groups:
        layers = [(dep.target.module, graph.is_out_channel_pruning_fn(dep.handler)) for dep, _ in group]
        members = tuple(names[layer] for layer, is_out in layers if is_out and isinstance(layer, ROOTS))
        is_read = any(not is_out and isinstance(layer, ROOTS) for layer, is_out in layers)
        if is_read and members:
            blocks = max(_blocks(layer, is_out) for layer, is_out in layers)
            each = Filters(members[0], group, blocks, tuple(dict.fromkeys(members)))
            found += [each] if each.count > 1 else []
    cut = {name for each in found for name in each.members}
    logits = _last(model)
    uncut = [
        f"{name} {'gives the logits' if name == logits else 'has one filter, or is tied to what cannot be cut'}"
        for layer, name in names.items()
        if isinstance(layer, ROOTS) and name not in cut
    ]
    return found, uncut


def _gives(dep: Any) -> bool:
    """Whether the layer at the end of a dependency loses what it gives, not what it reads."""
    layer = dep.target.module
    return isinstance(layer, NORMS) or (isinstance(layer, ROOTS) and "out_channels" in dep.handler.__name__)


def dependencies(model: nn.Module, images: Tensor) -> Any:
    """torch-pruning's graph of which filters can only go together."""
    tp = imported("torch_pruning", WHAT)
    with silenced():  # that it takes the last dimension of parameters of no layer, which is right
        return tp.DependencyGraph().build_dependency(model, example_inputs=images)


def _last(model: nn.Module) -> str | None:
    return next((name for name, module in reversed(list(model.named_modules())) if isinstance(module, ROOTS)), None)


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
