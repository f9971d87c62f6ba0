"""What two groups differ in that is no technique: it stands beside the verdict, for a label is easily read over."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from cnnbench.analysis.config_labels import settings_of, write_value
from cnnbench.analysis.groups import Group

EFFORT = ("epochs", "data.fraction")
"""Settings of which more is better whatever else is done: nothing is a better technique for having had more of them."""


def unequal_effort(baseline: Group, candidate: Group, tried: Mapping[str, int]) -> list[str]:
    """What one of the two had more of: epochs, images, settings `tried` (as `settings_tried` says), looks at the test
    split."""
    ours, theirs = (_settings(group) for group in (baseline, candidate))
    found = [
        f"{key} {write_value(theirs[key])} against {write_value(ours[key])}"
        for key in EFFORT
        if key in ours and key in theirs and ours[key] != theirs[key]
    ]
    if tried[candidate.id] != tried[baseline.id]:
        found.append(f"one of {tried[candidate.id]} settings tried, the baseline one of {tried[baseline.id]}")
    reads = max((int(run.number("test_reads") or 0) for run in (*baseline.runs, *candidate.runs)), default=0)
    return found + ([f"test split read {reads} times"] if reads > 1 else [])


def is_best_of_unequal(baseline: Group, candidate: Group, metric: str) -> bool:
    """Whether the metric is the best of so many epochs, and one group had more of them to choose from."""
    lengths = {run.summary.get("epochs") for group in (baseline, candidate) for run in group.runs}
    return metric == "best_val_accuracy" and len(lengths) > 1


def settings_tried(groups: Sequence[Group]) -> dict[str, int]:
    """By id, how many of the groups differ from one in numbers only, as learning rates, itself among them: of so many
    tries one is the best by chance alone. What an ablation has planned are no tries."""
    kinds = {group.id: _without_numbers(group) for group in groups if group.technique is None}
    counts = Counter(kinds.values())
    return {group.id: counts[kinds[group.id]] if group.id in kinds else 1 for group in groups}


def _settings(group: Group) -> dict[str, Any]:
    return {key: value for key, (_, value) in settings_of(group.config or {}).items()}


def _without_numbers(group: Group) -> str:
    kept = {
        key: value
        for key, value in _settings(group).items()
        if isinstance(value, bool) or not isinstance(value, int | float) or key in EFFORT
    }
    return json.dumps(kept, sort_keys=True, default=str) if kept else group.id
