"""Intervals, and the test that a difference lies within a margin, which is an interval asked the other way round."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cnnbench.analysis.statistics import skewness
from cnnbench.analysis.statistics.levels import ALPHA, FEWEST_PAIRS, TIE, interval_alpha

Row = NDArray[np.float64]
Interval = tuple[float, float]

FURTHEST = 2.0  # times the t interval


def mean_interval(values: Sequence[float]) -> Interval | None:
    """95 % t interval of the mean; None for one value."""
    if len(values) < 2 or not math.isfinite(sum(values)):
        return None
    mean, half = float(np.mean(values)), t_half_width(len(values), float(np.std(values, ddof=1)))
    return mean - half, mean + half


def t_half_width(n: int, sd: float, alpha: float = ALPHA) -> float:
    """Half of the t interval of a mean of n > 1 values."""
    from scipy.special import stdtrit

    return float(stdtrit(n - 1, 1 - alpha / 2) * sd / math.sqrt(n))


def difference_interval(row: Row, alpha: float = ALPHA) -> Interval | None:
    """The t interval of the mean at 1 - `alpha`, drawn out on the side of a long tail to that of Hall (1992, On the
    Removal of Skewness by Transformation, JRSS B 54), which corrects the t statistic for the skewness of the values.

    At 0.05 it covers at least 95 % of normal and heavy-tailed differences, and 94 % of exponential ones. On no side is
    it more than twice as wide as the t interval: the skewness of six values is a matter of luck too. None for one
    value, and for fewer than six that are all equal: rounding alone can make them so.
    """
    from scipy.special import stdtrit

    n = len(row)
    if n < 2:
        return None
    mean = float(row.mean())
    if no_spread(row):
        return (mean, mean) if n >= FEWEST_PAIRS else None
    quantile = float(stdtrit(n - 1, 1 - interval_alpha(n, alpha) / 2))
    error, skew = _standard_error(row), _skew(row)
    below, above = (
        min(max(quantile, side * skewness.undo(side * quantile, skew)), FURTHEST * quantile) for side in (1, -1)
    )
    return mean - below * error, mean + above * error


def p_beyond(row: Row, margin: float) -> float:
    """p of the two one-sided tests (Schuirmann 1987) that the mean lies outside of ± `margin`: at most `alpha`
    exactly where the interval of `difference_interval` at this level lies inside."""
    from scipy.special import stdtr

    n, mean, limit = len(row), float(row.mean()), margin * (1 + TIE)
    if no_spread(row):
        return 0.0 if n >= FEWEST_PAIRS and abs(mean) <= limit else 1.0
    error, skew = _standard_error(row), _skew(row)
    room = {1: (mean + limit) / error, -1: (limit - mean) / error}  # to the limit below, and to that above
    quantile = min(min(t, max(side * skewness.transform(side * t, skew), t / FURTHEST)) for side, t in room.items())
    return min(1.0, 2 * float(stdtr(n - 1, -quantile)) / interval_alpha(n, 1.0))


def no_spread(row: Row) -> bool:
    """Whether all values are equal but for rounding."""
    return bool(np.ptp(row) <= TIE * np.abs(row).max())


def _standard_error(row: Row) -> float:
    return float(row.std(ddof=1) / math.sqrt(len(row)))


def _skew(row: Row) -> float:
    """Skewness over sqrt(n), by which it changes the t statistic."""
    deviations = row - row.mean()
    return float((deviations**3).mean() / (deviations**2).mean() ** 1.5 / math.sqrt(len(row)))


def median_with_misses(times: Sequence[float]) -> tuple[float, Interval | None]:
    """Median and distribution-free 95 % interval (two order statistics) where a miss is infinity.

    The interval is None below six times.
    """
    from scipy.special import bdtr  # scipy.stats takes a second to import

    ordered = sorted(times)
    n = len(ordered)
    median = (ordered[(n - 1) // 2] + ordered[n // 2]) / 2
    # fewer than `rank` of n lie below the median in under 2.5 % of cases
    rank = next(count for count in range(n) if bdtr(count, n, 0.5) >= ALPHA / 2)
    return median, (ordered[rank - 1], ordered[n - rank]) if rank else None


def share_interval(count: int, n: int) -> Interval:
    """Exact 95 % interval of a share of which `count` of n were seen (Clopper & Pearson 1934)."""
    from scipy.special import betaincinv

    low = float(betaincinv(count, n - count + 1, ALPHA / 2)) if count else 0.0
    high = float(betaincinv(count + 1, n - count, 1 - ALPHA / 2)) if count < n else 1.0
    return low, high


def largest_unseen_share(n: int) -> float:
    """The largest share of seeds that can fail without one among n, but in 5 % of cases."""
    return float(1 - ALPHA ** (1 / n)) if n else 1.0
