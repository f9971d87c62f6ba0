"""Averages of the weights along training. The run evaluates and keeps the average; training goes on unchanged.

Buffers are averaged as the weights are (counters are copied). For batch norm's running statistics this is an
approximation: those of averaged weights would need a pass over the training data, and callbacks see none.
It is close where the averaged weights are close: under ema, and under swa at a low learning rate.
"""

import copy
from collections.abc import Mapping
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from cnnbench.config.settings import ProperFraction
from cnnbench.techniques.callback import Callback


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

    `start` is a fraction of the training. Source: Izmailov et al., Averaging Weights Leads to Wider Optima,
    2018; meant for a learning rate that stays high to the end.
    """

    def __init__(self, model: nn.Module, steps_per_epoch: int, epochs: int, *, start: ProperFraction) -> None:
        self.steps_per_epoch = steps_per_epoch
        self.first_batch = start * epochs * steps_per_epoch
        self.average = frozen_copy(model)
        self.batches = 0
        self.snapshots = 0

    def on_batch(self, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        self.batches += 1  # not in after_step: a float16 step can be skipped, and epochs end all the same
        return images, targets

    def after_step(self, model: nn.Module) -> None:
        if self.batches % self.steps_per_epoch == 0 and self.batches >= self.first_batch:
            self.snapshots += 1
            move_towards(self.average, model, 1 / self.snapshots)

    def model_for_evaluation(self, model: nn.Module) -> nn.Module:
        return self.average if self.snapshots else model

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


def _tensors(model: nn.Module, *, floating: bool) -> list[Tensor]:
    return [t for t in chain(model.parameters(), model.buffers()) if t.is_floating_point() == floating]
