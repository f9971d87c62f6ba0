"""How many times the baseline's a candidate's time is, with its interval; and how this is written."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from cnnbench.analysis.statistics.intervals import Interval, difference_interval
from cnnbench.analysis.statistics.unpaired import welch_interval

BySeed = Mapping[int, float]
LEAST, MOST = 0.001, 1000.0  # an end of an interval beyond these is only said to be so
MOST_DECIMALS = 6
SAME = 1e-9  # relative: a ratio so near to 1 is 1


@dataclass(frozen=True)
class Ratio:
    """Candidate over baseline.

    Attributes:
        ratio: the geometric mean, so that the ratio of baseline over candidate is one over it.
        interval: 95 %, of the ratio; None for one pair or one run of a group, and for a few without any spread.
        runs: pairs or, where the groups are not paired, runs of the smaller group.
        is_paired: whether runs of equal seeds were compared.
    """

    ratio: float
    interval: Interval | None
    runs: int
    is_paired: bool

    @property
    def is_distinguishable(self) -> bool:
        """Whether it is sure that the ratio is not 1."""
        return self.interval is not None and not self.interval[0] <= 1 <= self.interval[1]


def ratio_of(baseline: BySeed, candidate: BySeed, *, paired: bool) -> Ratio | None:
    """The ratio of positive numbers by seed, from the t interval of their logarithms; of groups that are not `paired`
    by Welch (1947). None where there is nothing to compare.

    A number that is not positive and finite takes no part: a run whose time is not known, or that never came so far.
    """
    ours, theirs = _logarithms(baseline), _logarithms(candidate)
    if paired:
        row = np.array([theirs[seed] - value for seed, value in ours.items() if seed in theirs])
        if not len(row):
            return None
        return Ratio(math.exp(row.mean()), _exponential(difference_interval(row)), len(row), True)
    if not ours or not theirs:
        return None
    rows = np.array(list(ours.values())), np.array(list(theirs.values()))
    varies = any(np.ptp(row) > 0 for row in rows)
    interval = welch_interval(*rows) if varies else None
    return Ratio(math.exp(rows[1].mean() - rows[0].mean()), _exponential(interval), min(map(len, rows)), False)


def write_ratio(ratio: Ratio | None) -> str:
    """`1.82x [0.4, 8.1]`, `1.8x (one pair)`; nothing for None.

    A wide interval has fewer decimals, and each number as many as it takes to lie on its side of 1.
    """
    if ratio is None:
        return ""
    if ratio.interval is None:
        what = "pair" if ratio.is_paired else "run"
        few = f"one {what}" if ratio.runs == 1 else f"{ratio.runs} {what}s without spread"
        return f"{_write(ratio.ratio, 1 if ratio.runs == 1 else 2)}x ({few})"
    low, high = ratio.interval
    decimals = 1 if high - low >= 1 else 2
    return f"{_write(ratio.ratio, 2)}x [{_write(low, decimals)}, {_write(high, decimals)}]"


def _logarithms(values: BySeed) -> dict[int, float]:
    return {seed: math.log(value) for seed, value in values.items() if 0 < value < math.inf}


def _exponential(interval: Interval | None) -> Interval | None:
    """The interval of the ratio, of that of its logarithm; as far as there are numbers for it."""
    if interval is None:
        return None
    low, high = (math.exp(min(max(end, -700.0), 700.0)) for end in interval)
    return low, high


def _write(value: float, decimals: int) -> str:
    if value < LEAST:
        return f"<{LEAST:g}"
    if value > MOST:
        return f">{MOST:.0f}"
    decimals = max(0, decimals - max(0, math.floor(math.log10(value))))  # 12.3, 123: three digits in all
    side = _side_of_one(value) if abs(value - 1) > SAME else 0
    for places in range(decimals, MOST_DECIMALS + 1):
        shown = f"{value:.{places}f}"
        if float(shown) > 0 and _side_of_one(float(shown)) == side:
            return shown
    return f"{value:.{decimals}f}"


def _side_of_one(value: float) -> int:
    return (value > 1) - (value < 1)
