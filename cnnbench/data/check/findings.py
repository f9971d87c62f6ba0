"""What is wrong or odd with the images of a folder, one finding for each thing that a person can look at."""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from cnnbench.data.check.near import near_pairs
from cnnbench.data.check.scan import Facts
from cnnbench.data.source import Part

EXTENSIONS_OF = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"), "MPO": (".jpg", ".jpeg", ".mpo"), "PNG": (".png",), "BMP": (".bmp",),
    "GIF": (".gif",), "TIFF": (".tif", ".tiff"), "WEBP": (".webp",), "AVIF": (".avif",),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm"),
}  # fmt: skip
HUGE_PIXELS = 50_000_000
SMALL_RANGE = 2**14
"""16-bit images that use fewer values lose more than two of the eight bits that are left."""

Severity = Literal["error", "warning", "note"]
KINDS: dict[str, tuple[Severity, str]] = {
    "unreadable": ("error", "cannot be read, which ends a training: repair or remove them, or data.on_bad_image=skip"),
    "folder": ("error", "a folder that cannot be trained on"),
    "same image, across parts": (
        "warning",
        "what is judged on was trained on, so accuracy flatters: remove one",
    ),
    "same image, across classes": ("warning", "one of the labels is wrong: remove that copy"),
    "near image, across parts": ("warning", "what is judged on was all but trained on: look at them, remove copies"),
    "near image, across classes": ("warning", "look whether both labels are right"),
    "few images": ("warning", "a class with so few is hardly learnt or judged"),
    "small range": ("warning", "8 bits of all that 16 can say leave few grey levels: train with this data.grey_range"),
    "same image": ("note", "copies count double, and a random split puts them on both sides: remove them"),
    "near image": ("note", "a random split puts them on both sides: keep them in one part"),
    "imbalance": ("note", "accuracy says little about the small classes"),
    "huge": ("note", "slow to decode: scale them down"),
    "turned": ("note", "turned upright by their EXIF tag when they are read"),
    "CMYK": ("note", "converted to RGB without a colour profile"),
    "palette": ("note", "converted to RGB"),
    "16 bits": ("note", "scaled to 8 bits"),
    "transparent": ("note", "laid over white"),
    "animated": ("note", "the first frame is taken"),
    "extension": ("note", "the content is of another format than the name says, and read as what it is"),
    "ignored": ("note", "takes no part"),
}
"""Of each kind of finding how grave it is, and what follows from it; the gravest first."""
MODES = {"CMYK": "CMYK", "P": "palette", "PA": "palette"}


class Place(NamedTuple):
    """An image file and where it belongs."""

    path: str
    part: Part
    label: str


@dataclass(frozen=True)
class Finding:
    """One thing; `other` is the file it has to do with, `detail` says more."""

    kind: str
    path: str
    part: str = ""
    label: str = ""
    other: str = ""
    detail: str = ""

    @property
    def severity(self) -> Severity:
        return KINDS[self.kind][0]


def of_image(place: Place, facts: Facts) -> Iterator[Finding]:
    """What is odd about one file."""

    def found(kind: str, detail: str = "") -> Finding:
        return Finding(kind, place.path, place.part, place.label, detail=detail)

    if facts.problem is not None:
        yield found("unreadable", facts.problem)
        return
    size = f"{facts.width}x{facts.height}"
    if facts.width * facts.height > HUGE_PIXELS:
        yield found("huge", size)
    if facts.mode in MODES:
        yield found(MODES[facts.mode])
    if facts.values is not None:
        yield found("16 bits", f"values {facts.values[0]} to {facts.values[1]}")
    if facts.has_transparency:
        yield found("transparent")
    if facts.frames > 1 and facts.format != "MPO":
        yield found("animated", f"{facts.frames} frames")
    if facts.is_rotated:
        yield found("turned")
    extension = os.path.splitext(place.path)[1].lower()
    if extension and extension not in EXTENSIONS_OF.get(facts.format, (extension,)):
        yield found("extension", f"{facts.format} in a file called {extension}")


def of_doubles(places: Sequence[Place], facts: Sequence[Facts], progress: Callable[[int], None]) -> Iterator[Finding]:
    """Images that are there twice, and pairs that nearly are; the first of a pair is one of training where one is.

    `progress` is told how many more are compared, each once for each of VIEWS.
    """
    firsts: dict[bytes, int] = {}
    for index in readable(facts):
        first = firsts.setdefault(facts[index].digest, index)
        if first != index:
            yield _double("same image", places[index], places[first], "")
    unique = list(firsts.values())
    if not unique:
        return
    hashes = np.stack([h for i in unique if (h := facts[i].hashes) is not None])
    small = np.stack([s for i in unique if (s := facts[i].small) is not None])
    for pair in near_pairs(hashes, small, progress):
        detail = f"correlation {pair.correlation:.2f}{', ' + pair.view if pair.view else ''}"
        yield _double("near image", places[unique[pair.second]], places[unique[pair.first]], detail)


def readable(facts: Sequence[Facts]) -> list[int]:
    """The indices of those that can be read."""
    return [index for index, each in enumerate(facts) if each.problem is None]


def _double(what: str, place: Place, other: Place, detail: str) -> Finding:
    across = ", across parts" if place.part != other.part else ", across classes" if place.label != other.label else ""
    detail = ", ".join(filter(None, (f"{other.label} in {other.part}", detail)))
    return Finding(what + across, place.path, place.part, place.label, other.path, detail)


def of_range(places: Sequence[Place], facts: Sequence[Facts]) -> Iterator[Finding]:
    """Whether the 16-bit images of training together use a small part of what 16 bits can say."""
    pairs = zip(places, facts, strict=True)
    values = [each.values for place, each in pairs if place.part == "train" and each.values is not None]
    if not values:
        return
    low, high = min(low for low, _ in values), max(high for _, high in values)
    if low < high and high - low < SMALL_RANGE:
        detail = f"data.grey_range=[{low},{high}], the values of {len(values):,} of the images"
        yield Finding("small range", os.path.commonpath([place.path for place in places]), detail=detail)
