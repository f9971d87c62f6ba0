"""A network in eval mode as fewer layers: norms folded into the convolutions before them, weights cast once."""

from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import pairwise

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


def cast(model: nn.Module, dtype: torch.dtype) -> None:
    """In place, conv and linear layers to `dtype`; not subclasses, which may compute with their weights."""
    for layer in model.modules():
        if type(layer) in (nn.Conv2d, nn.Linear):
            layer.to(dtype)


def fold(model: nn.Module) -> None:
    """In place, of a model in eval mode: each batch norm folded into the convolution before it.

    At eval a batch norm is one factor and one shift per channel, which the convolution's weight and bias take up: exact
    but for rounding. Between the two may stand a max pooling, where no factor is negative. Other norms depend on the
    image and stay, and so does what is not known to be called once and in its order: layers that stand in several
    places, subclasses, what has hooks.
    """
    for parent, before, after in list(_foldable(model)):
        _fold_one(parent, before, after)


def fold_like(model: nn.Module, tensors: Mapping[str, object]) -> None:
    """Folds, in place, the norms whose numbers are not among the tensors of what was folded before it was saved."""
    names = {module: name for name, module in model.named_modules()}
    for parent, before, after in list(_foldable(model)):
        prefix = f"{names[parent]}." if names[parent] else ""
        if f"{prefix}{after}.running_mean" not in tensors:
            _fold_one(parent, before, after)


def has_norms_to_fold(model: nn.Module) -> bool:
    """Whether `fold` would change it."""
    return any(True for _ in _foldable(model))


def _fold_one(parent: nn.Sequential, before: str, after: str) -> None:
    setattr(parent, before, fuse_conv_bn_eval(getattr(parent, before), getattr(parent, after)))
    setattr(parent, after, nn.Identity())


def _foldable(model: nn.Module) -> Iterator[tuple[nn.Sequential, str, str]]:
    """Where each convolution and the batch norm after it stand: their parent and their names in it."""
    places = Counter(id(module) for _, module in model.named_modules(remove_duplicate=False))
    for parent in model.modules():
        if isinstance(parent, nn.Sequential) and type(parent).forward is nn.Sequential.forward:
            yield from ((parent, before, after) for before, after in _foldable_in(parent, places))


def _foldable_in(parent: nn.Sequential, places: Mapping[int, int]) -> Iterator[tuple[str, str]]:
    children = {name: child for name, child in parent._modules.items() if child and type(child) is not nn.Identity}
    order = list(children)
    unpooled = [name for name in order if not (isinstance(children[name], nn.MaxPool2d) and _is_plain(children[name]))]
    for before, after in pairwise(unpooled):
        conv, norm = children[before], children[after]
        if not isinstance(conv, nn.Conv2d) or not isinstance(norm, nn.BatchNorm2d) or norm.running_mean is None:
            continue
        if not (_is_plain(conv) and _is_plain(norm)) or places[id(conv)] > 1 or places[id(norm)] > 1:
            continue
        is_pooled = order.index(after) - order.index(before) > 1
        if is_pooled and norm.weight is not None and bool((norm.weight < 0).any()):
            continue  # the largest value of a window would become the smallest
        yield before, after


def _is_plain(module: nn.Module) -> bool:
    """Whether a call of it does what torch's own class does, and nothing else."""
    is_own = type(module) in (nn.Conv2d, nn.BatchNorm2d, nn.MaxPool2d)
    return is_own and not module._forward_hooks and not module._forward_pre_hooks
