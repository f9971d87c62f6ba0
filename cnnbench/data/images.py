"""A set of labelled images that can be asked for batches: all in memory here, streamed in streaming.py."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from cnnbench.runs.identity import DIGEST_BYTES, Digests, data_fingerprint, order_fingerprint

ImageShape = tuple[int, int, int]
"""Channels, height, width."""


def spell_shape(image_shape: Sequence[int]) -> str:
    """`3x32x32`."""
    return "x".join(map(str, image_shape))


class ImageSet(Protocol):
    """Labelled images of one shape, wherever their pixels are kept."""

    @property
    def labels(self) -> Tensor:
        """(N,) int64, on the CPU."""

    @property
    def image_shape(self) -> ImageShape:
        """(C, H, W)."""

    @property
    def skipped(self) -> tuple[str, ...]:
        """One line for each image left out because it could not be read."""

    def __len__(self) -> int:
        """The number of images."""

    def batches(self, indices: Tensor, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Consecutive slices of `indices` (int64, on the CPU), on the set's device; the last may be smaller.

        Yields:
            Images, uint8 (B, C, H, W), and labels, int64 (B,).
        """

    def subset(self, indices: Tensor) -> "ImageSet":
        """The images at `indices`, in that order."""

    def relabelled(self, labels: Tensor) -> "ImageSet":
        """The same images with these labels, (N,) int64."""

    def to(self, device: torch.device | str) -> "ImageSet":
        """The same set, giving its batches on `device`."""

    def histogram(self) -> Tensor:
        """How often each grey level occurs in each channel: int64 (C, 256), on the CPU."""

    def digests(self) -> Digests:
        """The SHA-256 of the pixels (C, H, W) of each image: uint8 (N, 32), the same wherever they are kept."""


@dataclass(frozen=True)
class ResidentImages:
    """Images that live as one tensor on a device; a batch is one index-select.

    `images` is uint8 (N, C, H, W), `labels` int64 (N,) on the CPU.
    """

    images: Tensor
    labels: Tensor
    skipped: tuple[str, ...] = ()

    @property
    def image_shape(self) -> ImageShape:
        _, channels, height, width = self.images.shape
        return channels, height, width

    def __len__(self) -> int:
        return len(self.labels)

    def batches(self, indices: Tensor, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
        if not len(indices):
            return
        device = self.images.device
        labels = self.labels.index_select(0, indices).to(device)  # once for all batches: each copy would wait
        for chosen, batch_labels in zip(indices.to(device).split(batch_size), labels.split(batch_size), strict=True):
            yield self.images.index_select(0, chosen), batch_labels

    def subset(self, indices: Tensor) -> "ResidentImages":
        images = self.images.index_select(0, indices.to(self.images.device))
        return replace(self, images=images, labels=self.labels.index_select(0, indices))

    def relabelled(self, labels: Tensor) -> "ResidentImages":
        return replace(self, labels=labels)

    def to(self, device: torch.device | str) -> "ResidentImages":
        return replace(self, images=self.images.to(device))

    def histogram(self) -> Tensor:
        return channel_histogram(self.images)

    def digests(self) -> Digests:
        return pixel_digests(self.images)


class Content(NamedTuple):
    """What a set of images is: `fingerprint` whatever the order of its images and classes, `order` with their order."""

    fingerprint: str
    order: str


def content_of(images: ImageSet, class_names: Sequence[str], digests: Digests | None = None) -> Content:
    """Reads all images, unless their digests are known or given."""
    digests = images.digests() if digests is None else digests
    named = data_fingerprint(digests, images.labels.tolist(), class_names, images.image_shape)
    return Content(named, order_fingerprint(digests))


def pixel_digests(images: Tensor) -> Digests:
    """The SHA-256 of each image of uint8 (N, C, H, W): (N, 32)."""
    rows = images.cpu().contiguous().numpy()
    digests = b"".join(hashlib.sha256(row).digest() for row in rows)
    return np.frombuffer(digests, np.uint8).reshape(len(rows), DIGEST_BYTES)


def channel_histogram(images: Tensor) -> Tensor:
    """How often each grey level occurs in each channel of uint8 (N, C, H, W): int64 (C, 256), on the CPU."""
    channels = images.cpu().unbind(dim=1)
    return torch.stack([torch.bincount(channel.flatten(), minlength=256) for channel in channels])
