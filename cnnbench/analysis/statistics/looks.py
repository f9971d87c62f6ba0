"""At how many seeds one looks at the results, how small p has to be then, and what looks that were not planned cost."""

from collections.abc import Sequence

import numpy as np

from cnnbench.analysis.statistics.levels import ALPHA

FIRST_LOOK = 8
POCOCK = {1: ALPHA, 2: 0.0294, 3: 0.0221}
"""By the number of looks, the level at each at which all of them together err in 5 % (Pocock 1977, Biometrika 64)."""
DRAWS = 20_000


def looks_up_to(most_seeds: int) -> tuple[int, ...]:
    """The numbers of seeds at which to look: 8, the most, and one between where they are six or more apart."""
    if most_seeds <= FIRST_LOOK:
        return (most_seeds,)
    if most_seeds < FIRST_LOOK + 6:
        return FIRST_LOOK, most_seeds
    return FIRST_LOOK, (FIRST_LOOK + most_seeds + 1) // 2, most_seeds


def level_of(looks: int) -> float:
    """How small p has to be at each of so many looks."""
    return POCOCK[looks]


def error_of_looks(counts: Sequence[int]) -> float:
    """In what share of experiments without an effect p is below 0.05 at one of the looks, at so many seeds each.

    Of a random walk: the first looks are parts of the later ones.
    """
    from scipy.special import ndtri

    ordered = sorted(set(counts))
    steps = np.sqrt(np.diff([0, *ordered]))
    walks = np.cumsum(np.random.default_rng(0).standard_normal((DRAWS, len(ordered))) * steps, axis=1)
    return float((np.abs(walks) >= float(ndtri(1 - ALPHA / 2)) * np.sqrt(ordered)).any(axis=1).mean())
