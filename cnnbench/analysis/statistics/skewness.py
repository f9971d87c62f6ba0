"""The t statistic of a skewed mean, transformed to be less skewed (Hall 1992, On the Removal of Skewness by
Transformation, JRSS B 54). `skew` is the skewness of the mean: that of the values over the root of their number."""

import math


def transform(t: float, skew: float) -> float:
    """Hall's transformed t statistic; it rises with t."""
    return t + skew * t**2 / 3 + skew**2 * t**3 / 27 + skew / 6


def undo(transformed: float, skew: float) -> float:
    """The t statistic that is transformed to this."""
    if abs(skew) < 1e-6:
        return transformed
    return 3 / skew * (math.cbrt(1 + skew * (transformed - skew / 6)) - 1)
