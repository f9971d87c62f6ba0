"""Whether groups of runs were validated and tested on the same images: where not, they cannot be compared."""

import hashlib
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence

from cnnbench.analysis.groups import Group
from cnnbench.errors import DataError
from cnnbench.runs.predictions import load_labels

# of `data`: how many images are trained on, how large they are made, and how they are read
MAY_DIFFER = ("fraction", "image_size", "channels", "resident", "pack", "workers", "download", "root")


def refuse_different_data(groups: Sequence[Group]) -> None:
    """Raises:
    DataError: with one line for every setting of the data that is not the same in all groups, or where the labels
        of the saved test predictions are not.
    """
    findings = different_settings(groups) or different_labels(groups)
    if findings:
        raise DataError(*findings)


def different_settings(groups: Sequence[Group]) -> list[str]:
    """One line for every key of `data` that decides which images are held out and in which the groups differ."""
    values: dict[str, dict[str, Group]] = defaultdict(dict)
    for group in groups:
        node = group.config.get("data") if group.config else {"name": group.runs[0].summary.get("data")}
        for key, value in node.items() if isinstance(node, Mapping) else ():
            if key not in MAY_DIFFER:
                values[key].setdefault(json.dumps(value, sort_keys=True, default=str), group)
    if len(values["name"]) > 1:  # the rest follows from it
        values = defaultdict(dict, name=values["name"])
    return [difference(f"data.{key}", found) for key, found in values.items() if len(found) > 1]


def different_labels(groups: Sequence[Group]) -> list[str]:
    """One line where the groups' test images have different labels; groups without predictions are left out."""
    found: dict[str, Group] = {}
    for group in groups:
        labels = next((saved for run in group.runs if (saved := load_labels(run.path)) is not None), None)
        if labels is not None:
            found.setdefault(f"{len(labels)} labels {hashlib.sha256(labels.tobytes()).hexdigest()[:8]}", group)
    return [difference("the test set", found)] if len(found) > 1 else []


def difference(what: str, found: Mapping[str, Group]) -> str:
    """What differs and in which folders, for the first two values."""
    first, second = list(found)[:2]
    return (
        f"{what}: {first} in {found[first].runs[0].path}, {second} in {found[second].runs[0].path}; "
        "runs on different data, splits or test sets cannot be compared, give the folders of one of them"
    )
