"""Whether groups of runs were validated and tested on the same images: where not, they cannot be compared."""

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from cnnbench.analysis.groups import Group, Run
from cnnbench.analysis.images import WHOLE, fingerprint_of, splits_by_seed
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
        findings = different_contents(groups)
    else:
        findings = different_settings(groups) or different_labels(groups)
    if findings:
        raise DataError(*findings)


def known_by_content(groups: Sequence[Group]) -> bool:
    """Whether all groups noted what their images are, and took them in one shape."""
    runs = [run for group in groups for run in group.runs]
    shapes = {str(run.summary.get("image_shape")) for run in runs}
    return len(shapes) == 1 and all(fingerprint_of(run.summary, "train") is not None for run in runs)


def different_contents(groups: Sequence[Group]) -> list[str]:
    """One line for validation and one for test where these images are not the same in all groups: in runs of the same
    seed, where every group has a split for each seed."""
    fixed, by_seed = ([group for group in groups if splits_by_seed(group.config) is kind] for kind in (False, True))
    if by_seed and not fixed:
        drawn = different_images_of_a_seed(groups, "val") or different_wholes(groups)
        return drawn + (different_images_of_a_seed(groups, "test") or different_images(groups, "test"))
    drawn_too = ", which data.split_seed draws" if by_seed else ""
    return different_images([*fixed, *by_seed], "val", drawn_too) + different_images(groups, "test")


def different_images(groups: Sequence[Group], part: str, explained: str = "") -> list[str]:
    """One line where the groups' images of this part are not the same."""
    found = by_content((run for group in groups for run in group.runs), part)
    return [difference(f"{part} images{explained}", found)] if len(found) > 1 else []


def different_images_of_a_seed(groups: Sequence[Group], part: str) -> list[str]:
    """One line for the first seed of which two groups have different images of this part."""
    runs: dict[int, list[Run]] = defaultdict(list)
    for run in (run for group in groups for run in group.runs):
        runs[run.seed].append(run)
    found = ((seed, by_content(runs[seed], part)) for seed in sorted(runs))
    return next(([difference(f"{part} images of seed {seed}", each)] for seed, each in found if len(each) > 1), [])


def different_wholes(groups: Sequence[Group]) -> list[str]:
    """One line where a group that shares no seed with the first one splits other images, as far as that is known."""
    first, *others = groups
    strangers = [group for group in others if not set(group.seeds) & set(first.seeds)]
    runs = [run for group in (first, *strangers) for run in group.runs if fingerprint_of(run.summary, WHOLE)]
    found = by_content(runs, WHOLE)
    return [difference("images that are split", found)] if len(found) > 1 else []


def by_content(runs: Iterable[Run], part: str) -> dict[str, Run]:
    """The first run with each content of this part, by the beginning of its fingerprint; without those that have not
    seen their test images, as the trials of a search."""
    found: dict[str, Run] = {}
    for run in runs:
        if part == "test" and run.summary.get("test_reads") == 0 and fingerprint_of(run.summary, part) is None:
            continue
        found.setdefault((fingerprint_of(run.summary, part) or "none")[:8], run)
    return found


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
