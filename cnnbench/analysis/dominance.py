"""Which groups are dominated beyond chance: another is better and costs less, and both is sure."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cnnbench.analysis.pareto import BySeed, front_shares, table
from cnnbench.analysis.statistics.levels import ALPHA, FEWEST_PAIRS

Array = NDArray[np.float64]
Marks = NDArray[np.bool_]

FEWEST_RUNS = 3  # of a group for it to take part: of two accuracies, rounding alone makes equal ones
MOST_RIVALS = 100  # with which each group is compared; all are counted
LEAST_T = 1.6  # no t distribution goes beyond it in less than 5 %


def dominated_beyond_chance(
    qualities: Sequence[BySeed],
    costs: Sequence[BySeed],
    *,
    timed: bool,
    shares: Sequence[float | None] | None = None,
    alpha: float = ALPHA,
) -> list[bool]:
    """For each group whether another has a greater mean quality and costs less, each surely.

    An intersection-union test (Berger 1982): the p-value of a pair is the larger of the two one-sided ones of Welch's t
    (1947), of the quality and of the logarithm of the cost. The spread of a group is at least the median of all: of few
    runs it is small by luck. A cost that is not `timed` and does not vary is known: it need not be less, only no more.
    In at most `alpha` of experiments any group is marked that no other dominates: the groups go by Holm's method
    (1979), each with as many p-values as others could dominate it. Of more than MOST_RIVALS groups, only those with the
    greatest front `shares` are looked at as the others' rivals.

    Quality is the higher the better, minus infinity where a run has none. A group all of whose runs have none is worse
    than one all of whose runs have one by the share of orders in which this happens; one with some is not judged.
    """
    takes_part = [min(len(quality), len(cost)) >= FEWEST_RUNS for quality, cost in zip(qualities, costs, strict=True)]
    chosen = np.flatnonzero(takes_part)
    if len(chosen) < 2:
        return [False] * len(qualities)
    known = [qualities[int(i)] for i in chosen], [costs[int(i)] for i in chosen]
    rivals = _rivals(*known, None if shares is None else [shares[int(i)] for i in chosen])
    of_cost = _Sample(known[1], logarithms=True, floored=timed)
    p_values = np.maximum(_p_better(_Sample(known[0]), rivals), _p_cheaper(of_cost, rivals, timed))
    p_values[rivals, np.arange(len(rivals))] = 1.0
    counts = _possible(of_cost, timed)
    marks = np.zeros(len(qualities), dtype=bool)
    marks[chosen] = _step_down(p_values.min(axis=1), counts, alpha)
    return [bool(mark) for mark in marks]


class _Sample:
    """Of each group the number of values, their mean, its variance from them alone, and that which is used."""

    def __init__(self, rows: Sequence[BySeed], *, logarithms: bool = False, floored: bool = True) -> None:
        values = table(rows, sorted({seed for row in rows for seed in row}))
        known = ~np.isnan(values)
        if logarithms and (values[known] > 0).all():
            values = np.log(values)
        self.n = known.sum(axis=1)
        self.infinite = np.isinf(values).sum(axis=1)
        values[np.isinf(values)] = 0.0
        self.means = np.where(known, values, 0.0).sum(axis=1) / self.n
        deviations = np.where(known, values - self.means[:, None], 0.0)
        self.own = (deviations**2).sum(axis=1) / (self.n - 1)
        self.own[self.own <= (1e-9 * self.means) ** 2] = 0.0  # equal but for rounding
        usable = self.own[self.infinite == 0]
        self.used = np.maximum(self.own, np.median(usable)) if floored and len(usable) else self.own


def _rivals(
    qualities: Sequence[BySeed], costs: Sequence[BySeed], shares: Sequence[float | None] | None
) -> NDArray[np.int64]:
    """The groups with which the others are compared."""
    if len(qualities) <= MOST_RIVALS:
        return np.arange(len(qualities))
    found = [share or 0.0 for share in (front_shares(qualities, costs) if shares is None else shares)]
    return np.argsort(-np.array(found), kind="stable")[:MOST_RIVALS]


def _p_better(quality: _Sample, rivals: NDArray[np.int64]) -> Array:
    """One-sided p, (groups, rivals), of the rival's mean not being greater."""
    from scipy.special import beta

    p_values = _p_greater(quality, rivals)
    some = quality.infinite > 0
    p_values[some] = p_values[:, some[rivals]] = 1.0
    none, every = np.flatnonzero(quality.infinite == quality.n), np.flatnonzero(~some[rivals])
    if len(none) and len(every):
        ours, theirs = quality.n[none][:, None], quality.n[rivals[every]]
        p_values[np.ix_(none, every)] = (ours + theirs + 1) * beta(ours + 1, theirs + 1)  # one order of all
    return p_values


def _p_cheaper(cost: _Sample, rivals: NDArray[np.int64], timed: bool) -> Array:
    """One-sided p, (groups, rivals), of the rival's mean cost not being less; of known costs 0 or 1."""
    p_values = _p_greater(cost, rivals, sign=-1)
    if not timed:
        known = (cost.own == 0)[:, None] & (cost.own[rivals] == 0)
        p_values[known] = (cost.means[rivals] > cost.means[:, None])[known]
    return p_values


def _p_greater(sample: _Sample, rivals: NDArray[np.int64], sign: int = 1) -> Array:
    """One-sided p of Welch's t, (groups, rivals). Without any spread six runs of each are sure, fewer are not."""
    from scipy.special import stdtr

    parts, own = sample.used / sample.n, sample.own / sample.n
    difference = sign * (sample.means[rivals] - sample.means[:, None])
    variance = parts[:, None] + parts[rivals]
    fewer = np.minimum(sample.n[:, None], sample.n[rivals])
    with np.errstate(divide="ignore", invalid="ignore"):
        t = difference / np.sqrt(variance)
    p_values = np.where((variance == 0) & (fewer >= FEWEST_PAIRS) & (difference > 0), 0.0, 1.0)
    i, j = np.nonzero((t > LEAST_T) & (variance > 0))
    j = rivals[j]
    below = own[i] ** 2 / (sample.n[i] - 1) + own[j] ** 2 / (sample.n[j] - 1)
    freedom = np.minimum(sample.n[i], sample.n[j]) - 1.0  # the fewest there can be, where neither group varies
    np.divide((own[i] + own[j]) ** 2, below, out=freedom, where=below > 0)
    p_values[(t > LEAST_T) & (variance > 0)] = stdtr(freedom, -t[(t > LEAST_T) & (variance > 0)])
    return p_values


def _possible(cost: _Sample, timed: bool) -> NDArray[np.int64]:
    """By how many others each group could be dominated; by none of those that are known to cost more."""
    counts = np.full(len(cost.means), len(cost.means) - 1)
    if not timed:
        known = cost.own == 0
        costs = np.sort(cost.means[known])
        counts[known] -= len(costs) - np.searchsorted(costs, cost.means[known], side="right")
    return counts


def _step_down(p_values: Array, counts: NDArray[np.int64], alpha: float) -> Marks:
    """Which groups are marked, of the smallest p-value of each and the number of them from which it was taken."""
    marks = np.zeros(len(p_values), dtype=bool)
    remaining = int(counts.sum())
    for place in np.argsort(p_values, kind="stable"):
        if counts[place] == 0 or p_values[place] * remaining > alpha:
            break
        marks[place] = True
        remaining -= int(counts[place])
    return marks
