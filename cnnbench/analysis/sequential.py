"""Comparisons looked at several times while seeds are added: each stops where it is decided, or can no longer be."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Generic, Literal, Protocol, TypeVar

from cnnbench.analysis.statistics.looks import level_of
from cnnbench.analysis.statistics.paired import Difference
from cnnbench.analysis.statistics.power import seeds_needed
from cnnbench.analysis.statistics.verdict import Verdict

Why = Literal["decided", "futile", "at the end", "budget", "open"]
FUTILE = 3  # times the most seeds: what would need more than that will not be decided with them


class Judged(Protocol):
    """A comparison that was judged in a family."""

    @property
    def difference(self) -> Difference | None: ...

    @property
    def verdict(self) -> Verdict: ...

    @property
    def family(self) -> int: ...


J = TypeVar("J", bound=Judged)
JudgeAt = Callable[[dict[int, int], float], dict[int, J]]
"""Judges the comparisons of these numbers, each of so many of its seeds, as one family at a level."""


@dataclass(frozen=True)
class Followed(Generic[J]):
    """A comparison at the last look it took part in: at how many seeds, and why it went no further."""

    judged: J
    seeds: int
    why: Why


def follow(
    granted: Sequence[int], looks: Sequence[int], done: int, margin: float, judge_at: JudgeAt[J]
) -> list[Followed[J]]:
    """What the first `done` of all `looks`, of which there is one at least, show of comparisons that were `granted` so
    many seeds.

    One that helps or hurts leaves the family; one that has no practical effect, or would need more than three times the
    most seeds, gets no more seeds and stays in it with those it has: it could have become a false one.
    """
    level = level_of(len(looks))
    seeds = dict.fromkeys(range(len(granted)), looks[0])
    found: dict[int, Followed[J]] = {}
    for look in looks[:done]:
        waiting = [i for i in seeds if i not in found or found[i].why == "open"]
        running = [i for i in waiting if granted[i] >= look]
        seeds |= dict.fromkeys(running, look)
        found |= {i: replace(found[i], why="budget") for i in waiting if i not in running}
        if not running:
            break
        judged = judge_at({i: n for i, n in seeds.items() if i not in found or not _is_rejected(found[i])}, level)
        found |= {i: Followed(judged[i], look, _why(judged[i], look, looks[-1], margin)) for i in running}
    return [found[i] for i in seeds]


def _is_rejected(followed: Followed[J]) -> bool:
    return followed.judged.verdict in ("helps", "hurts")


def _why(judged: Judged, look: int, most: int, margin: float) -> Why:
    if judged.verdict != "undecided":
        return "decided"
    if look == most:
        return "at the end"
    if judged.difference and judged.difference.sd is not None:
        needed = seeds_needed(judged.difference, margin, max(judged.family, 1))
        if needed is None or needed > FUTILE * most:
            return "futile"
    return "open"
