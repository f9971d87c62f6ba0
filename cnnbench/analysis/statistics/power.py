"""How many seeds a verdict needs."""

import math
from bisect import bisect_left

from cnnbench.analysis.statistics.intervals import t_half_width
from cnnbench.analysis.statistics.levels import ALPHA, FEW_PAIRS, FEWEST_PAIRS, POWER, SOME_PAIRS, interval_alpha
from cnnbench.analysis.statistics.paired import Difference

MOST_SEEDS = 1000
COUNTS = range(FEWEST_PAIRS, MOST_SEEDS + 1)
# A t test is as powerful at these levels as a verdict is at 0.05, 0.013 off on average and 0.06 at the most
# (tests/benchmarks/error_rates.py): a verdict also asks an interval that allows for skewness; and a family, judged
# together, is worth less than so many comparisons, for it has one baseline, and knows its spread better.
LEVEL_OF_FEW, LEVEL_OF_SOME, LEVEL = 0.015, 0.025, 0.035
FAMILY_EXPONENT, FAMILY_FREEDOM = 0.9, 2


def seeds_needed(difference: Difference, margin: float, family: int = 1) -> int | None:
    """Pairs after which a verdict is to be expected if mean and spread stay what they are.

    That is helps or hurts in a family of so many with 80 % power, or an expected interval within ± `margin`,
    whichever comes first. None: more than MOST_SEEDS, or the spread is not known.
    """
    if difference.sd is None:
        return None
    counts = (
        pairs_for_difference(difference.sd, difference.mean, family=family),
        _pairs_for_equivalence(difference.sd, margin - abs(difference.mean), family),
    )
    return min((count for count in counts if count is not None), default=None)


def _pairs_for_equivalence(sd: float, room: float, family: int) -> int | None:
    def narrow(n: int) -> float:
        return -t_half_width(n, sd, interval_alpha(n) / family)

    if room < -narrow(MOST_SEEDS):
        return None
    return COUNTS[bisect_left(COUNTS, -room, key=narrow)]


def pairs_for_difference(sd: float, difference: float, *, power: float = POWER, family: int = 1) -> int | None:
    """The fewest pairs of which a verdict finds `difference` with this power; None: more than MOST_SEEDS."""
    place = bisect_left(COUNTS, power, key=lambda n: power_of(n, sd, difference, family))
    return COUNTS[place] if place < len(COUNTS) else None


def power_of(n: int, sd: float, difference: float, family: int = 1) -> float:
    """Chance that n pairs show `difference`, with its sign, in a family of so many: 0 with fewer than six."""
    from scipy.special import ndtr

    if n < FEWEST_PAIRS or difference == 0 == sd:
        return 0.0
    if sd == 0:
        return 1.0
    size = abs(difference) / sd
    power = _power_of_t(n, size, n - 1, _level(n))
    if n == FEWEST_PAIRS:
        power = min(power, float(ndtr(size) ** n))  # every pair has to go the same way
    if family > 1:
        power = min(power, _power_of_t(n, size, FAMILY_FREEDOM * (n - 1), ALPHA / family**FAMILY_EXPONENT))
    return power


def _level(n: int) -> float:
    return LEVEL_OF_FEW if n <= FEW_PAIRS else LEVEL_OF_SOME if n <= SOME_PAIRS else LEVEL


def _power_of_t(n: int, size: float, freedom: float, level: float) -> float:
    """That of a t test for a mean of `size` standard deviations (noncentral t)."""
    from scipy.special import nctdtr, stdtrit

    noncentrality = min(size * math.sqrt(n), 30.0)  # the chance is 1 from there on, and far beyond SciPy gives nan
    return float(1 - nctdtr(freedom, noncentrality, stdtrit(freedom, 1 - level / 2)))
