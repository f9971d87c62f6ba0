"""The word for what a comparison shows."""

from typing import Literal

from cnnbench.analysis.statistics.intervals import Interval
from cnnbench.analysis.statistics.levels import ALPHA
from cnnbench.analysis.statistics.paired import Difference

Verdict = Literal["helps", "hurts", "no practical effect", "undecided"]


def can_decide(difference: Difference, alpha: float = ALPHA) -> bool:
    """Whether so many runs can give a p of `alpha` at all: one that cannot takes nothing from the others of its family
    (Tarone 1990)."""
    return difference.p_floor is not None and difference.p_floor <= alpha


def verdict(
    difference: Difference,
    p_family: float,
    p_beyond: float,
    *,
    higher_is_better: bool = True,
    alpha: float = ALPHA,
) -> Verdict:
    """What the runs show. `p_family` is that of no difference, `p_beyond` that of one beyond the margin, each adjusted
    for the family; the interval is at 1 - `alpha`. Fewer than six pairs show nothing."""
    if not can_decide(difference, alpha):
        return "undecided"
    if p_beyond <= alpha:
        return "no practical effect"
    if p_family > alpha or (difference.ci95 and excludes_nothing(difference.ci95)):
        return "undecided"
    return "helps" if (difference.mean > 0) == higher_is_better else "hurts"


def excludes_nothing(interval: Interval) -> bool:
    """Whether zero lies in the interval."""
    return interval[0] <= 0 <= interval[1]


def shown_interval(difference: Difference, word: Verdict) -> Interval | None:
    """The interval that stands beside the verdict: where nothing was decided it reaches to zero, which the family, the
    number of seeds or a failure then do not allow to rule out."""
    if difference.ci95 is None or word != "undecided":
        return difference.ci95
    return min(difference.ci95[0], 0.0), max(difference.ci95[1], 0.0)
