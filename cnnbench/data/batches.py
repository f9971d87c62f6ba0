"""Batches as pure functions of (seed, epoch, index): the order, the random numbers, the normalised images."""

import math
from collections.abc import Iterator
from itertools import chain, count
from typing import Protocol

import torch
from torch import Tensor

from cnnbench.data.images import ImageSet
from cnnbench.device import Device
from cnnbench.seeds import generator
from cnnbench.techniques.augment import Augmentation

Batch = tuple[Tensor, Tensor]


class Normalize:
    """uint8 images to float32 with mean 0 and deviation 1 over the training images, in the device's memory format.

    `mean` and `std` (C,) are in units of [0, 1].
    """

    def __init__(self, mean: Tensor, std: Tensor, device: Device) -> None:
        self.mean, self.std = mean, std
        self._scale = (1 / (255 * std)).view(1, -1, 1, 1).to(device.torch_device)
        self._shift = (-mean / std).view(1, -1, 1, 1).to(device.torch_device)
        self._memory_format = device.torch_memory_format

    def __call__(self, images: Tensor) -> Tensor:
        """images: (N, C, H, W) uint8."""
        floats = images.to(torch.float32, memory_format=self._memory_format)
        return floats.mul_(self._scale).add_(self._shift)


class TrainBatches:
    """Shuffled, augmented, normalised batches of equal size.

    The last images of an epoch's order that do not fill a batch are left out of that epoch; fewer images
    than one batch make one smaller batch. A single image fills a batch of two: batch norm needs two values.
    """

    def __init__(
        self, images: ImageSet, batch_size: int, seed: int, augmentation: Augmentation | None, normalize: Normalize
    ) -> None:
        self.images = images
        self.batch_size = min(batch_size, max(len(images), 2))
        self.steps_per_epoch = max(len(images) // self.batch_size, 1)
        self.seed = seed
        self.augmentation = augmentation
        self.normalize = normalize

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The batches of `epoch` from the one numbered `start` on."""
        order = self.order(epoch)[start * self.batch_size : self.steps_per_epoch * self.batch_size]
        noise = self._noise(epoch)
        for number, (images, labels) in enumerate(self.images.batches(order, self.batch_size)):
            indices = order[number * self.batch_size :][: len(images)]
            yield self.normalize(self._augmented(images, indices, noise)), labels

    def sample(self, count: int) -> Tensor:
        """The first images of the first epoch, `count` or fewer, augmented but not normalised: uint8 (N, C, H, W)."""
        chosen = self.order(0)[:count]
        ((images, _),) = self.images.batches(chosen, count)
        return self._augmented(images, chosen, self._noise(0))

    def endless(self) -> Iterator[Batch]:
        """The batches of one epoch after the other, for timing steps."""
        return chain.from_iterable(self.epoch(epoch) for epoch in count())

    def order(self, epoch: int) -> Tensor:
        """The epoch's permutation of the image indices, (N,) int64."""
        if len(self.images) == 1:
            return torch.zeros(2, dtype=torch.int64)
        return torch.randperm(len(self.images), generator=generator(self.seed, "order", epoch))

    def _augmented(self, images: Tensor, indices: Tensor, noise: Tensor | None) -> Tensor:
        if self.augmentation is None or noise is None:
            return images
        return self.augmentation.apply(images, noise[indices].to(images.device, non_blocking=True))

    def _noise(self, epoch: int) -> Tensor | None:
        if self.augmentation is None:
            return None
        noise = self._uniform(self.augmentation.draws, epoch)
        columns = list(self.augmentation.alternating)
        if columns:
            first = self._uniform(len(columns), "alternating")
            # minus, not plus: the halves of [0, 1) then change places without rounding
            noise[:, columns] = (first - 0.5) % 1 if epoch % 2 else first
        return noise

    def _uniform(self, draws: int, place: int | str) -> Tensor:
        return torch.rand(len(self.images), draws, generator=generator(self.seed, "augmentation", place))


class Batches(Protocol):
    """So many batches, to be gone through as often as one likes."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Batch]: ...


class EvaluationBatches:
    """All images once, in their order, normalised; the last batch may be smaller."""

    def __init__(self, images: ImageSet, batch_size: int, normalize: Normalize) -> None:
        self.images = images
        self.batch_size = batch_size
        self.normalize = normalize

    def __len__(self) -> int:
        return math.ceil(len(self.images) / self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        for images, labels in self.images.batches(torch.arange(len(self.images)), self.batch_size):
            yield self.normalize(images), labels
