"""Whether groups of runs were validated and tested on the same images: where not, they cannot be compared."""

import hashlib
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence

from cnnbench.analysis.groups import PARTS, Group, Run, images_of
from cnnbench.errors import DataError
from cnnbench.runs.predictions import load_labels

# of `data`: how many images are trained on, how large they are made, and how they are read
MAY_DIFFER = ("fraction", "image_size", "channels", "resident", "pack", "workers", "download", "root")


def refuse_different_data(groups: Sequence[Group]) -> None:
    """Raises:
    DataError: where the images of validation or test are not the same in all groups. Where that is not known by
        content, for a run's images have another size or it noted none, with one line for every setting of the data that
        differs, or where the labels of the saved test predictions do.
    """
    if known_by_content(groups):
        findings = [finding for part in ("val", "test") for finding in different_images(groups, part)]
    else:
        findings = different_settings(groups) or different_labels(groups)
    if findings:
        raise DataError(*findings)


def known_by_content(groups: Sequence[Group]) -> bool:
    """Whether all groups noted what their images are, and took them in one shape."""
    runs = [run for group in groups for run in group.runs]
    shapes = {str(run.summary.get("image_shape")) for run in runs}
    return len(shapes) == 1 and all(images_of(run)[0] is not None for run in runs)


def different_images(groups: Sequence[Group], part: str) -> list[str]:
    """One line where the groups' images of this part are not the same."""
    found: dict[str, Run] = {}
    for run in (run for group in groups for run in group.runs):
        found.setdefault((images_of(run)[PARTS.index(part)] or "none")[:8], run)
    return [difference(f"{part} images", found)] if len(found) > 1 else []


def different_settings(groups: Sequence[Group]) -> list[str]:
    """One line for every key of `data` that decides which images are held out and in which the groups differ."""
    values: dict[str, dict[str, Run]] = defaultdict(dict)
    for group in groups:
        node = group.config.get("data") if group.config else {"name": group.runs[0].summary.get("data")}
        for key, value in node.items() if isinstance(node, Mapping) else ():
            if key not in MAY_DIFFER:
                values[key].setdefault(json.dumps(value, sort_keys=True, default=str), group.runs[0])
    if len(values["name"]) > 1:  # the rest follows from it
        values = defaultdict(dict, name=values["name"])
    return [difference(f"data.{key}", found) for key, found in values.items() if len(found) > 1]


def different_labels(groups: Sequence[Group]) -> list[str]:
    """One line where the groups' test images have different labels; groups without predictions are left out."""
    found: dict[str, Run] = {}
    for group in groups:
        labels = next((saved for run in group.runs if (saved := load_labels(run.path)) is not None), None)
        if labels is not None:
            found.setdefault(f"{len(labels)} labels {hashlib.sha256(labels.tobytes()).hexdigest()[:8]}", group.runs[0])
    return [difference("the test set", found)] if len(found) > 1 else []


def difference(what: str, found: Mapping[str, Run]) -> str:
    """What differs and in which folders, for the first two values."""
    first, second = list(found)[:2]
    return (
        f"{what}: {first} in {found[first].path}, {second} in {found[second].path}; "
        "runs on different data, splits or test sets cannot be compared, give the folders of one of them"
    )
