"""Which groups are on the front of a metric and a cost, how sure that is, and which are dominated beyond chance."""

import math
import statistics as plain
from collections.abc import Sequence
from dataclasses import dataclass

from cnnbench.analysis.dominance import dominated_beyond_chance
from cnnbench.analysis.groups import Group
from cnnbench.analysis.metrics import metric_of
from cnnbench.analysis.pareto import dominated, front_shares

FRONTS = ("train_seconds", "latency_ms", "macs", "model_bytes")  # accuracy against each of these
TIMED = ("train_seconds", "latency_ms")


@dataclass(frozen=True)
class Standing:
    """Where a group stands among all that have the cost.

    Attributes:
        on_front: whether no other group has a mean as good for a lower median.
        share: of bootstrap resamples in which it is on the front; None for one run.
        dominated: whether another is better for less beyond chance.
    """

    on_front: bool
    share: float | None
    dominated: bool


def standings(groups: Sequence[Group], metric: str, cost: str) -> dict[str, Standing]:
    """By id, of the groups that have the cost."""
    sign = metric_of(metric).sign
    known = [group for group in groups if group.numbers(cost)]
    qualities = [{seed: sign * value for seed, value in group.by_seed(metric).items()} for group in known]
    costs = [group.by_seed(cost) for group in known]
    points = [
        (plain.fmean(quality.values()) if quality else -math.inf, plain.median(values.values()))
        for quality, values in zip(qualities, costs, strict=True)
    ]
    shares = front_shares(qualities, costs)
    beyond = dominated_beyond_chance(qualities, costs, timed=cost in TIMED, shares=shares)
    return {
        group.id: Standing(not is_beaten, share, surely)
        for group, is_beaten, share, surely in zip(known, dominated(points), shares, beyond, strict=True)
    }
