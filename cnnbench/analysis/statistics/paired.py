"""What the differences of runs paired by seed show, each row alone."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cnnbench.analysis.statistics.intervals import Interval, Row, difference_interval, no_spread
from cnnbench.analysis.statistics.levels import ALPHA, FEWEST_PAIRS
from cnnbench.analysis.statistics.sign_flips import p_floor_of, sign_flip_p, signed_ranks

OUTLYING = 0.01


@dataclass(frozen=True)
class Difference:
    """Candidate minus baseline, of runs paired by seed or, where their seeds do not match, of two groups.

    Attributes:
        n_pairs: 0 where the groups are not paired.
        mean: not a number without runs; infinite where runs missed their target, with the sign of most of the ranks.
        ci95: of the mean, for this comparison alone, at 1 - alpha, 95 % as a rule; None where there is none.
        p_value: exact two-sided sign-flip p (of groups: permutation p); None without runs.
        p_floor: the smallest p that so many runs can give.
        effect_size: Cohen's dz, mean / sd; None where sd is 0 or unknown.
        sd: of the differences, over n - 1; None below two pairs.
    """

    n_pairs: int
    mean: float
    ci95: Interval | None
    p_value: float | None
    p_floor: float | None
    effect_size: float | None
    sd: float | None = None


def paired_difference(differences: Sequence[float], alpha: float = ALPHA) -> Difference:
    """Of one row of differences by seed; the interval leaves out `alpha`.

    Raises:
        ValueError: A difference is no number. A pair with a run that has no value is to be left out.
    """
    row = np.asarray(differences, dtype=np.float64)
    n = len(row)
    if np.isnan(row).any():
        raise ValueError("paired differences have to be numbers")
    if n == 0:
        return Difference(0, math.nan, None, None, None, None)
    if np.isinf(row).any():
        return _difference_with_misses(row)
    mean, p_value, p_floor = float(row.mean()), sign_flip_p(row), p_floor_of(n)
    if n == 1:
        return Difference(1, mean, None, p_value, p_floor, None)
    if no_spread(row):
        return Difference(n, mean, difference_interval(row, alpha), p_value, p_floor, None, 0.0)
    sd = float(row.std(ddof=1))
    return Difference(n, mean, difference_interval(row, alpha), p_value, p_floor, mean / sd, sd)


def _difference_with_misses(row: Row) -> Difference:
    """Where a run of a pair missed its target the difference is infinite: the test is that of the signed ranks of the
    differences, which knows larger and smaller only, and there is no mean but its direction."""
    signed = signed_ranks(row)
    total = float(signed.sum())
    mean = total * math.inf if total else math.nan
    return Difference(len(row), mean, None, sign_flip_p(signed), p_floor_of(len(row)), None)


def outlying_place(row: Row) -> int | None:
    """Where the value lies that is too far from the others for one of theirs, by Grubbs' test (1950) at 1 %; None
    where none does, or there are fewer than six."""
    from scipy.special import stdtr

    n = len(row)
    if n < FEWEST_PAIRS or no_spread(row):
        return None
    distances = np.abs(row - row.mean()) / row.std(ddof=1)
    furthest = float(distances.max())
    room = (n - 1) ** 2 - n * furthest**2
    t = math.sqrt(n * (n - 2) * furthest**2 / room) if room > 0 else math.inf
    return int(distances.argmax()) if 2 * n * float(stdtr(n - 2, -t)) <= OUTLYING else None
