"""What a pilot of a few runs knows of a standard deviation: less than one thinks."""

import math

from cnnbench.analysis.statistics.intervals import Interval
from cnnbench.analysis.statistics.levels import ALPHA

PLANNED = 0.8  # of pilots, in which the deviation that is planned with is no less than the true one


def sd_interval(sd: float, freedom: int) -> Interval:
    """95 % interval of the standard deviation of normal values, from an estimate with so many degrees of freedom."""
    return sd_bound(sd, freedom, ALPHA / 2), sd_bound(sd, freedom, 1 - ALPHA / 2)


def sd_bound(sd: float, freedom: int, share: float = PLANNED) -> float:
    """What the standard deviation of normal values exceeds in no more than 1 - `share` of pilots (chi-square)."""
    from scipy.special import chdtri

    return sd * math.sqrt(freedom / float(chdtri(freedom, share)))
