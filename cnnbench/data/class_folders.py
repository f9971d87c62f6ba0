"""The image files in folders of classes, found but not decoded."""

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from cnnbench.data.decode import EXTENSIONS, FULL_RANGE, GreyRange
from cnnbench.data.folder_layout import CURE, find_layout
from cnnbench.data.images import ImageShape
from cnnbench.data.listing import EMPTY, NO_CLASS, first_names, images_below, list_folder
from cnnbench.data.source import Ignored, Part
from cnnbench.data.splits import TEST_SEED, stratified_order
from cnnbench.errors import DataError
from cnnbench.seeds import generator

DECODER = 1  # raise it when decode_image gives other pixels: what is kept of them is then made anew


@dataclass(frozen=True)
class Files:
    """The images of one part: `labels` is int64 (N,). `links` holds those that are symbolic links, and maybe others.
    `grey_range` is what `decode_image` is to make of 16-bit ones.

    Paths are strings: a large folder has so many that making a `Path` of each is felt at the start.
    """

    paths: tuple[str, ...]
    labels: Tensor
    links: frozenset[str] = frozenset()
    grey_range: GreyRange = FULL_RANGE

    def subset(self, indices: Tensor) -> "Files":
        return replace(self, paths=tuple(self.paths[i] for i in indices.tolist()), labels=self.labels[indices])


@dataclass(frozen=True)
class Parts:
    """The files of each part that is there; `taken` says where they lie, `ignored` what takes no part, and `problems`,
    a line each, what keeps them from being trained on."""

    class_names: tuple[str, ...]
    files: Mapping[Part, Files]
    taken: Mapping[Part, str]
    ignored: tuple[Ignored, ...]
    problems: tuple[str, ...]


def name_of_files(root: Path, paths: Sequence[str], image_shape: ImageShape, grey_range: GreyRange) -> str:
    """24 hex digits that change with the place of `root`, the names, sizes and modification times of its files, and
    what they are decoded to. Not noticed: new content under a name whose size and time were both kept."""
    scaled = () if grey_range == FULL_RANGE else grey_range
    parts = [repr((DECODER, os.fsencode(root.resolve()), image_shape, *scaled)).encode()]
    start = len(str(root))
    for path in paths:
        try:
            stat = os.stat(path)
            state = f"\0{stat.st_size}\0{stat.st_mtime_ns}\0"
        except OSError:  # as of a link that leads nowhere
            state = "\0\0"
        parts.append(os.fsencode(path[start:] + state))
    return hashlib.sha256(b"".join(parts)).hexdigest()[:24]


def find_parts(root: Path, test_fraction: float, given: Mapping[Part, str | None]) -> Parts:
    """The class names and the image files of each part that is there or is cut off.

    `given` names the folders of parts, relative to `root`, that their names do not tell. Without training images, to
    evaluate on: a root with a test folder alone, or with `test_fraction` 1.

    Raises:
        ConfigError: a given folder is not there.
        DataError: there are no classes, or the layout can be read in two ways.
    """
    layout = find_layout(root, given)
    for path in layout.parts.values():
        _check_inside(path, root)
    folders: dict[Part, Path] = {} if layout.classes is None else {"train": layout.classes}
    folders |= layout.parts
    first = next(iter(folders.values()))
    class_names = tuple(path.name for path in _class_folders(first, layout.parts))
    ignored, problems = list(layout.ignored), []
    files: dict[Part, Files] = {}
    for part, folder in folders.items():
        files[part], found = _files(folder, class_names, layout.parts, ignored, may_lack=folder != first)
        problems += found
    taken = {part: os.path.relpath(folder, root) for part, folder in folders.items()}
    if layout.classes is not None and "test" not in files and len(files["train"].paths):
        _cut_off_test(files, taken, test_fraction)
    return Parts(class_names, files, taken, tuple(ignored), tuple(problems))


def _cut_off_test(files: dict[Part, Files], taken: dict[Part, str], test_fraction: float) -> None:
    """Puts a fixed share of the training images, in the proportions of the classes, into the test part, in place."""
    if test_fraction == 1:
        files["test"], taken["test"] = files.pop("train"), taken.pop("train")
        return
    train = files["train"]
    order = stratified_order(train.labels, generator(TEST_SEED, "image_folder"))
    test = min(round(test_fraction * len(order)), len(order) - len(train.labels.unique()))
    if test:
        files["train"] = train.subset(order[:-test].sort().values)
        files["test"] = train.subset(order[-test:].sort().values)
        taken["test"] = f"{taken['train']}, a share of {test_fraction:g}"


def _class_folders(root: Path, parts: Mapping[Part, Path], at_least: int = 2) -> list[Path]:
    """The folders in `root`, by name, but for those that hold a part other than `root` itself."""
    apart = [folder for folder in parts.values() if folder != root]
    folders = sorted(Path(entry.path) for entry in list_folder(root, CURE).folders)
    folders = [path for path in folders if not any(folder.is_relative_to(path) for folder in apart)]
    if not folders:
        raise DataError(f"{root}: has no class folders; put the images of each class into a folder named after it")
    if len(folders) < at_least:
        raise DataError(f"{root}: has one class folder, {folders[0].name}; a classifier needs at least two")
    return folders


def _files(
    root: Path, class_names: Sequence[str], parts: Mapping[Part, Path], ignored: list[Ignored], *, may_lack: bool
) -> tuple[Files, list[str]]:
    """The images of all classes in `root`, by class, then by path, and what is wrong with the folders.

    `may_lack` says whether a class may have none.
    """
    listing = list_folder(root, CURE)
    ignored += listing.ignored
    ignored += (Ignored(entry.path, NO_CLASS) for entry in listing.images)
    label_of = {name: label for label, name in enumerate(class_names)}
    paths: list[str] = []
    labels: list[int] = []
    links: set[str] = set()
    problems: list[str] = []
    strangers: list[str] = []
    for folder in _class_folders(root, parts, at_least=1 if may_lack else 2):
        _check_inside(folder, root)
        images = list(images_below(folder, ignored))
        if not images and may_lack:
            ignored.append(Ignored(str(folder), EMPTY))
        elif not images:
            problems.append(f"{folder}: has no images ({' '.join(sorted(EXTENSIONS))}); add some or remove the folder")
        elif folder.name not in label_of:
            strangers.append(folder.name)
        else:
            paths += [entry.path for entry in images]
            links |= {entry.path for entry in images if entry.is_symlink()}
            labels += [label_of[folder.name]] * len(images)
    if strangers:
        problems.append(f"{root}: has classes that training lacks: {first_names(strangers)}; make them equal")
    if not (problems or paths):
        problems.append(f"{root}: has no images; add some or remove the folder")
    return Files(tuple(paths), torch.tensor(labels, dtype=torch.int64), frozenset(links)), problems


def _check_inside(folder: Path, root: Path) -> None:
    if not folder.resolve().is_relative_to(root.resolve()):
        raise DataError(f"{folder}: is a link out of {root}, which is not followed; move its images there")
