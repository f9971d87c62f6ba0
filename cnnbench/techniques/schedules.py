"""Learning-rate schedules: pure functions from the step (0-based) to the factor on each group's `initial_lr`.

Every factor is at most 1, so `optimizer.lr` is the peak. A warm-up rises linearly, step 0 being one part of it,
and reaches 1 at its last step. Decays then run over what remains; `final_factor` is where they would stand
after the last step, so no step is wasted at a learning rate of 0.
"""

import math
from collections.abc import Callable
from typing import Literal

from cnnbench.config.settings import Fraction, Positive, TrainingLength, TrainingMoment, in_epochs

Schedule = Callable[[int], float]


def constant(total_steps: int, steps_per_epoch: int, *, warmup_epochs: TrainingLength) -> Schedule:
    """1 after the warm-up."""
    warmup = _steps(warmup_epochs, total_steps, steps_per_epoch)
    return lambda step: _rise(step, warmup)


def step_decay(
    total_steps: int,
    steps_per_epoch: int,
    *,
    milestones: list[TrainingMoment],
    gamma: Positive,
    warmup_epochs: TrainingLength,
) -> Schedule:
    """`gamma` to the number of milestones passed; they are shares of the training, or epochs."""
    warmup = _steps(warmup_epochs, total_steps, steps_per_epoch)
    starts = [round(_steps(milestone, total_steps, steps_per_epoch), 9) for milestone in milestones]  # 0.07 * 100 > 7

    def factor(step: int) -> float:
        passed = sum(step >= start for start in starts)
        return _rise(step, warmup) * gamma**passed

    return factor


def linear(
    total_steps: int, steps_per_epoch: int, *, final_factor: Fraction, warmup_epochs: TrainingLength
) -> Schedule:
    """Along a straight line from 1 to `final_factor`."""
    warmup = _steps(warmup_epochs, total_steps, steps_per_epoch)

    def factor(step: int) -> float:
        return _rise(step, warmup) * _between(1, final_factor, _progress(step, warmup, total_steps))

    return factor


def cosine(
    total_steps: int, steps_per_epoch: int, *, final_factor: Fraction, warmup_epochs: TrainingLength
) -> Schedule:
    """Along half a cosine from 1 to `final_factor` (Loshchilov & Hutter, SGDR, 2017, equation 5)."""
    warmup = _steps(warmup_epochs, total_steps, steps_per_epoch)

    def factor(step: int) -> float:
        return _rise(step, warmup) * _between(1, final_factor, _ease(_progress(step, warmup, total_steps)))

    return factor


def one_cycle(
    total_steps: int,
    *,
    warmup_fraction: Fraction,
    start_factor: Fraction,
    final_factor: Fraction,
    anneal: Literal["linear", "cosine"],
) -> Schedule:
    """Up from `start_factor` to 1 over `warmup_fraction` of the training, then down to `final_factor`.

    Source: Smith & Topin, Super-Convergence, 2018. `anneal=linear` gives their triangle.
    """
    shape = _ease if anneal == "cosine" else float
    warmup = warmup_fraction * total_steps

    def factor(step: int) -> float:
        if step < warmup:
            return _between(start_factor, 1, shape(_rise(step, warmup)))
        return _between(1, final_factor, shape(_progress(step, warmup, total_steps)))

    return factor


def _steps(length: float, total_steps: int, steps_per_epoch: int) -> float:
    """The steps, maybe a fraction, that a share of the training or a number of epochs takes."""
    return in_epochs(length, total_steps // steps_per_epoch) * steps_per_epoch


def _rise(step: int, warmup: float) -> float:
    """The share of a warm-up of `warmup` steps (may be fractional) that is done with this step."""
    return min(1.0, (step + 1) / warmup) if step < warmup else 1.0


def _progress(step: int, warmup: float, total_steps: int) -> float:
    """How far `step` is from the end of the warm-up (0) to the end of the training (1)."""
    return min(1.0, max(0.0, step - warmup) / max(1.0, total_steps - warmup))


def _ease(progress: float) -> float:
    """0 to 1 along half a cosine."""
    return (1 - math.cos(math.pi * progress)) / 2


def _between(first: float, last: float, progress: float) -> float:
    return first + (last - first) * progress


SCHEDULES: dict[str, Callable[..., Schedule]] = {
    "constant": constant,
    "step": step_decay,
    "linear": linear,
    "cosine": cosine,
    "one_cycle": one_cycle,
}
