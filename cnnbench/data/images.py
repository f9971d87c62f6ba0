"""A set of labelled images that can be asked for batches: all in memory here, streamed in streaming.py."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

ImageShape = tuple[int, int, int]
"""Channels, height, width."""


def spell_shape(image_shape: ImageShape) -> str:
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

    def to(self, device: torch.device | str) -> "ImageSet":
        """The same set, giving its batches on `device`."""

    def histogram(self) -> Tensor:
        """How often each grey level occurs in each channel: int64 (C, 256), on the CPU."""

    def fingerprint(self) -> str:
        """A SHA-256 that changes with the images, their order or their labels."""


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

    def to(self, device: torch.device | str) -> "ResidentImages":
        return replace(self, images=self.images.to(device))

    def histogram(self) -> Tensor:
        return channel_histogram(self.images)

    def fingerprint(self) -> str:
        digest = hashlib.sha256(repr(self.image_shape).encode())
        digest.update(self.labels.contiguous().numpy().data)
        digest.update(self.images.cpu().contiguous().numpy().data)
        return digest.hexdigest()


def channel_histogram(images: Tensor) -> Tensor:
    """How often each grey level occurs in each channel of uint8 (N, C, H, W): int64 (C, 256), on the CPU."""
    channels = images.cpu().unbind(dim=1)
    return torch.stack([torch.bincount(channel.flatten(), minlength=256) for channel in channels])
