"""What looking while seeds are added promises: power, and how many seeds it takes on average."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cnnbench.analysis.statistics.levels import ALPHA, FEWEST_PAIRS
from cnnbench.analysis.statistics.looks import level_of, looks_up_to
from cnnbench.analysis.statistics.power import FAMILY_EXPONENT, FAMILY_FREEDOM, LEVEL

DRAWS = 4_000
MOST = 200  # seeds that anybody would plan for


@dataclass(frozen=True)
class Expected:
    """Looks at so many seeds find a difference with this `power`, and take so many seeds on average."""

    looks: tuple[int, ...]
    power: float
    average_seeds: float


def plan_looks(size: float, power: float, family: int = 1) -> Expected | None:
    """The looks with the fewest seeds at the most that find a difference of `size` standard deviations with this power,
    in a family of so many; None where that takes more than 200."""
    low, high = FEWEST_PAIRS, MOST
    if expect(looks_up_to(high), size, family).power < power:
        return None
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if expect(looks_up_to(middle), size, family).power >= power else (middle + 1, high)
    return expect(looks_up_to(high), size, family)


def expect(looks: Sequence[int], size: float, family: int = 1) -> Expected:
    """What these looks do, by t tests that are as powerful as verdicts are (see `power_of`), on 4,000 experiments."""
    from scipy.special import stdtrit

    values = np.random.default_rng(0).standard_normal((DRAWS, looks[-1])) + size
    level = level_of(len(looks)) * LEVEL / ALPHA
    stopped, seeds = np.zeros(DRAWS, dtype=bool), np.full(DRAWS, looks[-1])
    found = np.zeros(DRAWS, dtype=bool)
    for n in looks:
        part = values[:, :n]
        t = part.mean(axis=1) / part.std(axis=1, ddof=1) * math.sqrt(n)
        least = float(stdtrit(n - 1, 1 - level / 2))
        if family > 1:
            of_family = level_of(len(looks)) / family**FAMILY_EXPONENT
            least = max(least, float(stdtrit(FAMILY_FREEDOM * (n - 1), 1 - of_family / 2)))
        now = (np.abs(t) > least) & ~stopped
        seeds[now] = n
        found |= now & (t > 0)
        stopped |= now
    return Expected(tuple(looks), float(found.mean()), float(seeds.mean()))
