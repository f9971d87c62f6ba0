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
from cnnbench.errors import CnnbenchError, first_line
from cnnbench.loop import train_step
from cnnbench.speed.stopwatch import seconds_of
from cnnbench.teacher import Teacher

ROUNDS = 5
TURN_SECONDS = 0.06  # of steps timed as one: longer than the system lets a process wait for a core
HOPELESS = 3.0  # times the fastest: not timed again, unless a lucky moment made that one so fast
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

    @property
    def quickest_seconds(self) -> float:
        """The shortest step: what one takes where nobody disturbs it, good for plans though not for verdicts."""
        return min(self.seconds, default=float("inf"))

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

    def __init__(self, config: RunConfig, splits: Splits, model: nn.Module, teacher: Teacher | None = None) -> None:
        self._config = config
        self._splits = replace(splits, train=first_images(splits, SAMPLE_BATCHES * config.batch_size))
        self._model = model
        self._teacher = teacher
        self._started = time.monotonic()
        self._steps: dict[int, Callable[[], None]] = {}  # by the trial's id

    def spent(self) -> float:
        """Seconds since the contest began."""
        return time.monotonic() - self._started

    def enter(self, device: Device) -> Trial:
        """Three steps under a policy; where it fails the trial names the problem."""
        trial = Trial(device)
        try:
            step, read_loss = self._prepare(device)
            trial.first_seconds = seconds_of(step)
            trial.loss = read_loss()
            trial.seconds = [seconds_of(step), seconds_of(step)]
            self._steps[id(trial)] = step
        except (CnnbenchError, RuntimeError) as error:  # no memory, no compiler, no such kernel
            trial.problem = first_line(error)
        return trial

    def race(self, trials: Sequence[Trial], budget: float, rounds: int = ROUNDS) -> None:
        """Times the trials that have a chance in turns, as long as the contest has not spent `budget`."""
        slowest = HOPELESS * min(trial.quickest_seconds for trial in trials)
        racing = [trial for trial in trials if not trial.problem and trial.quickest_seconds <= slowest]
        if len(racing) < 2:
            return
        round_seconds = max(budget - self.spent(), 0.0) / rounds
        turn = min(TURN_SECONDS, round_seconds / len(racing) / 2)
        for _ in range(rounds):
            if self.spent() + sum(trial.step_seconds + max(turn, trial.step_seconds) for trial in racing) > budget:
                return
            for trial in racing:
                trial.seconds.append(self._time(trial, turn))

    def _time(self, trial: Trial, turn: float) -> float:
        """The seconds of a step, of as many as fill the turn; one before them is not timed: the others have pushed what
        it needs out of the caches."""
        step = self._steps[id(trial)]
        step()
        count = max(1, round(turn / trial.step_seconds))
        return seconds_of(lambda: [step() for _ in range(count)]) / count

    def _prepare(self, device: Device) -> tuple[Callable[[], None], Callable[[], float]]:
        device.activate()
        batches = make_batches(self._config, self._splits, device)
        model = copy.deepcopy(self._model)
        training = make_training(self._config, model, batches, self._splits.num_classes, device, teacher=self._teacher)
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
