"""What each image file of a folder is, found out by several processes."""

import hashlib
import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cnnbench.data.check.near import SIDE, difference_hashes
from cnnbench.data.decode import inspect_image
from cnnbench.errors import DataError
from cnnbench.runs.signals import ignore_signals

DECODED_SIDE = 256  # of a large JPEG: enough for all that is looked at, and several times as fast
CHUNK_IMAGES = 32
FEW_IMAGES = 200  # are looked at before the processes would have started


@dataclass(frozen=True)
class Facts:
    """One image file. `problem` says why it cannot be read; the other fields then mean nothing.

    `digest` is of its pixels as RGB, `hashes` are those of the image and its mirror images, uint64 (3,), `small` is the
    image as grey levels, uint8 (SIDE, SIDE).
    """

    problem: str | None = None
    format: str = ""
    mode: str = ""
    width: int = 0
    height: int = 0
    frames: int = 1
    is_rotated: bool = False
    has_transparency: bool = False
    values: tuple[int, int] | None = None
    digest: bytes = b""
    hashes: NDArray[np.uint64] | None = None
    small: NDArray[np.uint8] | None = None


def scan(paths: Sequence[str], workers: int, progress: Callable[[int], None]) -> list[Facts]:
    """The facts of each file, in order; `progress` is told how many more are done.

    Raises:
        DataError: a process died, as for want of memory.
    """
    chunks = [paths[start : start + CHUNK_IMAGES] for start in range(0, len(paths), CHUNK_IMAGES)]
    found: list[Facts] = []
    for facts in map(_facts_of, chunks) if len(paths) < FEW_IMAGES else _in_processes(chunks, workers):
        found += facts
        progress(len(facts))
    return found


def _in_processes(chunks: Sequence[Sequence[str]], workers: int) -> Iterator[list[Facts]]:
    known = multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("fork" if "fork" in known else None)  # another would import torch in each
    pool = ProcessPoolExecutor(max(workers, 1), mp_context=context, initializer=ignore_signals)
    done = 0
    try:
        for facts in pool.map(_facts_of, chunks):
            yield facts
            done += 1
    except BrokenProcessPool as error:
        what = "a process died while reading this or one of the next images, perhaps for want of memory"
        raise DataError(f"{chunks[done][0]}: {what}; look at them, or set data.workers=1") from error
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _facts_of(paths: Sequence[str]) -> list[Facts]:
    return [facts_of(path) for path in paths]


def facts_of(path: str) -> Facts:
    """What the file at `path` is."""
    try:
        seen = inspect_image(path, DECODED_SIDE)
    except DataError as error:
        return Facts(problem=str(error).removeprefix(f"{path}: "))
    digest = hashlib.sha256(repr(seen.image.size).encode() + seen.image.tobytes()).digest()
    small = np.asarray(seen.image.convert("L").resize((SIDE, SIDE), Image.Resampling.BOX, reducing_gap=2.0))
    return Facts(
        None,
        seen.format,
        seen.mode,
        seen.width,
        seen.height,
        seen.frames,
        seen.is_rotated,
        seen.has_transparency,
        seen.values,
        digest,
        difference_hashes(seen.image),
        small,
    )
