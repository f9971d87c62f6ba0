"""A folder of images looked through: from its path to one document of all that was found."""

import shlex
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cnnbench.data.check.classes import count_classes, describe_sizes, of_classes
from cnnbench.data.check.findings import KINDS, Finding, Place, of_doubles, of_image, of_range
from cnnbench.data.check.scan import Facts, scan
from cnnbench.data.class_folders import Parts, find_parts
from cnnbench.data.image_folder import links_outside
from cnnbench.data.source import Part

FAILS, FINE = 65, 0
ORDER = {kind: number for number, kind in enumerate(KINDS)}


@dataclass(frozen=True)
class Examined:
    """All images of a folder with what they are, and the findings, the gravest first."""

    root: Path
    parts: Parts
    places: list[Place]
    facts: list[Facts]
    findings: list[Finding]
    overrides: tuple[str, ...]
    """What the user has said of the folder."""

    @property
    def exit_code(self) -> int:
        """65 where a training would fail."""
        return FAILS if any(finding.severity == "error" for finding in self.findings) else FINE


def list_images(root: Path, given: Mapping[Part, str | None]) -> tuple[Parts, list[Place]]:
    """The parts of a folder, uncut, and their images, training first.

    Raises:
        DataError: it has no parts or classes that can be told.
    """
    parts = find_parts(root, 0.0, given)
    places = [
        Place(path, part, parts.class_names[label])
        for part, files in parts.files.items()
        for path, label in zip(files.paths, files.labels.tolist(), strict=True)
    ]
    return parts, places


def read_images(
    root: Path, parts: Parts, places: Sequence[Place], workers: int, progress: Callable[[int], None]
) -> list[Facts]:
    """The facts of each image; `progress` is told how many more are read."""
    outside = links_outside(parts.files.values(), root)
    inside = [place.path for place in places if place.path not in outside]
    known = dict(zip(inside, scan(inside, workers, progress), strict=True))
    stranger = {path: Facts(problem=line.removeprefix(f"{path}: ")) for path, line in outside.items()}
    return [known.get(place.path) or stranger[place.path] for place in places]


def examine(
    root: Path,
    parts: Parts,
    places: list[Place],
    facts: list[Facts],
    overrides: Sequence[str],
    progress: Callable[[int], None],
) -> Examined:
    """All findings of the images, of which `facts` are known; `overrides` chose the parts. `progress` is told how many
    more are compared with the others, each once for each of VIEWS."""
    problems = (problem.partition(": ") for problem in parts.problems)
    findings = [Finding("folder", path, detail=what) for path, _, what in problems]
    for place, each in zip(places, facts, strict=True):
        findings += of_image(place, each)
    findings += of_doubles(places, facts, progress)
    findings += of_range(places, facts)
    folders: dict[Part, str] = {part: str(root / folder) for part, folder in parts.taken.items()}
    findings += of_classes(count_classes(places, parts.class_names, list(parts.files)), folders)
    findings += (Finding("ignored", path, detail=reason) for path, reason in parts.ignored)
    findings.sort(key=lambda finding: ORDER[finding.kind])
    return Examined(root, parts, places, facts, findings, tuple(overrides))


def document(examined: Examined) -> dict[str, Any]:
    """What was found, as findings.json holds it."""
    parts, facts = examined.parts, examined.facts
    counted = Counter(finding.kind for finding in examined.findings)
    return {
        "root": str(examined.root),
        "images": len(examined.places),
        "exit_code": examined.exit_code,
        "next": next_step(examined),
        "parts": count_classes(examined.places, parts.class_names, list(parts.files)),
        "taken": dict(parts.taken),
        "sizes": describe_sizes(facts),
        "formats": dict(Counter(each.format for each in facts if each.problem is None).most_common()),
        "found": {kind: counted[kind] for kind in KINDS if counted[kind]},
        "findings": [{"severity": finding.severity, **asdict(finding)} for finding in examined.findings],
    }


def next_step(examined: Examined) -> str:
    """One line that says what to do now."""
    counted = Counter(finding.kind for finding in examined.findings)
    if counted["folder"]:
        return f"{counted['folder']} folders keep it from training: {KINDS['folder'][1]}"
    if counted["unreadable"]:
        return f"{_images(counted['unreadable'])} cannot be read: repair, remove, or train with data.on_bad_image=skip"
    if shared := counted["same image, across parts"]:
        return f"{_images(shared)} of validation or test are in training too: remove one of each, or accuracy flatters"
    if twice := counted["same image, across classes"]:
        return f"{_images(twice)} lie in two classes: remove the copy with the wrong label"
    size = describe_sizes(examined.facts)["image_size"]
    settings = [f"data.root={examined.root}", *examined.overrides]
    settings += [f"data.image_size=[{size[0]},{size[1]}]"] if size else []
    settings += [each.detail.partition(", the")[0] for each in examined.findings if each.kind == "small range"]
    return f"ready: cnnbench train data=image_folder {' '.join(map(shlex.quote, settings))}"


def _images(count: int) -> str:
    return f"{count:,} image{'' if count == 1 else 's'}"
