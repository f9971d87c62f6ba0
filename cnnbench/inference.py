"""Asking a model: made ready to give the same answers from less work, and how it does on a set."""

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cnnbench.config.run_config import Views
from cnnbench.data.batches import Batches
from cnnbench.device import Device
from cnnbench.models.fold import cast, fold, has_norms_to_fold
from cnnbench.progress import waiting
from cnnbench.seeds import generator

SAMPLES = 2
AGREEMENT = {"fp32": 1e-3, "tf32": 2e-2}  # of the norm of the logits; folding is compared in these two
CAST_AGREEMENT = 1e-2  # the cast weights are those of autocast, so that only kernels may round otherwise


@dataclass(frozen=True)
class Evaluation:
    """How a model did on a set: means over its images, and per image the logits (N, K) float32 and labels (N,)."""

    loss: float
    accuracy: float
    top5_accuracy: float
    logits: Tensor
    labels: Tensor


@torch.inference_mode()
def evaluate(
    model: nn.Module, batches: Batches, device: Device, views: Views = "none", *, what: str = "evaluating"
) -> Evaluation | None:
    """How a copy of `model` in eval mode does on `batches`, by plain cross-entropy; None where there are none.

    `what` is shown meanwhile, with a bar.
    """
    ready: nn.Module | None = None
    outputs = []
    with waiting(what, len(batches)) as wait:
        for images, labels in batches:
            if ready is None:
                ready = prepared(model, device, tuple(images.shape[1:]))
            with device.autocast():
                logits = logits_over_views(ready, images, views)
            outputs.append((logits.float(), labels))
            wait.advance()
    if not outputs:
        return None
    all_logits = torch.cat([logits for logits, _ in outputs])
    all_labels = torch.cat([labels for _, labels in outputs])
    return Evaluation(
        loss=float(F.cross_entropy(all_logits, all_labels)),
        accuracy=float((all_logits.argmax(1) == all_labels).double().mean()),
        top5_accuracy=float((ranks(all_logits, all_labels) < 5).double().mean()),
        logits=all_logits,
        labels=all_labels,
    )


def ranks(logits: Tensor, labels: Tensor) -> Tensor:
    """How many classes come before the labelled one, (N,): those of larger logits, and among equals the lower ones.

    0 where argmax, which gives the lowest among equals, is right; topk gives any of them.
    """
    own = logits.gather(1, labels[:, None])
    lower = torch.arange(logits.shape[1], device=logits.device) < labels[:, None]
    return (~(logits <= own) | ((logits == own) & lower)).sum(1)  # not >, so that NaN ranks last


def prepared(model: nn.Module, device: Device, image_shape: tuple[int, ...]) -> nn.Module:
    """A copy of `model` in eval mode, folded, its weights cast once to what autocast makes of them for every batch; its
    logits are float32.

    A plain copy where that changes the logits of two images of noise by more than rounding, or does not run: in a
    network of the user's a layer may be called in other places than it stands, or outside of autocast.
    """
    ready = _placed_copy(model, device)
    if not _is_quickened(ready, device, image_shape):
        ready = _placed_copy(model, device)
    if device.autocast_dtype is not None:
        _leave_logits_whole(ready, device, image_shape)
    return ready


def _placed_copy(model: nn.Module, device: Device) -> nn.Module:
    return device.place(copy.deepcopy(model).eval())


class WholeLinear(nn.Module):
    """A linear layer of numbers in `dtype` whose sums are given back in float32, as they are added up, not rounded."""

    def __init__(self, layer: nn.Linear, dtype: torch.dtype) -> None:
        super().__init__()
        low = copy.deepcopy(layer).to(dtype)
        self.weight, self.bias = low.weight, low.bias

    def forward(self, features: Tensor) -> Tensor:
        bias = None if self.bias is None else self.bias.float()
        with torch.autocast(features.device.type, enabled=False):
            return F.linear(features.to(self.weight.dtype).float(), self.weight.float(), bias)


def _leave_logits_whole(model: nn.Module, device: Device, image_shape: tuple[int, ...]) -> None:
    """In place, under autocast: the last linear layer gives float32, where the logits come from it.

    In bf16, which has eight bits, the two largest logits of an image in 150 to 350 were equal, and their order alone
    said which class is the answer. Changes nothing where the logits come from another layer, or are float32 already.
    """
    dtype, found = device.autocast_dtype, _last_linear(model)
    if dtype is None or found is None:
        return
    name, layer = found
    parent, _, child = name.rpartition(".")
    try:
        before = _noise_logits(model, device, image_shape)
        setattr(model.get_submodule(parent), child, WholeLinear(layer, dtype))
        after = _noise_logits(model, device, image_shape)
        gains = before.dtype == dtype and after.dtype == torch.float32
        if gains and (after - before).norm() <= CAST_AGREEMENT * before.norm():
            return
    except (RuntimeError, TypeError, ValueError, AttributeError):  # it asks the layer for more than a forward pass
        pass
    setattr(model.get_submodule(parent), child, layer)


def _last_linear(model: nn.Module) -> tuple[str, nn.Linear] | None:
    """The last linear layer and its name; None where it has hooks, stands in several places, or is the whole model."""
    layers = list(model.named_modules(remove_duplicate=False))
    linear = [(name, layer) for name, layer in layers if isinstance(layer, nn.Linear | WholeLinear)]
    if not linear or not linear[-1][0]:
        return None
    name, last = linear[-1]
    if type(last) is not nn.Linear or last._forward_hooks or last._forward_pre_hooks:
        return None
    return (name, last) if sum(layer is last for _, layer in layers) == 1 else None


@torch.inference_mode()
def _noise_logits(model: nn.Module, device: Device, image_shape: tuple[int, ...]) -> Tensor:
    with device.autocast():
        return model(_noise(device, image_shape))


def _noise(device: Device, image_shape: tuple[int, ...]) -> Tensor:
    noise = torch.randn(SAMPLES, *image_shape, generator=generator(0, "noise"))
    return noise.to(device.torch_device, memory_format=device.torch_memory_format)


def _is_quickened(model: nn.Module, device: Device, image_shape: tuple[int, ...]) -> bool:
    """Folds and casts `model` in place; whether it gives the logits that it gave."""
    sample = _noise(device, image_shape)

    @torch.inference_mode()
    def exact() -> Tensor:
        return model(sample)

    def lowered() -> Tensor:
        return _noise_logits(model, device, image_shape).float()

    try:
        share = AGREEMENT.get(device.precision, AGREEMENT["fp32"])
        if has_norms_to_fold(model) and not _keeps(exact, fold, model, share):
            return False
        dtype = device.autocast_dtype
        return dtype is None or _keeps(lowered, lambda model: cast(model, dtype), model, CAST_AGREEMENT)
    except (RuntimeError, TypeError, ValueError):  # of types that do not go together
        return False


def _keeps(logits: Callable[[], Tensor], change: Callable[[nn.Module], object], model: nn.Module, share: float) -> bool:
    before = logits()
    change(model)
    return bool((logits() - before).norm() <= share * before.norm())


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
