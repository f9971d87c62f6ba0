"""The Pareto front of quality against cost, and how sure a group's place on it is."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
BySeed = Mapping[int, float]

RESAMPLES = 999
FEW_GROUPS = 100  # of more, fewer resamples do
RESAMPLES_OF_MANY = 499
DIGITS = 12  # of a mean that count: the order in which equal numbers are added up is no difference


def dominated(points: Sequence[tuple[float, float]]) -> list[bool]:
    """For each (quality, cost) whether another has as much quality for less cost, or more for as little."""
    if not points:
        return []
    qualities, costs = np.array(points, dtype=np.float64).T
    return [bool(mark) for mark in _dominated(qualities[None], costs[None])[0]]


def front_shares(qualities: Sequence[BySeed], costs: Sequence[BySeed]) -> list[float | None]:
    """For each group the share of resamples in which it is on the front of mean quality and geometric mean cost.

    The resamples are those of the Bayesian bootstrap (Rubin 1981): random weights of the seeds, the same for all groups
    and for quality and cost, so that what runs of equal seeds have in common stays. They are drawn apart until a mean
    varies as its standard error says, which for a few seeds is more (Hesterberg 2015). Quality is the higher the
    better, minus infinity where a run has none. None for a group with one run: it takes part, but nobody knows how much
    it varies.
    """
    if not qualities:
        return []
    seeds = sorted({seed for values in (*qualities, *costs) for seed in values})
    count = RESAMPLES if len(qualities) <= FEW_GROUPS else RESAMPLES_OF_MANY
    weights = np.random.default_rng(0).standard_exponential((count, len(seeds)))
    of_cost = table(costs, seeds)
    of_cost = np.log(of_cost) if (of_cost[~np.isnan(of_cost)] > 0).all() else of_cost
    marks = _dominated(_resampled(table(qualities, seeds), weights), _resampled(of_cost, weights))
    shares = 1 - marks.mean(axis=0)
    return [
        float(share) if min(len(quality), len(cost)) > 1 else None
        for share, quality, cost in zip(shares, qualities, costs, strict=True)
    ]


def table(rows: Sequence[BySeed], seeds: Sequence[int]) -> Array:
    """The values (rows, seeds), not a number where a row lacks a seed."""
    place = {seed: column for column, seed in enumerate(seeds)}
    values = np.full((len(rows), len(seeds)), np.nan)
    for line, row in zip(values, rows, strict=True):
        line[[place[seed] for seed in row]] = list(row.values())
    return values


def _resampled(values: Array, weights: Array) -> Array:
    """Means (resamples, groups); one row for all resamples where no group varies. A mean with an infinite value is."""
    known = ~np.isnan(values)
    counts = known.sum(axis=1)
    means = np.where(known, values, 0.0).sum(axis=1) / counts
    first = values[np.arange(len(values)), known.argmax(axis=1)]
    constant = (values == first[:, None]).sum(axis=1) == counts
    means[constant] = first[constant]  # the sum of equal numbers over their count is not always the number
    varies = ~constant & np.isfinite(means)
    if not varies.any():
        return means[None]
    scale = np.abs(means[varies]).max() or 1.0
    deviations = np.where(known & varies[:, None], values - np.where(varies, means, 0.0)[:, None], 0.0)
    deviations *= np.sqrt((counts + 1) / np.maximum(counts - 1, 1))[:, None]
    moved = (weights @ deviations.T) / (weights @ known.T.astype(np.float64))
    moved += np.where(varies, means, 0.0)
    np.round(moved / scale, DIGITS, out=moved)
    moved[:, ~varies] = means[~varies] / scale
    return np.asarray(moved, dtype=np.float64)


def _dominated(qualities: Array, costs: Array) -> NDArray[np.bool_]:
    """Of each row of groups which are dominated, (rows, groups); one row of costs may be that of all rows."""
    order = np.argsort(costs, axis=1)
    ordered = np.take_along_axis(costs, order, 1)
    sorted_qualities = qualities[:, order[0]] if len(order) == 1 else np.take_along_axis(qualities, order, 1)
    best = np.maximum.accumulate(sorted_qualities, axis=1)
    equal = ordered[:, 1:] == ordered[:, :-1]
    if not equal.any():
        marks = np.zeros(np.broadcast_shapes(qualities.shape, costs.shape), dtype=bool)
        marks[:, 1:] = sorted_qualities[:, 1:] <= best[:, :-1]
    else:
        marks = _among_equal_costs(sorted_qualities, best, equal)
    unsorted = np.empty_like(marks)
    if len(order) == 1:
        unsorted[:, order[0]] = marks
    else:
        np.put_along_axis(unsorted, order, marks, 1)
    return unsorted


def _among_equal_costs(qualities: Array, best: Array, equal: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The same in the order of the costs: `best` is the best quality so far, `equal` says which costs are as those
    before them. Of equal costs only a better quality dominates."""
    rows, groups = len(equal), equal.shape[1] + 1
    places = np.arange(groups)
    edge = np.zeros((rows, 1), dtype=bool)
    first = np.maximum.accumulate(np.where(np.hstack((edge, equal)), 0, places), axis=1)
    last = np.minimum.accumulate(np.where(np.hstack((equal, edge)), groups, places)[:, ::-1], axis=1)[:, ::-1]
    first, last = (np.broadcast_to(each, best.shape) for each in (first, last))
    cheaper = np.where(first > 0, np.take_along_axis(best, np.maximum(first - 1, 0), 1), -np.inf)
    return np.asarray(((first > 0) & (qualities <= cheaper)) | (qualities < np.take_along_axis(best, last, 1)))
