"""The image files in folders of classes, found but not opened."""

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from pathlib import Path

import torch
from torch import Tensor

from cnnbench.data.decode import EXTENSIONS
from cnnbench.data.images import ImageShape
from cnnbench.data.source import Part
from cnnbench.data.splits import TEST_SEED, stratified_order
from cnnbench.errors import DataError
from cnnbench.seeds import generator

PART_FOLDERS: dict[str, Part] = {
    "train": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
}


DECODER = 1  # raise it when decode_image gives other pixels: what is kept of them is then made anew


@dataclass(frozen=True)
class Files:
    """The images of one part: `labels` is int64 (N,). `links` holds those that are symbolic links, and maybe others.

    Paths are strings: a large folder has so many that making a `Path` of each is felt at the start.
    """

    paths: tuple[str, ...]
    labels: Tensor
    links: frozenset[str] = frozenset()

    def subset(self, indices: Tensor) -> "Files":
        return replace(self, paths=tuple(self.paths[i] for i in indices.tolist()), labels=self.labels[indices])


def name_of_files(root: Path, paths: Sequence[str], image_shape: ImageShape) -> str:
    """24 hex digits that change with the place of `root`, the names, sizes and modification times of its files, and
    the shape they are decoded to. Not noticed: new content under a name whose size and time were both kept."""
    parts = [repr((DECODER, os.fsencode(root.resolve()), image_shape)).encode()]
    start = len(str(root))
    for path in paths:
        try:
            stat = os.stat(path)
            state = f"\0{stat.st_size}\0{stat.st_mtime_ns}\0"
        except OSError:  # as of a link that leads nowhere
            state = "\0\0"
        parts.append(os.fsencode(path[start:] + state))
    return hashlib.sha256(b"".join(parts)).hexdigest()[:24]


def find_parts(root: Path, test_fraction: float) -> tuple[tuple[str, ...], dict[Part, Files]]:
    """The class names and the image files of each part that is there or is cut off.

    Without training images, to evaluate on: a root with a test folder alone, or with `test_fraction` 1.

    Raises:
        DataError: naming the folder that is missing, empty, or has other classes than training has.
    """
    folders = _folders(root)
    named = {PART_FOLDERS[path.name.lower()]: path for path in folders if path.name.lower() in PART_FOLDERS}
    for path in named.values():
        _check_inside(path, root)
    if "train" in named or (named and len(named) == len(folders)):
        first = named.get("train", next(iter(named.values())))
        class_names = tuple(path.name for path in _class_folders(first))
        return class_names, {part: _files(folder, class_names) for part, folder in named.items()}
    class_names = tuple(path.name for path in _class_folders(root))
    files = _files(root, class_names)
    if test_fraction == 1:
        return class_names, {"test": files}
    order = stratified_order(files.labels, generator(TEST_SEED, "image_folder"))
    test = min(round(test_fraction * len(order)), len(order) - len(class_names))
    if not test:
        return class_names, {"train": files}
    train_indices, test_indices = order[:-test].sort().values, order[-test:].sort().values
    return class_names, {"train": files.subset(train_indices), "test": files.subset(test_indices)}


def _folders(root: Path) -> list[Path]:
    """The folders in `root`, by name; hidden ones do not count."""
    try:
        with os.scandir(root) as entries:
            return sorted(Path(entry.path) for entry in entries if is_folder(entry) and not entry.name.startswith("."))
    except OSError as error:
        raise DataError(f"{root}: cannot be listed ({error.strerror}); set data.root to a folder of images") from error


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether it is a folder or a link to one."""
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False


def _class_folders(root: Path) -> list[Path]:
    folders = _folders(root)
    if not folders:
        raise DataError(f"{root}: has no class folders; put the images of each class into a folder named after it")
    if len(folders) == 1:
        raise DataError(f"{root}: has one class folder, {folders[0].name}; a classifier needs at least two")
    return folders


def _files(root: Path, class_names: Sequence[str]) -> Files:
    """The images of all classes in `root`, by class, then by path."""
    folders = _class_folders(root)
    _check_classes(root, {path.name for path in folders}, set(class_names))
    paths: list[str] = []
    counts = []
    links: set[str] = set()
    for folder in folders:
        _check_inside(folder, root)
        images = list(_images(folder))
        if not images:
            raise DataError(f"{folder}: has no images ({' '.join(sorted(EXTENSIONS))}); add some or remove the folder")
        paths += [entry.path for entry in images]
        links |= {entry.path for entry in images if entry.is_symlink()}
        counts.append(len(images))
    labels = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    return Files(tuple(paths), labels, frozenset(links))


def _images(folder: str | os.PathLike[str]) -> Iterator[os.DirEntry[str]]:
    """The image files in `folder` and below, in the order of their names; linked folders are not entered."""
    try:
        with os.scandir(folder) as found:
            entries = sorted(found, key=attrgetter("name"))
    except OSError as error:
        raise DataError(f"{folder}: cannot be listed ({error.strerror}); repair or remove it") from error
    for entry in entries:
        if is_folder(entry):
            if not entry.is_symlink():
                yield from _images(entry.path)
        elif os.path.splitext(entry.name)[1].lower() in EXTENSIONS and not entry.name.startswith("."):
            yield entry


def _check_classes(root: Path, found: set[str], expected: set[str]) -> None:
    differences = [
        f"{word} {', '.join(sorted(names)[:5])}{', ...' if len(names) > 5 else ''}"
        for word, names in (("lacks", expected - found), ("has besides", found - expected))
        if names
    ]
    if differences:
        raise DataError(
            f"{root}: its classes differ from those of training: it {' and '.join(differences)}; make them equal"
        )


def _check_inside(folder: Path, root: Path) -> None:
    if folder.is_symlink() and not folder.resolve().is_relative_to(root.resolve()):
        raise DataError(f"{folder}: is a link out of {root}, which is not followed; move its images there")
