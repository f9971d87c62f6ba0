"""CIFAR-10 and CIFAR-100 from their original archives (Krizhevsky, 2009), packed or unpacked.

The binary version is rows of label bytes and 3,072 pixels. The Python version, which torchvision unpacks, is
a pickle: it is never unpickled, its opcodes are only read (see cifar_python.py).
"""

import tarfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from cnnbench.config.settings import FolderPath
from cnnbench.data.cifar_python import parse_batch
from cnnbench.data.download import Remote, obtain
from cnnbench.data.images import ResidentImages
from cnnbench.data.source import Part, Source, checked_labels
from cnnbench.disk import data_root
from cnnbench.errors import DataError

IMAGE_SHAPE = (3, 32, 32)
PIXELS = 3072
MAX_MEMBER_BYTES = 1 << 28  # the largest real one, CIFAR-100's training file, has 155 MB

CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
CIFAR100_CLASSES_TEXT = """
    apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can
    castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin
    elephant flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster
    man maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck
    pine_tree plain plate poppy porcupine possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk
    skyscraper snail snake spider squirrel streetcar sunflower sweet_pepper table tank telephone television tiger
    tractor train trout tulip turtle wardrobe whale willow_tree wolf woman worm"""
CIFAR100_CLASSES = tuple(CIFAR100_CLASSES_TEXT.split())


@dataclass(frozen=True)
class Layout:
    """How one version of the set is stored: an archive, the folder within it, the files of each part."""

    archive: str
    folder: str
    train: tuple[str, ...]
    test: tuple[str, ...]
    label_bytes: int | None
    """Labels before each row's pixels, of which the last counts; None: the Python version."""


CIFAR10_BINARY = Remote(
    "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
    170052171,
    "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
)
CIFAR100_BINARY = Remote(
    "https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",
    168513733,
    "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
)
CIFAR10_LAYOUTS = (
    Layout(
        "cifar-10-binary.tar.gz",
        "cifar-10-batches-bin",
        tuple(f"data_batch_{i}.bin" for i in range(1, 6)),
        ("test_batch.bin",),
        1,
    ),
    Layout(
        "cifar-10-python.tar.gz",
        "cifar-10-batches-py",
        tuple(f"data_batch_{i}" for i in range(1, 6)),
        ("test_batch",),
        None,
    ),
)
CIFAR100_LAYOUTS = (
    Layout("cifar-100-binary.tar.gz", "cifar-100-binary", ("train.bin",), ("test.bin",), 2),  # coarse, fine
    Layout("cifar-100-python.tar.gz", "cifar-100-python", ("train",), ("test",), None),
)


def cifar10(*, root: FolderPath | None, download: bool) -> Source:
    """Photographs of 10 classes, 3x32x32, 50,000 + 10,000."""
    return _source("cifar10", CIFAR10_CLASSES, CIFAR10_LAYOUTS, CIFAR10_BINARY, data_root(root), download)


def cifar100(*, root: FolderPath | None, download: bool) -> Source:
    """Photographs of 100 classes, 3x32x32, 50,000 + 10,000."""
    return _source("cifar100", CIFAR100_CLASSES, CIFAR100_LAYOUTS, CIFAR100_BINARY, data_root(root), download)


def _source(
    name: str,
    class_names: tuple[str, ...],
    layouts: Sequence[Layout],
    remote: Remote,
    root: Path,
    download: bool,
) -> Source:
    found = _find(layouts, root)
    layout, place = found or (layouts[0], obtain(remote, root, download))

    def read(part: Part) -> ResidentImages:
        names = layout.train if part == "train" else layout.test
        batches = [_batch(layout, content, origin) for content, origin in _contents(place, layout.folder, names)]
        images, labels = (torch.cat(tensors) for tensors in zip(*batches, strict=True))
        return ResidentImages(images, checked_labels(labels, len(class_names), place))

    return Source(name, str(place), IMAGE_SHAPE, class_names, read)


def _find(layouts: Sequence[Layout], root: Path) -> tuple[Layout, Path] | None:
    """The first layout whose files are all in `root` or its folder, or whose archive is in `root`."""
    for layout in layouts:
        for folder in (root / layout.folder, root):
            if all((folder / name).is_file() for name in (*layout.train, *layout.test)):
                return layout, folder
        if (root / layout.archive).is_file():
            return layout, root / layout.archive
    return None


def _contents(place: Path, folder: str, names: Sequence[str]) -> list[tuple[bytes, Path]]:
    """The bytes and the path of each named file, from a folder or from the archive `place`."""
    if place.is_dir():
        paths = [place / name for name in names]
        return [(_whole(path), path) for path in paths]
    wanted = {f"{folder}/{name}": name for name in names}
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(place) as archive:
            for member in archive:  # in the archive's order: going back would decompress it again
                if member.name in wanted and member.isreg():
                    file = archive.extractfile(member)
                    assert file is not None  # a regular file
                    _check_size(member.size, place / member.name)
                    found[wanted[member.name]] = file.read()
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise DataError(f"{place}: damaged ({error}); fetch the archive again") from error
    missing = [name for name in names if name not in found]
    if missing:
        raise DataError(f"{place}: has no {folder}/{missing[0]}; fetch the archive again")
    return [(found[name], place / folder / name) for name in names]


def _whole(path: Path) -> bytes:
    try:
        _check_size(path.stat().st_size, path)
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error


def _check_size(size: int, origin: Path) -> None:
    if size > MAX_MEMBER_BYTES:
        raise DataError(f"{origin}: {size} bytes, expected at most {MAX_MEMBER_BYTES}; it is no file of CIFAR's")


def _batch(layout: Layout, content: bytes, origin: Path) -> tuple[Tensor, Tensor]:
    """Images uint8 (N, 3, 32, 32) and labels uint8 (N,) of one file."""
    if layout.label_bytes is None:
        pixels, numbers = parse_batch(content, origin)
        return _pixels(pixels).view(-1, *IMAGE_SHAPE), torch.tensor(numbers)
    row = layout.label_bytes + PIXELS
    if not content or len(content) % row:
        raise DataError(f"{origin}: {len(content)} bytes, expected a multiple of {row}; fetch the archive again")
    rows = _pixels(content).view(-1, row)
    return rows[:, layout.label_bytes :].reshape(-1, *IMAGE_SHAPE), rows[:, layout.label_bytes - 1]


def _pixels(content: bytes) -> Tensor:
    return torch.frombuffer(bytearray(content), dtype=torch.uint8)
