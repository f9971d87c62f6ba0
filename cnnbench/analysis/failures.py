"""How often the training of a group diverged: an outcome, which survivors alone do not show."""

from collections.abc import Sequence
from dataclasses import dataclass

from cnnbench.analysis.groups import Group
from cnnbench.analysis.statistics.intervals import Interval, share_interval


@dataclass(frozen=True)
class FailureRate:
    """`diverged` of so many `runs` did; `ci95` is the exact interval of the share (Clopper & Pearson 1934)."""

    diverged: int
    runs: int
    ci95: Interval

    @property
    def share(self) -> float | None:
        """None of no runs."""
        return self.diverged / self.runs if self.runs else None


def failure_rate(group: Group) -> FailureRate:
    """That of a group, of its finished and its diverged runs."""
    diverged = len(group.diverged)
    runs = len(group.runs) + diverged
    return FailureRate(diverged, runs, share_interval(diverged, runs))


def write_rate(diverged: int, runs: int, interval: Sequence[float]) -> str:
    """`4 of 10 (12 to 74 %)`."""
    low, high = (100 * end for end in interval)
    return f"{diverged} of {runs} ({low:.0f} to {high:.0f} %)"
