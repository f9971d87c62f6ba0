"""At how many seeds one looks at the results, when one may stop, and how small p has to be then."""

from cnnbench.analysis.statistics.levels import ALPHA

FIRST_LOOK = 8
LEVELS = {1: ALPHA, 2: 0.037, 3: 0.03}
"""By the number of looks, the level at each at which all of them together err in 5 % at the most, found by simulation
(tests/benchmarks/sequential.py). A p-value alone would have to be below 0.0294 or 0.0221 each time (Pocock 1977,
Biometrika 64): a verdict also asks for the interval, and what is futile is not looked at again."""


def looks_up_to(most_seeds: int) -> tuple[int, ...]:
    """The numbers of seeds at which to look: 8, the most, and one between where they are six or more apart."""
    if most_seeds <= FIRST_LOOK:
        return (most_seeds,)
    if most_seeds < FIRST_LOOK + 6:
        return FIRST_LOOK, most_seeds
    return FIRST_LOOK, (FIRST_LOOK + most_seeds + 1) // 2, most_seeds


def level_of(looks: int) -> float:
    """How small p has to be at each of so many looks."""
    return LEVELS[looks]
