"""From a source to training, validation and test images, and the numbers that go with them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from torch import Tensor

from cnnbench.config.settings import Count, ProperFraction, Range
from cnnbench.data.images import Content, ImageSet, ImageShape, content_of
from cnnbench.data.source import Part, Source
from cnnbench.errors import DataError
from cnnbench.runs.identity import Digests, data_fingerprint
from cnnbench.seeds import generator

TEST_SEED = 0
"""Cuts off the test part of sets that have none: a constant, so that no setting moves images out of it."""


@dataclass(frozen=True)
class Splits:
    """What a run trains on and validates with; the test images stay unread until `read_test` is called.

    `val` may be empty. `mean` and `std` are float32 (C,), in units of [0, 1], of the training part.
    `content` says what the training and validation images are; an empty part is not in it. `whole` is the fingerprint
    of both together, whatever the split; None where some are left out. `skipped` has one line for each unreadable image
    left out of training and validation.
    """

    train: ImageSet
    val: ImageSet
    read_test: Callable[[], ImageSet | None]
    image_shape: ImageShape
    class_names: tuple[str, ...]
    mean: Tensor
    std: Tensor
    content: Mapping[Part, Content]
    whole: str | None = None
    skipped: tuple[str, ...] = ()

    @property
    def num_classes(self) -> int:
        return len(self.class_names)


def split(
    source: Source,
    seed: int,
    *,
    val_fraction: ProperFraction,
    fraction: Annotated[float, Range(above=0, at_most=1)],
    split_seed: Count | None,
) -> Splits:
    """The training and validation parts of `source`, each with the classes in the proportions of the whole.

    `fraction` keeps a part of what validation leaves: validation is the same for every `fraction`, and a
    smaller training part lies within a larger one. Every class keeps at least one training image. A source
    with validation images of its own uses those instead of `val_fraction`. Where `split_seed` is None the
    `seed` of the run takes its place.
    """
    images = source.read("train") if source.has_train else None
    if not images:
        raise DataError(f"{source.origin}: no training images; point data.root at a folder that has some")
    order = stratified_order(images.labels, generator(seed if split_seed is None else split_seed, "validation"))
    at_least = len(images.labels.unique())
    held_out = 0 if source.has_val else min(round(val_fraction * len(order)), len(order) - at_least)
    remaining = len(order) - held_out
    kept = max(round(fraction * remaining), at_least)
    train = images if kept == len(order) else images.subset(order[:kept].sort().values)
    val = source.read("val") if source.has_val else images.subset(order[remaining:].sort().values)
    parts: dict[Part, ImageSet] = {"train": train, "val": val} if len(val) else {"train": train}
    digests: dict[Part, Digests] = {part: each.digests() for part, each in parts.items()}
    mean, std = mean_and_std(train.histogram())
    return Splits(
        train=train,
        val=val,
        read_test=lambda: source.read("test") if source.has_test else None,
        image_shape=source.image_shape,
        class_names=source.class_names,
        mean=mean,
        std=std,
        content={part: content_of(parts[part], source.class_names, known) for part, known in digests.items()},
        whole=fingerprint_of_all(parts, digests, source.class_names) if kept == remaining else None,
        skipped=images.skipped + (val.skipped if source.has_val else ()),
    )


def fingerprint_of_all(
    parts: Mapping[Part, ImageSet], digests: Mapping[Part, Digests], class_names: Sequence[str]
) -> str:
    """That of the images of all parts, of which one is not empty, taken together."""
    labels = [label for images in parts.values() for label in images.labels.tolist()]
    image_shape = next(iter(parts.values())).image_shape
    return data_fingerprint(np.concatenate([digests[part] for part in parts]), labels, class_names, image_shape)


def stratified_order(labels: Tensor, random: torch.Generator) -> Tensor:
    """A random order of the images in which every prefix, and so every suffix, has the classes in proportion.

    The r-th of a class's n images, in random order, is placed at (r + 1/2) / n of the whole; only the first
    of each class go to the very front, so that a prefix as long as the number of classes has them all.
    """
    shuffled = torch.randperm(len(labels), generator=random)
    by_class = labels[shuffled].argsort(stable=True)
    _, sizes = labels.unique(return_counts=True)
    rank = torch.cat([torch.arange(int(size)) for size in sizes]) if len(sizes) else torch.arange(0)
    position = (rank.double() + 0.5) / sizes.repeat_interleave(sizes)
    position[rank == 0] = 0
    keys = torch.empty_like(position).scatter_(0, by_class, position)
    return shuffled[keys.argsort(stable=True)]


def mean_and_std(histogram: Tensor) -> tuple[Tensor, Tensor]:
    """The mean and population standard deviation of each channel of a (C, 256) histogram, as float32 in [0, 1].

    A channel that never changes would have a deviation of 0: it gets that of one grey level, 1/255.
    """
    weights = histogram.double() / histogram.sum(dim=1, keepdim=True)
    levels = torch.arange(256, dtype=torch.float64) / 255
    mean = weights @ levels
    variance = (weights * (levels - mean[:, None]) ** 2).sum(dim=1)
    return mean.float(), variance.sqrt().clamp(min=1 / 255).float()
