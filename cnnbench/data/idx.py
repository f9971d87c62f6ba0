"""MNIST and Fashion-MNIST: idx files, plain or gzipped, as their authors, Debian, torchvision and Kaggle ship them.

The format: two zero bytes, the type (8: uint8), the number of dimensions, each dimension as a big-endian
uint32, then the values (http://yann.lecun.com/exdb/mnist/).
"""

import gzip
import os
import struct
import zlib
from collections.abc import Mapping
from io import BufferedIOBase
from pathlib import Path

import torch
from torch import Tensor

from cnnbench.config.settings import FolderPath
from cnnbench.data.download import Remote, obtain
from cnnbench.data.images import ResidentImages
from cnnbench.data.source import Part, Source, checked_labels
from cnnbench.disk import data_root
from cnnbench.errors import DataError

UINT8 = 8
GZIP = b"\x1f\x8b"
MAX_RATIO = 1032  # no deflate stream expands further (zlib's technical notes)
PREFIXES = {"train": "train", "test": "t10k"}
DIGITS = tuple("0123456789")
GARMENTS = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip

MNIST_URL = "https://ossci-datasets.s3.amazonaws.com/mnist"
MNIST_FILES = {
    "train-images-idx3-ubyte": (9912422, "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"),
    "train-labels-idx1-ubyte": (28881, "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"),
    "t10k-images-idx3-ubyte": (1648877, "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"),
    "t10k-labels-idx1-ubyte": (4542, "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"),
}
FASHION_URL = "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion"
FASHION_FILES = {
    "train-images-idx3-ubyte": (26421880, "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"),
    "train-labels-idx1-ubyte": (29515, "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"),
    "t10k-images-idx3-ubyte": (4422102, "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"),
    "t10k-labels-idx1-ubyte": (5148, "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"),
}
DEBIAN_FASHION = Path("/usr/share/datasets/fashion-mnist")  # from Debian's package dataset-fashion-mnist


def mnist(*, root: FolderPath | None, download: bool) -> Source:
    """Handwritten digits, 1x28x28, 60,000 + 10,000 (LeCun, Cortes, Burges 1998)."""
    remotes = _remotes(MNIST_URL, MNIST_FILES)
    return _source("mnist", DIGITS, _paths(root, "MNIST", remotes, download))


def fashion_mnist(*, root: FolderPath | None, download: bool) -> Source:
    """Pieces of clothing, 1x28x28, 60,000 + 10,000 (Xiao, Rasul, Vollgraf, arXiv 1708.07747)."""
    remotes = _remotes(FASHION_URL, FASHION_FILES)
    if root is None and all((DEBIAN_FASHION / remote.name).is_file() for remote in remotes.values()):
        root = FolderPath(str(DEBIAN_FASHION))
    return _source("fashion_mnist", GARMENTS, _paths(root, "FashionMNIST", remotes, download))


def _remotes(url: str, files: Mapping[str, tuple[int, str]]) -> dict[str, Remote]:
    return {stem: Remote(f"{url}/{stem}.gz", *pinned) for stem, pinned in files.items()}


def _paths(root: str | None, folder: str, remotes: Mapping[str, Remote], download: bool) -> dict[str, Path]:
    """Each file's path: in `root` itself or in torchvision's `<root>/<folder>/raw`, under any of its `spellings`."""
    base = data_root(root)
    raw = base / folder / "raw"
    paths = {}
    for stem, remote in remotes.items():
        places = (place / name for place in (base, raw) for name in spellings(stem))
        paths[stem] = next(filter(Path.is_file, places), None) or obtain(remote, raw, download)
    return paths


def spellings(stem: str) -> list[str]:
    """The names that people have the file `stem` under: with a dot before `idx`, gzipped, and in a folder of its own
    name, as Kaggle unpacks it."""
    names = [stem, stem.replace("-idx", ".idx")]
    names += [f"{name}.gz" for name in names]
    return names + [f"{folder.removesuffix('.gz')}/{name}" for folder in names for name in names]


def _source(name: str, class_names: tuple[str, ...], paths: Mapping[str, Path]) -> Source:
    def read(part: Part) -> ResidentImages:
        images_path = paths[f"{PREFIXES[part]}-images-idx3-ubyte"]
        labels_path = paths[f"{PREFIXES[part]}-labels-idx1-ubyte"]
        images, labels = read_idx(images_path, dimensions=3), read_idx(labels_path, dimensions=1)
        if len(images) != len(labels):
            raise DataError(f"{labels_path}: {len(labels)} labels for the {len(images)} images of {images_path}")
        if images.shape[1:] != (height, width):
            raise DataError(f"{images_path}: images of {tuple(images.shape[1:])}, in training {height, width}")
        return ResidentImages(images.unsqueeze(1), checked_labels(labels, len(class_names), labels_path))

    train_images = paths["train-images-idx3-ubyte"]
    _, height, width = read_idx_shape(train_images, dimensions=3)
    return Source(name, str(train_images.parent), (1, height, width), class_names, read)


def read_idx_shape(path: Path, dimensions: int) -> tuple[int, ...]:
    """The shape that the header of an idx file of uint8 states, if its size can hold that much.

    Raises:
        DataError: it is no such file.
    """
    with _Opened(path) as file:
        return _header(file, path, dimensions)


def read_idx(path: Path, dimensions: int) -> Tensor:
    """The uint8 values of an idx file. Takes no more memory than the header states and the file can hold.

    Raises:
        DataError: it is no idx file of uint8 with so many `dimensions`, or not as long as its header states.
    """
    with _Opened(path) as file:
        shape = _header(file, path, dimensions)
        values = torch.empty(shape, dtype=torch.uint8)
        expected = values.numel()
        received = file.readinto(values.numpy().data)
        if received != expected:
            raise DataError(f"{path}: {received} of the {expected} values its header states; fetch the file again")
        if file.read(1):
            raise DataError(f"{path}: more than the {expected} values its header states; fetch the file again")
    return values


def is_gzip(path: Path) -> bool:
    """Whether the file begins as a gzip file does: some browsers unpack what they download and keep its name."""
    with path.open("rb") as file:
        return file.read(len(GZIP)) == GZIP


class _Opened:
    """The bytes of a plain or gzipped file; what goes wrong within becomes a DataError that names it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> BufferedIOBase:
        try:
            self.file: BufferedIOBase = gzip.open(self.path) if is_gzip(self.path) else self.path.open("rb")
        except OSError as error:
            raise DataError(f"{self.path}: cannot be opened ({error.strerror})") from error
        return self.file

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        self.file.close()
        if isinstance(error, OSError | EOFError | zlib.error):
            raise DataError(f"{self.path}: damaged ({error}); fetch the file again") from error


def _header(file: BufferedIOBase, path: Path, dimensions: int) -> tuple[int, ...]:
    expected = bytes((0, 0, UINT8, dimensions))
    magic = file.read(4)
    if magic != expected:
        raise DataError(f"{path}: begins with {magic.hex() or 'nothing'}, an idx file of these begins {expected.hex()}")
    sizes = file.read(4 * dimensions)
    if len(sizes) != 4 * dimensions:
        raise DataError(f"{path}: ends within its header; fetch the file again")
    shape = struct.unpack(f">{dimensions}I", sizes)
    stated = 1
    for size in shape:
        stated *= size
    possible = os.stat(path).st_size * (MAX_RATIO if is_gzip(path) else 1)
    if not stated or stated > possible:
        raise DataError(f"{path}: its header states the shape {shape}, which the file cannot hold; fetch it again")
    return shape
