"""Which folders of a root are training, validation and test, and which are classes: told by what they hold, and by
their names as people spell them. What can be read in two ways is an error that names the key which settles it."""

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cnnbench.data.listing import EMPTY, NO_CLASS, NO_PART, Listing, first_names, holds_images, list_folder
from cnnbench.data.source import PARTS, Ignored, Part
from cnnbench.errors import ConfigError, DataError

WORDS: dict[str, Part] = {
    "train": "train", "training": "train",
    "val": "val", "valid": "val", "validation": "val", "validate": "val", "dev": "val",
    "test": "test", "testing": "test",
}  # fmt: skip
NEUTRAL = r"(?:set|data|images?|imgs?|photos?|folder|split)"  # say nothing of what is in it
PLAIN = re.compile(rf"(?:{NEUTRAL}[ _.-]*)*({'|'.join(WORDS)})(?:[ _.-]*{NEUTRAL})*")
CURE = "set data.root to a folder of images"


@dataclass(frozen=True)
class Layout:
    """The folder that holds the class folders of each part. Where `classes` is given, it holds those of training, and
    of the test unless that is a part of its own; folders of parts in it are no classes."""

    parts: Mapping[Part, Path]
    classes: Path | None
    ignored: tuple[Ignored, ...] = ()


def find_layout(root: Path, given: Mapping[Part, str | None]) -> Layout:
    """What is what in `root`; `given` are the settings that name a part's folder, relative to `root`.

    Raises:
        ConfigError: a setting names no folder in `root`.
        DataError: there are no class folders, or what is there can be read in two ways.
    """
    named = {part: _given_folder(root, part, name) for part, name in given.items() if name is not None}
    if named.get("train") == root:
        return Layout({part: folder for part, folder in named.items() if part != "train"}, root)
    base = root if named else _unwrap(root)
    listing = list_folder(base, CURE)
    holding, empty = _by_content(listing)
    parts = _parts_by_name(base, holding, named) | named
    if "train" in parts or (parts and len(parts) == len(holding)):
        return Layout({part: _unwrap_part(parts[part]) for part in PARTS if part in parts}, None, tuple(
            _left_out(listing, holding, empty, parts.values())
        ))  # fmt: skip
    _refuse_ambiguous(base, holding, parts)
    _refuse_too_high(base, holding, empty)
    return Layout({}, base)


def part_of_name(name: str) -> Part | None:
    """The part that a folder of this name is, in any case and with words that say nothing: `Test_Set` is the test."""
    plain = PLAIN.fullmatch(name.lower())
    return WORDS[plain[1]] if plain else None


def _hinted_part(name: str) -> Part | None:
    """The part that a word in the name points to: `seg_train`, `test1`."""
    words = [word for word in re.findall("[a-z]+", name.lower()) if word in WORDS]
    return WORDS[words[0]] if words else None


def _given_folder(root: Path, part: Part, name: str) -> Path:
    folder = Path(os.path.normpath(root / name))
    if not folder.is_relative_to(root):
        raise ConfigError(f"data.{part}={name}: lies outside data.root; give a folder in it, relative to it")
    if not folder.is_dir():
        there = ", ".join(entry.name for entry in list_folder(root, CURE).folders[:8]) or "none"
        raise ConfigError(f"data.{part}={name}: no such folder in data.root={root}; there are: {there}")
    return folder


def _unwrap(folder: Path) -> Path:
    """The folder with several in it that is all that `folder` holds, at whatever depth, as unpacking leaves
    `photos/photos/cat`; else `folder` itself."""
    inner = folder
    while (listing := list_folder(inner, CURE)) and len(listing.folders) == 1 and not listing.images:
        only = listing.folders[0]
        if part_of_name(only.name) or only.is_symlink():
            return folder
        inner = Path(only.path)
    return inner if len(listing.folders) > 1 and not listing.images else folder


def _unwrap_part(folder: Path) -> Path:
    """The folder of the same name that is all that a part's folder holds, as in `train/train/cat`, or itself."""
    folders = list_folder(folder).folders
    same = len(folders) == 1 and folders[0].name.lower() == folder.name.lower()
    return Path(folders[0].path) if same and list_folder(folders[0].path).folders else folder


def _by_content(listing: Listing) -> tuple[dict[str, list[str]], list[str]]:
    """Of the folders, by path: those that hold images at whatever depth, each with the names of the class folders in
    it, and those that hold none. What holds class folders has two or more of them, or one that no image lies beside."""
    holding: dict[str, list[str]] = {}
    empty = []
    for path in (entry.path for entry in listing.folders):
        inner = list_folder(path)
        names = [entry.name for entry in inner.folders if holds_images(entry.path)]
        if names or inner.images:
            holding[path] = names if len(names) > 1 or not inner.images else []
        else:
            empty.append(path)
    return holding, empty


def _parts_by_name(base: Path, holding: Mapping[str, list[str]], named: Mapping[Part, Path]) -> dict[Part, Path]:
    """The parts that plain names tell, of the folders that hold class folders; `named` are settled already.

    Raises:
        DataError: two folders have the name of one part.
    """
    found: dict[Part, list[Path]] = {}
    for path in (Path(path) for path, classes in holding.items() if classes):
        part = part_of_name(path.name)
        if part and part not in named and path not in named.values():
            found.setdefault(part, []).append(path)
    findings = [
        f"{base}: {' and '.join(path.name for path in paths)} can both be the {part} part; "
        f"choose one: data.{part}={paths[0].name}"
        for part, paths in found.items()
        if len(paths) > 1
    ]
    if findings:
        raise DataError(*findings)
    return {part: paths[0] for part, paths in found.items()}


def _left_out(
    listing: Listing, holding: Mapping[str, list[str]], empty: Sequence[str], taken: Iterable[Path]
) -> Iterator[Ignored]:
    """What lies beside the folders of the parts."""
    yield from listing.ignored
    yield from (Ignored(entry.path, NO_CLASS) for entry in listing.images)
    yield from (Ignored(path, EMPTY) for path in empty)
    kept = list(taken)
    for path, classes in holding.items():
        if not any(folder.is_relative_to(path) for folder in kept):
            part = part_of_name(os.path.basename(path))
            yield Ignored(path, NO_PART if part is None or classes else f"{part} folder without class folders")


def _refuse_ambiguous(base: Path, holding: Mapping[str, list[str]], found: Mapping[Part, Path]) -> None:
    """Looks at folders of which none is called train, whether they are classes.

    Raises:
        DataError: some of them may be parts; the line has the keys that say so.
    """
    inner = {os.path.basename(path): set(classes) for path, classes in holding.items()}
    names = list(inner)
    flat = [name for name in names if part_of_name(name) and not inner[name]]
    if flat and all(map(part_of_name, names)):
        raise DataError(
            f"{base}: {' and '.join(flat)} should be of images but has no class folders; "
            "put the images of each class into a folder named after it"
        )
    hinted = {part: name for name in names if (part := _hinted_part(name)) and inner[name]}
    sets = sorted(inner.values(), key=len)
    alike = len(sets) > 1 and len(sets[0]) > 1 and sets[0] <= sets[-1]
    if found:
        keys = " ".join(f"data.{part}={path.name}" for part, path in found.items())
        raise DataError(
            f"{base}: {' and '.join(path.name for path in found.values())} may be a part beside the classes, "
            f"or a class; say data.train=. {keys} for a part, data.train=. alone for a class"
        )
    if len(hinted) > 1 or alike:
        parts = [part for part in PARTS if part in hinted or part != "val"]
        keys = " ".join(f"data.{part}={hinted.get(part, 'FOLDER')}" for part in parts)
        raise DataError(
            f"{base}: {first_names(names)} may be parts of a data set or its classes; say {keys} for parts, "
            "data.train=. for classes"
        )


def _refuse_too_high(base: Path, holding: Mapping[str, list[str]], empty: Sequence[str]) -> None:
    """Raises: DataError, where a single folder holds all images, in folders, and is not all that is there."""
    if len(holding) == 1 and len(*holding.values()) > 1:
        (path,) = holding
        beside = f" ({', '.join(map(os.path.basename, empty[:3]))}: none)" if empty else ""
        raise DataError(
            f"{base}: of its folders {os.path.basename(path)} alone holds images{beside}; set data.root={path}"
        )
