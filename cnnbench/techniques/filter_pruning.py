"""Filters masked while training, with all that goes with them, so that at the end they can be removed for good."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from cnnbench.techniques.filter_groups import removable_filters, remove
from cnnbench.techniques.masking import Calendar, Choice, Pruning


class FilterPruning(Pruning):
    """Removes filters as `Pruning` does, but those that can only go together at once, and their norms with them.

    A filter whose norm still adds its shift gives a constant, and could not be removed without a change.

    Args:
        image_shape: (C, H, W) of the images that the model takes.
    """

    def __init__(
        self,
        model: nn.Module,
        image_shape: tuple[int, int, int],
        score: Callable[[Tensor], Tensor],
        choose: Choice,
        calendar: Calendar,
        steps_per_epoch: int,
    ) -> None:
        names = {module: name for name, module in model.named_modules()}
        found, _ = removable_filters(model, black_image(model, image_shape))
        convolutions = {name for module, name in names.items() if isinstance(module, nn.Conv2d)}
        self._groups = [
            (filters.count, filters.blocks, filters.places(names))
            for filters in found
            if convolutions & set(filters.members)
        ]
        super().__init__(model, "filter", score, choose, calendar, steps_per_epoch)

    def _scores(self) -> list[Tensor]:
        return [self._score_of(count, blocks, places) for count, blocks, places in self._groups]

    def _score_of(self, count: int, blocks: int, places: list[tuple[str, Tensor, Tensor]]) -> Tensor:
        """The mean over the convolutions that have them, (count,)."""
        device = next(self.model.parameters()).device
        total = torch.zeros(count * blocks, device=device)
        for name, own, which in places:
            layer = self.model.get_submodule(name)
            if isinstance(layer, nn.Conv2d):
                total[which] += self.score(layer.weight.detach().float()).flatten()[own]
        return total.view(blocks, count).mean(0)

    @torch.no_grad()
    def _apply(self, model: nn.Module) -> None:
        for mask, (_, blocks, places) in zip(self.masks, self._groups, strict=True):
            kept = mask.repeat(blocks)
            for name, own, which in places:
                layer = model.get_submodule(name)
                for tensor in (layer.weight, layer.bias):
                    if isinstance(tensor, Tensor):
                        tensor[own] *= kept[which].view(-1, *[1] * (tensor.ndim - 1))


def black_image(model: nn.Module, image_shape: tuple[int, int, int]) -> Tensor:
    """A batch of one (1, C, H, W), on the model's device."""
    return torch.zeros(1, *image_shape, device=next(model.parameters()).device)


def remove_masked_filters(model: nn.Module, image_shape: tuple[int, int, int]) -> None:
    """Removes, in place, from a network in eval mode the filters of which every layer has only zeros."""
    images = black_image(model, image_shape)
    found, _ = removable_filters(model, images)
    names = {module: name for name, module in model.named_modules()}
    kept = []
    for filters in found:
        used = torch.zeros(filters.count * filters.blocks, dtype=torch.bool)
        for name, own, which in filters.places(names):
            weight = model.get_submodule(name).weight
            if isinstance(weight, Tensor) and weight.ndim > 1:
                used[which] |= weight.detach().flatten(1).ne(0).any(1).cpu()[own]
        of_blocks = used.view(filters.blocks, filters.count).any(0)
        of_blocks[0] |= not of_blocks.any()
        kept.append(of_blocks)
    remove(model, images, found, kept)
