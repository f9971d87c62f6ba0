"""Two groups whose seeds do not match: the permutation test of Welch's t, and his interval."""

import itertools
import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from cnnbench.analysis.statistics.intervals import Interval, Row
from cnnbench.analysis.statistics.levels import ALPHA, TIE, interval_alpha

MOST_SPLITS = 20_000  # up to here every way to split the runs counts; beyond, RANDOM_SPLITS of them
RANDOM_SPLITS = 9_999


def welch(baseline: Row, candidate: Row) -> tuple[float, float]:
    """The standard error of the difference of the means, and its degrees of freedom (Welch 1947)."""
    parts = [float(row.var(ddof=1)) / len(row) for row in (baseline, candidate)]
    error = math.sqrt(sum(parts))
    if not error:
        return 0.0, math.inf
    below = sum(part**2 / (len(row) - 1) for part, row in zip(parts, (baseline, candidate), strict=True))
    return error, sum(parts) ** 2 / below


def welch_interval(baseline: Row, candidate: Row, alpha: float = ALPHA) -> Interval | None:
    """Of the difference of the means, at the level of as many pairs as the smaller group has runs; None for one."""
    from scipy.special import stdtrit

    fewer = min(len(baseline), len(candidate))
    if fewer < 2:
        return None
    error, freedom = welch(baseline, candidate)
    difference = float(candidate.mean() - baseline.mean())
    half = error and float(stdtrit(freedom, 1 - interval_alpha(fewer, alpha) / 2)) * error
    return difference - half, difference + half


def permutation_p(baseline: Row, candidate: Row) -> float:
    """Two-sided: the share of the ways to split the runs into two such groups whose |Welch t| is at least that seen.

    With Welch's t the test keeps its level where the groups spread unequally, as far as they are not small (Janssen
    1997).
    """
    runs, size = np.concatenate((baseline, candidate)), len(baseline)
    least = _sizes(runs, np.arange(size)[None])[0] * (1 - TIE)
    reaching = total = 0
    for chosen in _splits(len(runs), size):
        reaching += int((_sizes(runs, chosen) >= least).sum())
        total += len(chosen)
    return reaching / total


def p_floor(n_baseline: int, n_candidate: int) -> float:
    """The smallest p of groups of so many runs: two splits of equal groups mirror each other."""
    return (2 if n_baseline == n_candidate else 1) / math.comb(n_baseline + n_candidate, n_baseline)


def _sizes(runs: Row, chosen: NDArray[np.int64]) -> Row:
    """|Welch t| of each split, (splits,), of the indices of its first group, (splits, size)."""
    n, size = len(runs), chosen.shape[1]
    first = runs[chosen]
    mean = first.mean(axis=1)
    rest = n - size
    other = (runs.sum() - first.sum(axis=1)) / rest
    squares = (first**2).sum(axis=1)
    own = np.maximum(squares - size * mean**2, 0.0) / max(size - 1, 1) / size
    others = np.maximum((runs**2).sum() - squares - rest * other**2, 0.0) / max(rest - 1, 1) / rest
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.nan_to_num(np.abs(other - mean) / np.sqrt(own + others), nan=0.0, posinf=math.inf)


def _splits(n: int, size: int) -> Iterator[NDArray[np.int64]]:
    """Indices of the first group, (some, size): every choice, or the given one and random ones."""
    if math.comb(n, size) <= MOST_SPLITS:
        yield np.array(list(itertools.combinations(range(n), size)))
        return
    generator = np.random.default_rng(0)
    yield np.arange(size)[None]
    yield generator.permuted(np.tile(np.arange(n), (RANDOM_SPLITS, 1)), axis=1)[:, :size]


def welch_p_beyond(baseline: Row, candidate: Row, margin: float) -> float:
    """p of the two one-sided tests that the means differ by more than ± `margin`: at most `alpha` where the interval of
    `welch_interval` at this level lies inside."""
    from scipy.special import stdtr

    fewer = min(len(baseline), len(candidate))
    difference, limit = float(candidate.mean() - baseline.mean()), margin * (1 + TIE)
    if fewer < 2:
        return 1.0
    error, freedom = welch(baseline, candidate)
    if not error:
        return float(abs(difference) > limit)
    p = float(stdtr(freedom, (abs(difference) - limit) / error))
    return min(1.0, 2 * p / interval_alpha(fewer, 1.0))
