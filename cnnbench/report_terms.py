"""How the report names groups, writes numbers and shows paths."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cnnbench.groups import Group
from cnnbench.labels import label_against
from cnnbench.verdicts import higher_is_better

DASH = "–"


@dataclass(frozen=True)
class Named:
    """A group, the number it has on the page, and its label: for others than the baseline what differs from it."""

    number: int
    label: str
    group: Group

    @property
    def text(self) -> str:
        """Number and label, for figures."""
        return f"{self.number}  {self.label}"


def name_groups(groups: Sequence[Group], baseline: Group) -> list[Named]:
    """The groups with their numbers; the baseline is number 0."""
    others = [group for group in groups if group is not baseline]
    named = [Named(i, label_against(group.label, baseline.label), group) for i, group in enumerate(others, 1)]
    return [Named(0, baseline.label, baseline), *named]


@dataclass(frozen=True)
class Scale:
    """How a metric is written: fractions as percentages, their differences in points; `sign`: -1 if less is better."""

    name: str
    factor: float
    unit: str
    difference_unit: str
    sign: int

    @classmethod
    def of(cls, metric: str) -> "Scale":
        """The scale of a number of summary.json."""
        sign = 1 if higher_is_better(metric) else -1
        name = metric.replace("_", " ")
        if metric.endswith(("accuracy", "gap")):
            return cls(name, 100.0, "%", "points", sign)
        return cls(name, 1.0, "", "", sign)

    @property
    def axis(self) -> str:
        """The metric with its unit."""
        return f"{self.name}, {self.unit}" if self.unit else self.name

    @property
    def difference_axis(self) -> str:
        """A difference of the metric with its unit."""
        what = f"difference in {self.name}"
        return f"{what}, {self.difference_unit}" if self.difference_unit else what

    def write(self, value: float | None) -> str:
        """`91.25`; without a unit."""
        return DASH if value is None else number(value * self.factor, self.factor)

    def write_difference(self, value: float) -> str:
        """`+0.31`."""
        return number(value * self.factor, self.factor, sign="+")

    def interval(self, interval: tuple[float, float] | None) -> tuple[float, float] | None:
        """The interval in the unit that is shown."""
        return None if interval is None else (interval[0] * self.factor, interval[1] * self.factor)


def number(value: float, factor: float, sign: str = "") -> str:
    """Two decimals for percentages, four digits for anything else; with a true minus."""
    return format(value, f"{sign}.2f" if factor == 100 else f"{sign}.4g").replace("-", "−")


def listed(values: Sequence[int]) -> str:
    """`0 to 5`, or `0, 2, 7` where some between are missing."""
    ordered = sorted(set(values))
    if len(ordered) > 2 and ordered[-1] - ordered[0] == len(ordered) - 1:
        return f"{ordered[0]} to {ordered[-1]}"
    return ", ".join(map(str, ordered))


def plural(count: int, what: str) -> str:
    """`1 run`, `2 runs`."""
    return f"{count} {what}{'' if count == 1 else 's'}"


def relative(path: Path, folder: Path) -> str:
    """The path as seen from the folder in which the report stands."""
    return os.path.relpath(path, folder)
