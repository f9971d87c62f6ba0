"""Packed images too many for memory: read from the disk in the order asked for, ahead of the training."""

import hashlib
import json
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from cnnbench.data.images import ImageShape, channel_histogram
from cnnbench.data.pack import Pack
from cnnbench.disk import write_atomically
from cnnbench.errors import DiskError
from cnnbench.runs.identity import DIGEST_BYTES, Digests

BATCHES_AHEAD = 4
HISTOGRAM_BATCH = 256


@dataclass(frozen=True)
class PackedImages:
    """The images at `rows` of a pack, int64 (N,); `labels` is int64 (N,). Both on the CPU."""

    pack: Pack
    rows: Tensor
    labels: Tensor
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    skipped: tuple[str, ...] = ()

    @property
    def image_shape(self) -> ImageShape:
        return self.pack.image_shape

    def __len__(self) -> int:
        return len(self.labels)

    def batches(self, indices: Tensor, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
        if not len(indices):
            return
        labels = self.labels.index_select(0, indices).to(self.device).split(batch_size)
        chosen = self.rows.index_select(0, indices).split(batch_size)
        for images, batch_labels in zip(_read_ahead(self.pack, chosen), labels, strict=True):
            yield images.to(self.device, non_blocking=True), batch_labels

    def subset(self, indices: Tensor) -> "PackedImages":
        return replace(self, rows=self.rows.index_select(0, indices), labels=self.labels.index_select(0, indices))

    def relabelled(self, labels: Tensor) -> "PackedImages":
        return replace(self, labels=labels)

    def to(self, device: torch.device | str) -> "PackedImages":
        return replace(self, device=torch.device(device))

    def histogram(self) -> Tensor:
        """That of all images. It is kept beside the pack: counting reads the whole set."""
        name = hashlib.sha256(self.rows.numpy().data).hexdigest()[:24]
        kept = self.pack.folder / f"histogram-{name}.json"
        channels, height, width = self.image_shape
        with suppress(OSError, ValueError, TypeError):  # not there or damaged: counted again
            counts = torch.tensor(json.loads(kept.read_bytes()), dtype=torch.int64)
            if counts.shape == (channels, 256) and counts.sum(dim=1).eq(len(self) * height * width).all():
                return counts
        counts = torch.zeros(channels, 256, dtype=torch.int64)
        for images, _ in self.to("cpu").batches(torch.arange(len(self)), HISTOGRAM_BATCH):
            counts += channel_histogram(images)
        with suppress(DiskError):
            write_atomically(kept, json.dumps(counts.tolist()).encode())
        return counts

    def digests(self) -> Digests:
        """Those that the pack has of its images, which are checked whenever they are read."""
        return np.frombuffer(self.pack.digests, np.uint8).reshape(-1, DIGEST_BYTES)[self.rows.numpy()]


def _read_ahead(pack: Pack, batches: Iterable[Tensor]) -> Iterator[Tensor]:
    """The images of each batch of rows; a thread reads the next ones meanwhile."""
    with ThreadPoolExecutor(1) as reader:
        waiting: deque[Future[Tensor]] = deque()
        for rows in batches:
            waiting.append(reader.submit(pack.read, rows))
            if len(waiting) > BATCHES_AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
