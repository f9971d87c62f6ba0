"""A model made ready to be asked: the same answers from less work."""

import copy
from itertools import pairwise

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from cnnbench.device import Device


def prepared(model: nn.Module, device: Device) -> nn.Module:
    """A copy of `model`, folded, its weights cast once to what autocast would cast them to for every batch."""
    copied = folded(model)
    if device.autocast_dtype is not None:
        for layer in copied.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                layer.to(device.autocast_dtype)
    return device.place(copied)


def folded(model: nn.Module) -> nn.Module:
    """A copy of `model` in eval mode, each batch norm folded into the convolution before it.

    At eval a batch norm is one factor and one shift per channel, which the convolution's weight and bias take up: exact
    but for rounding. Between the two may stand a max pooling, where no factor is negative. Other norms depend on the
    image and stay.
    """
    copied = copy.deepcopy(model).eval()
    for parent in copied.modules():
        if isinstance(parent, nn.Sequential):
            _fold_children(parent)
    return copied


def _fold_children(parent: nn.Sequential) -> None:
    names = [name for name, child in parent.named_children() if not isinstance(child, nn.Identity)]
    for before, after in pairwise([name for name in names if not _is_pool(parent, name)]):
        conv, norm = parent.get_submodule(before), parent.get_submodule(after)
        if not isinstance(conv, nn.Conv2d) or not isinstance(norm, nn.BatchNorm2d) or norm.running_mean is None:
            continue
        between = names[names.index(before) + 1 : names.index(after)]
        if between and norm.weight is not None and bool((norm.weight < 0).any()):
            continue  # the largest value of a window would become the smallest
        setattr(parent, before, fuse_conv_bn_eval(conv, norm))
        setattr(parent, after, nn.Identity())


def _is_pool(parent: nn.Module, name: str) -> bool:
    return isinstance(parent.get_submodule(name), nn.MaxPool2d)
