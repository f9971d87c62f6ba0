"""The images of a folder decoded once, into a file of raw pixels in the cache: checked whenever they are read.

A pack is a folder: `pixels.bin`, uint8 (N, C, H, W); `digests.bin`, the SHA-256 of each image, zeros for one that
cannot be read; and `pack.json`, which is written last: without it, the next process goes on where building stopped.

The pack's name is that of its files (`name_of_files`), so other files make another pack.
"""

import contextlib
import hashlib
import json
import math
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cnnbench.console import note
from cnnbench.data.class_folders import Files, name_of_files
from cnnbench.data.decode import decode_image
from cnnbench.data.images import ImageShape
from cnnbench.data.streaming import decode_batches, refuse
from cnnbench.disk import data_root, disk_errors, locked, write_atomically
from cnnbench.errors import DataError, DiskError
from cnnbench.progress import waiting
from cnnbench.runs.identity import DIGEST_BYTES

FORMAT = 1
PIXELS, DIGESTS, CONTENTS = "pixels.bin", "digests.bin", "pack.json"
CURE = "free some space, point XDG_CACHE_HOME elsewhere, or set data.pack=false"
UNREADABLE = bytes(DIGEST_BYTES)
CHUNK_IMAGES = 256


@dataclass(frozen=True)
class Pack:
    """A complete pack in `folder`. `bad` says of each image that cannot be read what is wrong with it."""

    folder: Path
    files: Files
    image_shape: ImageShape
    digests: bytes
    bad: Mapping[int, str]

    def read(self, rows: Tensor) -> Tensor:
        """The images at `rows`, uint8 (len(rows), C, H, W).

        Reads instead of mapping the file: mapped pages would count as the process's memory.

        Raises:
            DataError: naming the first that is not what was packed.
        """
        images = torch.empty(len(rows), *self.image_shape, dtype=torch.uint8)
        size = math.prod(self.image_shape)
        with _reading(self.folder), open(self.folder / PIXELS, "rb", buffering=0) as file:
            for row, pixels in zip(rows.tolist(), images.numpy(), strict=True):
                whole = os.preadv(file.fileno(), [pixels], row * size) == size
                if not whole or hashlib.sha256(pixels).digest() != digest_of(self.digests, row):
                    what = f"image {row}, {self.files.paths[row]}, is not what was packed"
                    raise DataError(f"{file.name}: {what}; remove {self.folder} to have it built anew")
        return images


def obtain_pack(
    root: Path,
    files: Files,
    class_names: tuple[str, ...],
    image_shape: ImageShape,
    *,
    workers: int,
    on_bad_image: str,
    share: float,
) -> Pack:
    """The pack of `files`, built if it is not there yet; of two processes one builds, the other waits.

    `share` is the part of the free space that it may take.

    Raises:
        DataError: it is damaged; or, with on_bad_image=error, images cannot be read.
        DiskError: there is no room for it.
    """
    name = f"{root.resolve().name}-{name_of_files(root, files.paths, image_shape, files.grey_range)}"
    folder = data_root(None) / "packs" / name
    contents = {
        "format": FORMAT,
        "image_shape": list(image_shape),
        "class_names": list(class_names),
        "labels": files.labels.tolist(),
    }
    if not (folder / CONTENTS).exists():
        with disk_errors(folder, CURE):
            folder.mkdir(parents=True, exist_ok=True)
        with locked(folder / ".lock", CURE):
            if not (folder / CONTENTS).exists():
                bad = _build(folder, files, image_shape, workers, on_bad_image, share)
                _complete(folder, contents | {"bad": bad})
    return _open(folder, files, image_shape, contents)


def _build(
    folder: Path, files: Files, image_shape: ImageShape, workers: int, on_bad_image: str, share: float
) -> dict[int, str]:
    """Decodes what is not in the pack yet; gives back what is wrong with each bad image. Call it under the lock."""
    done, bad = _intact(folder, files, image_shape)
    size = math.prod(image_shape)
    _check_room(folder, (len(files.paths) - done) * (size + DIGEST_BYTES), share)
    note(f"packing {len(files.paths):,} images once into {folder} ({len(files.paths) * size:,} bytes)")
    chunks = torch.arange(done, len(files.paths)).split(CHUNK_IMAGES) if done < len(files.paths) else ()
    with (
        waiting("packing images", len(files.paths), done) as wait,
        disk_errors(folder, CURE),
        _at(folder / PIXELS, done * size) as pixels,
        _at(folder / DIGESTS, done * DIGEST_BYTES) as digests,
    ):
        first = done
        for images, findings in decode_batches(files.paths, image_shape, chunks, workers, files.grey_range):
            for index in findings:
                images[index - first] = 0
            bad |= {index: line.removeprefix(f"{files.paths[index]}: ") for index, line in findings.items()}
            pixels.write(images.numpy())
            pixels.flush()  # before the digests, which say that it is there
            rows = enumerate(images.numpy(), first)
            digests.write(b"".join(UNREADABLE if i in findings else hashlib.sha256(row).digest() for i, row in rows))
            digests.flush()
            first += len(images)
            wait.advance(len(images))
        os.fsync(pixels.fileno())
        os.fsync(digests.fileno())
    if on_bad_image == "error":
        refuse({index: f"{files.paths[index]}: {line}" for index, line in bad.items()})
    return bad


def _intact(folder: Path, files: Files, image_shape: ImageShape) -> tuple[int, dict[int, str]]:
    """How many images a stopped build has left whole, and what is wrong with the bad ones among them."""
    size = math.prod(image_shape)
    bad: dict[int, str] = {}
    if not ((folder / PIXELS).exists() and (folder / DIGESTS).exists()):
        return 0, bad
    digests = (folder / DIGESTS).read_bytes()
    row = 0
    with open(folder / PIXELS, "rb") as file:
        while row < min(len(digests) // DIGEST_BYTES, len(files.paths)) and len(pixels := file.read(size)) == size:
            expected = digest_of(digests, row)
            if expected == UNREADABLE:
                try:
                    decode_image(files.paths[row], image_shape, files.grey_range)
                    break  # it can be read by now
                except DataError as error:
                    bad[row] = str(error).removeprefix(f"{files.paths[row]}: ")
            elif hashlib.sha256(pixels).digest() != expected:
                break
            row += 1
    return row, bad


def _complete(folder: Path, contents: dict[str, Any]) -> None:
    digests = hashlib.sha256((folder / DIGESTS).read_bytes()).hexdigest()
    write_atomically(folder / CONTENTS, json.dumps(contents | {"digests_sha256": digests}).encode())


def _open(folder: Path, files: Files, image_shape: ImageShape, contents: dict[str, Any]) -> Pack:
    """The pack in `folder`, if it is one of `contents` and whole as far as that can be told without the pixels."""
    with _reading(folder):
        found = json.loads((folder / CONTENTS).read_bytes())
        digests = (folder / DIGESTS).read_bytes()
        expected = contents | {"digests_sha256": hashlib.sha256(digests).hexdigest()}
        for key, value in expected.items():
            if found[key] != value:
                raise ValueError(f"{key} in {CONTENTS} does not fit")
        size = (folder / PIXELS).stat().st_size
        if size != len(files.paths) * math.prod(image_shape):
            raise ValueError(f"{PIXELS} has {size:,} bytes")
        bad = {int(row): f"{files.paths[int(row)]}: {line}" for row, line in found["bad"].items()}
    return Pack(folder, files, image_shape, digests, bad)


def digest_of(digests: bytes, row: int) -> bytes:
    """The SHA-256 of one image."""
    return digests[row * DIGEST_BYTES : (row + 1) * DIGEST_BYTES]


def _check_room(folder: Path, needed: int, share: float) -> None:
    with disk_errors(folder, CURE):
        free = shutil.disk_usage(folder).free
    if needed > share * free:
        limit = "" if share == 1 else f", of which a pack takes at most {share:.0%} unasked"
        raise DiskError(f"{folder}: packing the images needs {needed:,} bytes and {free:,} are free{limit}; {CURE}")


@contextlib.contextmanager
def _at(path: Path, position: int) -> Iterator[Any]:
    """`path`, cut at `position` and open for writing there."""
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW, 0o644)
    with os.fdopen(descriptor, "r+b") as file:
        file.truncate(position)
        file.seek(position)
        yield file


@contextlib.contextmanager
def _reading(folder: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise DataError(f"{folder}: the pack is damaged ({error}); remove it to have it built anew") from error
