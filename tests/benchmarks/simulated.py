"""Accuracies of runs that were never made: techniques beside a baseline over seeds, in shapes that real ones take.

All are in points. The standard deviation of a difference is about 0.5 where nothing else is said.
"""

import math

import numpy as np

SPREAD = 0.35  # of a run: sqrt(2) times this is 0.5
DIFFERENCES = {  # each with mean 0 and standard deviation 1
    "normal": lambda rng, size: rng.standard_normal(size),
    "t with 3 degrees of freedom": lambda rng, size: rng.standard_t(3, size) / math.sqrt(3),
    "runs skewed alike": lambda rng, size: rng.laplace(0.0, math.sqrt(0.5), size),  # exponential - exponential
    "discrete": lambda rng, size: np.round(rng.standard_normal(size) * 2) / 2,  # in steps of half a deviation
    "gamma (skewness 1)": lambda rng, size: (rng.gamma(4.0, 1.0, size) - 4) / 2,
    "exponential (skewness 2)": lambda rng, size: rng.standard_exponential(size) - 1,
    "log-normal (skewness 3.3)": lambda rng, size: _log_normal(rng, size),
    "collapses in 1 seed of 10": lambda rng, size: _collapsing(rng, size, 0.1),
    "collapses in 1 seed of 20": lambda rng, size: _collapsing(rng, size, 0.05),
}
SYMMETRIC = ("normal", "t with 3 degrees of freedom", "runs skewed alike", "discrete")


def _log_normal(rng, size):
    width = 0.75
    mean, variance = math.exp(width**2 / 2), (math.exp(width**2) - 1) * math.exp(width**2)
    return (np.exp(width * rng.standard_normal(size)) - mean) / math.sqrt(variance)


def _collapsing(rng, size, share):
    """A little better in most seeds, much worse in the others, and as good on average."""
    values = 0.2 * rng.standard_normal(size) + 3.0 * (share - (rng.random(size) < share))
    return values / math.sqrt(0.04 + 9 * share * (1 - share))


def families(shape, rng, techniques, seeds):
    """(techniques, seeds) differences from a shared baseline, none of which is one on average."""

    def runs(draw, spread=SPREAD):
        candidates, baseline = draw((techniques, seeds)), draw(seeds)
        return spread * candidates - SPREAD * baseline

    widths = np.geomspace(0.3, 6, techniques)[:, None]
    normal, exponential = rng.standard_normal, lambda size: 1 - rng.standard_exponential(size)
    match shape:
        case "normal":
            return runs(normal)
        case "t with 3 degrees of freedom":
            return runs(lambda size: rng.standard_t(3, size) / math.sqrt(3))
        case "runs skewed alike":
            return runs(exponential)
        case "unequal spreads":
            return runs(normal, SPREAD * widths)
        case "359 test images":
            return np.round(runs(normal) / 0.2786) * 0.2786
        case "candidates alike":
            return 0.1 * normal((techniques, seeds)) + 0.1 * normal(seeds) - SPREAD * normal(seeds)
        case "no shared baseline":
            return math.sqrt(2) * SPREAD * normal((techniques, seeds))
        case "skewed baseline, normal candidates":
            return SPREAD * normal((techniques, seeds)) - SPREAD * exponential(seeds)
        case "skewed baseline, candidates alike":
            return 0.1 * normal((techniques, seeds)) + 0.1 * normal(seeds) - 0.5 * exponential(seeds)
        case "skewed runs of unequal spreads":
            return runs(exponential, SPREAD * widths)
        case "each difference exponential":
            return 0.5 * exponential((techniques, seeds))
        case "all collapse in 1 seed of 10":
            return runs(normal) + 5.0 * (0.1 - (rng.random((techniques, seeds)) < 0.1))
    raise KeyError(shape)


EXCHANGEABLE = (
    "normal", "t with 3 degrees of freedom", "runs skewed alike", "unequal spreads", "359 test images",
    "candidates alike", "no shared baseline",
)  # fmt: skip
"""Families in which a technique that does nothing could be swapped with the baseline, each alone at the least."""
SKEWED = (
    "skewed baseline, normal candidates", "skewed baseline, candidates alike", "skewed runs of unequal spreads",
    "each difference exponential", "all collapse in 1 seed of 10",
)  # fmt: skip
"""Families that break this: the mean of a difference is zero, but it has a long tail to one side."""
