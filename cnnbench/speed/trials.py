"""Policies timed against each other on a run's own network, settings and images."""

import copy
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn

from cnnbench.assemble import make_batches, make_training
from cnnbench.config.run_config import RunConfig
from cnnbench.data import ResidentImages, Splits
from cnnbench.device import Device
from cnnbench.errors import CnnbenchError
from cnnbench.loop import train_step
from cnnbench.speed.stopwatch import seconds_of, take_turns

ROUNDS = 5
HOPELESS = 2.0  # times the fastest: not timed again
SAMPLE_BATCHES = 2


@dataclass
class Trial:
    """A policy and how training went under it: `loss` is that of the first step, from the run's initial weights."""

    device: Device
    first_seconds: float | None = None
    seconds: list[float] = field(default_factory=list)
    loss: float | None = None
    problem: str | None = None

    @property
    def step_seconds(self) -> float:
        """The median step; infinite where there is none."""
        return statistics.median(self.seconds) if self.seconds else float("inf")

    def report(self) -> dict[str, Any]:
        """What environment.json says of it."""
        return self.device.policy() | {
            "step_seconds": self.step_seconds if self.seconds else None,
            "first_step_seconds": self.first_seconds,
            "loss": self.loss,
            "problem": self.problem,
        }


class Contest:
    """Trains copies of a run's start, a few steps each. What they learn is thrown away."""

    def __init__(self, config: RunConfig, splits: Splits, model: nn.Module) -> None:
        self._config = config
        self._splits = replace(splits, train=first_images(splits, SAMPLE_BATCHES * config.batch_size))
        self._model = model
        self._started = time.monotonic()
        self._steps: dict[int, Callable[[], None]] = {}  # by the trial's id

    def spent(self) -> float:
        """Seconds since the contest began."""
        return time.monotonic() - self._started

    def enter(self, device: Device) -> Trial:
        """Two steps under a policy; where it fails the trial names the problem."""
        trial = Trial(device)
        try:
            step, read_loss = self._prepare(device)
            trial.first_seconds = seconds_of(step)
            trial.loss = read_loss()
            trial.seconds.append(seconds_of(step))
            self._steps[id(trial)] = step
        except (CnnbenchError, RuntimeError) as error:  # no memory, no compiler, no such kernel
            trial.problem = (str(error).splitlines() or [type(error).__name__])[0]
        return trial

    def race(self, trials: Sequence[Trial], budget: float) -> None:
        """Times the trials that have a chance in turns, as long as the contest has not spent `budget`."""
        slowest = HOPELESS * min(trial.step_seconds for trial in trials)
        racing = {
            str(n): trial for n, trial in enumerate(trials) if not trial.problem and trial.step_seconds <= slowest
        }
        for _ in range(ROUNDS if len(racing) > 1 else 0):
            if self.spent() + 2 * sum(trial.step_seconds for trial in racing.values()) > budget:
                return
            times = take_turns({place: self._steps[id(trial)] for place, trial in racing.items()}, rounds=1)
            for place, trial in racing.items():
                trial.seconds += times[place]

    def _prepare(self, device: Device) -> tuple[Callable[[], None], Callable[[], float]]:
        device.activate()
        batches = make_batches(self._config, self._splits, device)
        model = copy.deepcopy(self._model)
        training = make_training(self._config, model, batches, self._splits.num_classes, device)
        training.model.train()
        endless = batches.endless()
        torch.manual_seed(0)  # the same dropout in the first step of each

        def step() -> None:
            device.activate()
            train_step(training, *next(endless))
            device.synchronize()

        return step, lambda: float(training.sums.loss) / training.sums.images


def first_images(splits: Splits, count: int) -> ResidentImages:
    """The first training images, in memory."""
    indices = torch.arange(min(count, len(splits.train)))
    images, labels = next(splits.train.batches(indices, len(indices)))
    return ResidentImages(images, labels.cpu())
