"""How the report names groups and shows paths."""

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cnnbench.analysis.config_labels import label_against
from cnnbench.analysis.groups import Group
from cnnbench.analysis.svg import shorten
from cnnbench.runs.variant_names import variant_names

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
    techniques = technique_names(groups)
    return [name_group(number, group, baseline, techniques.get(group.id)) for number, group in enumerate(ordered)]


def name_group(number: int, group: Group, baseline: Group, technique: str | None) -> Named:
    """One group's names; `technique` is what an ablation calls it."""
    settings = shorten(group.label if group is baseline else label_against(group.label, baseline.label), LONGEST_NAME)
    if technique is not None:
        return Named(number, shorten(technique, LONGEST_BASELINE), "" if group is baseline else settings, group)
    if group is baseline and len(settings) > LONGEST_BASELINE:
        return Named(number, "baseline", "", group)
    return Named(number, settings, "", group)


def technique_names(groups: Sequence[Group]) -> dict[str, str]:
    """By a group's id, its name in the ablation in whose folder its runs lie; none that two groups would share."""
    plans = {folder: variant_names(folder) for folder in {run.path.parent for group in groups for run in group.runs}}
    found: dict[str, str] = {}
    for group in groups:
        for run in group.runs:
            if name := plans[run.path.parent].get(run.summary["group_hash"]):
                found.setdefault(group.id, name)
    counts = Counter(found.values())
    return {group_id: name for group_id, name in found.items() if counts[name] == 1}


def relative(path: Path, folder: Path) -> str:
    """The path as seen from the folder in which the report stands."""
    return os.path.relpath(path, folder)
