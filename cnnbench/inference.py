"""A model made ready to be asked: the same answers from less work."""

import copy
from collections.abc import Callable
from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from cnnbench.config.run_config import Views
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


def logits_over_views(forward: Callable[[Tensor], Tensor], images: Tensor, views: Views) -> Tensor:
    """What `forward` gives for images (N, C, H, W), float32 where it is a mean.

    flip: the mean of each image and its mirror image, two passes. flip_shift: half of that, and a quarter each of the
    same for the image shifted by one pixel up and left, and down and right, its border reflected; six passes (Jordan,
    94% on CIFAR-10, 2024, section 3.5).
    """
    match views:
        case "flip":
            return _mirrored(forward, images)
        case "flip_shift":
            padded = F.pad(images, (1, 1, 1, 1), mode="reflect")
            shifted = _mirrored(forward, padded[:, :, :-2, :-2]) + _mirrored(forward, padded[:, :, 2:, 2:])
            return _mirrored(forward, images) / 2 + shifted / 4
    return forward(images)


def _mirrored(forward: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    return (forward(images).float() + forward(images.flip(3)).float()) / 2
