"""A set of image files too large for memory: decoded by worker processes while the model trains."""

import atexit
import functools
import multiprocessing
import signal
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, get_worker_info

from cnnbench.data.class_folders import name_of_files
from cnnbench.data.decode import FULL_RANGE, GreyRange, decode_image
from cnnbench.data.images import ImageShape, channel_histogram, pixel_digests
from cnnbench.disk import data_root, make_folder, write_atomically
from cnnbench.errors import DataError, DiskError
from cnnbench.runs.identity import DIGEST_BYTES, Digests
from cnnbench.runs.signals import held, ignore_signals

TIMEOUT_SECONDS, CHECK_SECONDS = 120, 1  # that a batch may take; how often it is seen whether its worker lives
READ_BATCH = 256
NAMED = 50  # of the images that cannot be read, on the screen
ROOT = Path("/")

Decoded = tuple[Tensor, dict[int, str]]
WORKER_IS_LOST = (RuntimeError, EOFError, OSError)
"""What the loader raises of a dead or silent worker: its own word, or that what it has sent cannot be fetched."""


@dataclass(frozen=True)
class StreamedImages:
    """Image files, decoded each time they are asked for; `labels` is int64 (N,) on the CPU.

    `workers` processes decode ahead, in the order of the batches; with 0 the caller's process does it.
    """

    paths: tuple[str, ...]
    labels: Tensor
    image_shape: ImageShape
    workers: int
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    skipped: tuple[str, ...] = ()
    grey_range: GreyRange = FULL_RANGE

    def __len__(self) -> int:
        return len(self.labels)

    def batches(self, indices: Tensor, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
        if not len(indices):
            return
        labels = self.labels.index_select(0, indices).to(self.device)
        chunks = indices.split(batch_size)
        decoded = decode_batches(self.paths, self.image_shape, chunks, self.workers, self.grey_range)
        for (images, bad), batch_labels in zip(decoded, labels.split(batch_size), strict=True):
            refuse(bad)
            yield images.to(self.device, non_blocking=True), batch_labels

    def subset(self, indices: Tensor) -> "StreamedImages":
        paths = tuple(self.paths[i] for i in indices.tolist())
        return replace(self, paths=paths, labels=self.labels.index_select(0, indices))

    def relabelled(self, labels: Tensor) -> "StreamedImages":
        return replace(self, labels=labels)

    def to(self, device: torch.device | str) -> "StreamedImages":
        return replace(self, device=torch.device(device))

    def histogram(self) -> Tensor:
        """That of all images, which are read once for it and for `digests`; both are kept in the cache."""
        return self._facts()[1]

    def digests(self) -> Digests:
        return self._facts()[0]

    def _facts(self) -> tuple[Digests, Tensor]:
        """Digests and histogram. To know what images are takes an epoch's decoding, so what was learnt is kept."""
        channels, size = self.image_shape[0], len(self) * DIGEST_BYTES
        name = name_of_files(ROOT, self.paths, self.image_shape, self.grey_range)
        kept = data_root(None) / "digests" / f"{name}.bin"
        with suppress(OSError, ValueError):  # not there or not whole: read again
            content = kept.read_bytes()
            counts = torch.frombuffer(bytearray(content[size:]), dtype=torch.int64).view(channels, 256)
            return np.frombuffer(content[:size], np.uint8).reshape(len(self), DIGEST_BYTES), counts
        digests, counts = [], torch.zeros(channels, 256, dtype=torch.int64)
        bad: dict[int, str] = {}
        chunks = torch.arange(len(self)).split(READ_BATCH) if len(self) else ()
        decoded = decode_batches(self.paths, self.image_shape, chunks, self.workers, self.grey_range)
        for images, findings in decoded:
            bad |= findings
            digests.append(pixel_digests(images))
            counts += channel_histogram(images)
        refuse(bad)
        found = np.concatenate(digests) if digests else np.empty((0, DIGEST_BYTES), np.uint8)
        with suppress(DiskError):
            make_folder(kept.parent)
            write_atomically(kept, found.tobytes() + counts.numpy().tobytes())
        return found, counts


def refuse(bad: Mapping[int, str]) -> None:
    """Raises DataError with a line for each of the findings, of very many for the first, if there are any."""
    lines = [f"{line}; repair or remove it, or set data.on_bad_image=skip" for line in bad.values()]
    if len(lines) > NAMED:
        lines[NAMED:] = [f"{len(lines) - NAMED:,} more images: cannot be read; `cnnbench data check FOLDER` lists all"]
    if lines:
        raise DataError(*lines)


def decode_batches(
    paths: Sequence[str],
    image_shape: ImageShape,
    batches: Iterable[Tensor],
    workers: int,
    grey_range: GreyRange = FULL_RANGE,
) -> Iterator[Decoded]:
    """The images of each batch of indices into `paths`, in order, decoded ahead by `workers` processes.

    Yields:
        Images, uint8 (B, C, H, W), and what is wrong with the bad ones, by index; their pixels mean nothing.

    Raises:
        DataError: a worker died or gave nothing for 120 s; names the images the workers were at.
    """
    progress = torch.zeros(max(workers, 1), dtype=torch.int64).share_memory_()
    loader = DataLoader(
        _Batches(paths, image_shape, grey_range, progress),
        batch_size=None,  # an item is a whole batch
        sampler=[chosen.tolist() for chosen in batches],
        num_workers=workers,
        collate_fn=_unchanged,
        timeout=CHECK_SECONDS if workers else 0,
        multiprocessing_context=_start_method() if workers else None,
        worker_init_fn=_outlive_signals,
        generator=torch.Generator(),  # its own: the default one would draw from the run's random numbers
    )
    if workers:
        _kill_workers_at_exit()
    try:
        started = _started(loader)
        while (batch := _next_of(started)) is not None:
            yield batch
    except WORKER_IS_LOST as error:
        if not workers:
            raise
        current = ", ".join(paths[i] for i in progress.unique().tolist())
        what = f"a worker died or took over {TIMEOUT_SECONDS} s while decoding this"
        raise DataError(f"{current}: {what}; repair or remove it, or set data.workers lower") from error


def _started(loader: "DataLoader[Decoded]") -> Iterator[Decoded]:
    """The loader at work, without the handler by which torch raises wherever this process is when a worker dies."""
    handler = signal.getsignal(signal.SIGCHLD)
    try:
        with held():  # until the workers ignore them
            return iter(loader)
    finally:
        if signal.getsignal(signal.SIGCHLD) is not handler:
            signal.signal(signal.SIGCHLD, handler)


def _next_of(started: Iterator[Decoded]) -> Decoded | None:
    """The next batch, None after the last; asks for it again while the loader says that it waited too long."""
    until = time.monotonic() + TIMEOUT_SECONDS
    while True:
        try:
            return next(started, None)
        except RuntimeError as error:
            if "timed out" not in str(error) or time.monotonic() > until:
                raise


class _Batches(Dataset):
    """Lists of indices to decoded batches; errors as text, which crosses processes whole."""

    def __init__(self, paths: Sequence[str], image_shape: ImageShape, grey_range: GreyRange, progress: Tensor) -> None:
        self.paths = paths
        self.image_shape = image_shape
        self.grey_range = grey_range
        self.progress = progress

    def __getitem__(self, indices: list[int]) -> Decoded:
        worker = get_worker_info()
        place = worker.id if worker else 0
        images = torch.empty(len(indices), *self.image_shape, dtype=torch.uint8)
        bad = {}
        for slot, index in zip(images, indices, strict=True):
            self.progress[place] = index
            try:
                slot.copy_(decode_image(self.paths[index], self.image_shape, self.grey_range))
            except DataError as error:
                bad[index] = str(error)
        return images, bad


def _outlive_signals(_: int) -> None:
    ignore_signals()


def _start_method() -> str:
    """How this process starts workers; in a process that joblib has started, where it is joblib's own, the system's."""
    method, known = multiprocessing.get_start_method(), multiprocessing.get_all_start_methods()
    return method if method in known else known[0]


@functools.cache
def _kill_workers_at_exit() -> None:
    """Once for this process, which multiprocessing would else have wait for ever: by signals that they ignore."""
    atexit.register(_kill_workers)


def _kill_workers() -> None:
    for child in multiprocessing.active_children():
        if child.daemon:
            child.kill()


def _unchanged(batch: Any) -> Any:
    return batch
