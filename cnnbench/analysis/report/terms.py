"""How the report names groups and shows paths."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cnnbench.analysis.config_labels import label_against
from cnnbench.analysis.groups import Group

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


def relative(path: Path, folder: Path) -> str:
    """The path as seen from the folder in which the report stands."""
    return os.path.relpath(path, folder)
