"""Averages of the weights along training. The run evaluates and keeps the average; training goes on unchanged.

Buffers are averaged as the weights are (counters are copied). For batch norm's running statistics this is an
approximation, close where the averaged weights are close, as under ema. Those that swa averages lie far apart:
it computes the statistics of the average anew, over images augmented as in training, like those of a run without it.
"""

import copy
from collections.abc import Iterable, Mapping
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from cnnbench.config.settings import ProperFraction, TrainingLength, in_epochs
from cnnbench.techniques.callback import Callback

STATISTICS_IMAGES = 10_000  # enough for means and variances; more would cost large sets a third of an epoch


class EMA(Callback):
    """Exponential moving average, one update per step: average += (1 - d) * (weights - average).

    d = min(decay, (1 + t) / (10 + t)) after t updates, so the first weights are soon forgotten.
    """

    def __init__(self, model: nn.Module, *, decay: ProperFraction) -> None:
        self.decay = decay
        self.average = frozen_copy(model)
        self.updates = 0

    def after_step(self, model: nn.Module) -> None:
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        move_towards(self.average, model, 1 - decay)
        self.updates += 1

    def model_for_evaluation(self, model: nn.Module) -> nn.Module:
        return self.average

    def state_dict(self) -> dict[str, Any]:
        return {"average": dict(self.average.state_dict()), "updates": self.updates}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.average.load_state_dict(state["average"])
        self.updates = state["updates"]


class SWA(Callback):
    """Stochastic weight averaging: the mean of the weights at the end of each epoch from `start` on.

    `start` is a share of the training, or in epochs. Batch norm's statistics are those that training images have under
    the averaged weights. Source: Izmailov et al., Averaging Weights Leads to Wider Optima, 2018, section 3.2; meant for
    a learning rate that stays high to the end.
    """

    def __init__(self, model: nn.Module, steps_per_epoch: int, epochs: int, *, start: TrainingLength) -> None:
        self.first_batch = in_epochs(start, epochs) * steps_per_epoch
        self.average = frozen_copy(model)
        self.batches = 0
        self.snapshots = 0

    def on_batch(self, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        self.batches += 1
        return images, targets

    def on_epoch_end(self, model: nn.Module) -> None:
        if self.batches >= self.first_batch:
            self.snapshots += 1
            move_towards(self.average, model, 1 / self.snapshots)

    def model_for_evaluation(self, model: nn.Module) -> nn.Module:
        return self.average if self.snapshots else model

    def before_evaluation(self, model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]]) -> None:
        if self.snapshots:
            renew_statistics(self.average, batches)  # not in on_epoch_end: pruning has to mask the average first

    def state_dict(self) -> dict[str, Any]:
        average = dict(self.average.state_dict())
        return {"average": average, "batches": self.batches, "snapshots": self.snapshots}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.average.load_state_dict(state["average"])
        self.batches = state["batches"]
        self.snapshots = state["snapshots"]


def frozen_copy(model: nn.Module) -> nn.Module:
    """A copy that shares no storage with `model` and takes no gradients."""
    return copy.deepcopy(model).requires_grad_(False)


@torch.no_grad()
def move_towards(average: nn.Module, model: nn.Module, share: float) -> None:
    """In place: average += share * (model - average) for floating-point tensors; counters are copied."""
    torch._foreach_lerp_(_tensors(average, floating=True), _tensors(model, floating=True), share)
    counters = zip(_tensors(average, floating=False), _tensors(model, floating=False), strict=True)
    for counter, current in counters:
        counter.copy_(current)


@torch.no_grad()
def renew_statistics(model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]]) -> None:
    """In place: batch norm's running statistics become their means over `batches`, of at most 10,000 images.

    All else is in eval mode, as it will be when the statistics are used: dropout draws no random numbers.
    """
    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.track_running_stats]
    if not norms:
        return
    model.eval()
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.train().reset_running_stats()
    seen = 0
    for images, _ in batches:
        seen += len(images)
        for norm in norms:
            norm.momentum = len(images) / seen  # a mean over images; momentum None would wait for the device
        model(images)
        if seen >= STATISTICS_IMAGES:
            break
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.eval().momentum = momentum


def _tensors(model: nn.Module, *, floating: bool) -> list[Tensor]:
    return [t for t in chain(model.parameters(), model.buffers()) if t.is_floating_point() == floating]
