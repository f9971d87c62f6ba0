"""How the report names groups and shows paths."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cnnbench.analysis.config_labels import label_against
from cnnbench.analysis.groups import Group
from cnnbench.analysis.svg import shorten

DASH = "–"
LONGEST_NAME = 120  # characters; all of it stands among the settings that differ
LONGEST_BASELINE = 40  # characters; the settings of a baseline that differs from many groups make a paragraph


@dataclass(frozen=True)
class Named:
    """A group and how the page calls it.

    Attributes:
        number: its place; the baseline is 0.
        name: short: what an ablation calls it, else what differs from the baseline.
        settings: what differs from the baseline, where the name does not say it; else empty.
    """

    number: int
    name: str
    settings: str
    group: Group

    @property
    def text(self) -> str:
        """Number and name, for figures."""
        return f"{self.number}  {self.name}"


def name_groups(groups: Sequence[Group], baseline: Group) -> list[Named]:
    """The groups with their numbers; the baseline is number 0."""
    ordered = [baseline, *(group for group in groups if group is not baseline)]
    return [name_group(number, group, baseline) for number, group in enumerate(ordered)]


def name_group(number: int, group: Group, baseline: Group) -> Named:
    """One group's names."""
    settings = shorten(group.label if group is baseline else label_against(group.label, baseline.label), LONGEST_NAME)
    if group.technique is not None:
        return Named(number, shorten(group.technique, LONGEST_BASELINE), "" if group is baseline else settings, group)
    if group is baseline and len(settings) > LONGEST_BASELINE:
        return Named(number, "baseline", "", group)
    return Named(number, settings, "", group)


def relative(path: Path, folder: Path) -> str:
    """The path as seen from the folder in which the report stands."""
    return os.path.relpath(path, folder)
