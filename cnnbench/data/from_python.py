"""Data sets given from Python: map-style datasets of (image, label), as torchvision's are, read into memory once."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from cnnbench.data.images import ResidentImages, content_of, spell_shape
from cnnbench.data.source import PARTS, Part, Source, checked_labels
from cnnbench.errors import ConfigError, DataError
from cnnbench.progress import waiting

GivenData = Dataset[Any] | Mapping[str, Dataset[Any]]
"""The training images, or data sets by part: train, val, test."""
ORIGIN = "dataset"
LOOKS = 4  # images asked for twice: one that a transform changes at random seldom comes out alike


def read_given(given: GivenData) -> Source:
    """The images of `given` in memory, as uint8; `name` is the class of the training set.

    An image is a PIL image, an array (H, W) or (H, W, C) of uint8, or a tensor (C, H, W) or (H, W), of uint8 or with
    fractions in [0, 1]; a label is a whole number from 0. The classes are named by the set's `classes`, where it has
    such a list, else by their numbers. Without a `val` part, training images are set aside as the config says; without
    a `test` part the run has no test.

    Raises:
        ConfigError: it is no data set that can be read this way.
        DataError: naming the part and the number of an image that is not as the others, or is changed at random.
    """
    parts = _parts(given)
    read = {part: _read(dataset, part) for part, dataset in parts.items()}
    shapes = {part: images.image_shape for part, images in read.items()}
    other = next((part for part in shapes if shapes[part] != shapes["train"]), None)
    if other:
        raise DataError(
            f"{ORIGIN}: its {other} images are {spell_shape(shapes[other])}, those of train "
            f"{spell_shape(shapes['train'])}; resize them in the data set"
        )
    names = _class_names(parts["train"], 1 + max(int(images.labels.max()) for images in read.values()))
    for part, images in read.items():
        checked_labels(images.labels, len(names), f"{ORIGIN} ({part})")
    return Source(
        type(parts["train"]).__qualname__,
        ORIGIN,
        shapes["train"],
        names,
        lambda part: read[part],
        has_val="val" in read,
        has_test="test" in read,
        labels={part: images.labels for part, images in read.items()},
    )


def fingerprints(source: Source) -> dict[str, str]:
    """By part, what its images and labels are."""
    parts = [part for part in PARTS if getattr(source, f"has_{part}")]
    return {part: content_of(source.read(part), source.class_names).fingerprint for part in parts}


def _parts(given: GivenData) -> dict[Part, Dataset[Any]]:
    parts = dict(given) if isinstance(given, Mapping) else {"train": given}
    findings = [f"{ORIGIN}: has a part {part!r}; name them {', '.join(PARTS)}" for part in parts if part not in PARTS]
    if "train" not in parts:
        findings.append(f"{ORIGIN}: has no part 'train'; give {{'train': ..., 'test': ...}}")
    for part, dataset in parts.items():
        what = f"{ORIGIN} ({part}): {type(dataset).__name__}"
        if isinstance(dataset, type):
            findings.append(f"{ORIGIN} ({part}): {dataset.__name__} is a class; give an object of it")
        elif not (hasattr(dataset, "__getitem__") and hasattr(dataset, "__len__")):
            findings.append(f"{what} has no length and no items; give a map-style dataset")
        elif not len(dataset):
            findings.append(f"{what} is empty; leave the part out")
    if findings:
        raise ConfigError(*findings)
    return {part: parts[part] for part in PARTS if part in parts}


def _read(dataset: Dataset[Any], part: Part) -> ResidentImages:
    count = len(cast(Sequence[Any], dataset))
    _refuse_random(dataset, part, count)
    first, _ = _item(dataset, part, 0)
    images = torch.empty(count, *first.shape, dtype=torch.uint8)
    labels = torch.empty(count, dtype=torch.int64)
    with waiting(f"reading the {part} images given", count) as wait:
        for index in range(count):
            pixels, labels[index] = _item(dataset, part, index)
            if pixels.shape != first.shape:
                sides = f"is {spell_shape(pixels.shape)}, the first {spell_shape(first.shape)}"
                raise DataError(f"{_place(part, index)}: {sides}; resize the images in the data set")
            images[index] = pixels
            wait.advance()
    return ResidentImages(images, labels)


def _refuse_random(dataset: Dataset[Any], part: Part, count: int) -> None:
    for index in {round(place * (count - 1) / (LOOKS - 1)) for place in range(LOOKS)}:
        if not torch.equal(*(_item(dataset, part, index)[0] for _ in range(2))):
            raise DataError(
                f"{_place(part, index)}: comes out differently each time, and would be read once; "
                "leave random transforms out, and choose with augmentation=..."
            )


def _item(dataset: Dataset[Any], part: Part, index: int) -> tuple[Tensor, int]:
    """The pixels, uint8 (C, H, W), and the label of an image."""
    item = dataset[index]
    if not isinstance(item, tuple | list) or len(item) != 2:
        raise ConfigError(f"{_place(part, index)}: is of type {type(item).__name__}; a data set gives (image, label)")
    image, label = item
    return _pixels(image, _place(part, index)), _label(label, _place(part, index))


def _place(part: Part, index: int) -> str:
    return f"{ORIGIN} ({part}), image {index}"


def _label(label: Any, place: str) -> int:
    value = label.item() if isinstance(label, Tensor | np.generic) else label
    if isinstance(value, bool) or not isinstance(value, int):
        raise ConfigError(f"{place}: has the label {label!r}; give the number of its class, from 0")
    return value


def _pixels(image: Any, place: str) -> Tensor:
    if isinstance(image, Image.Image):
        image = np.array(image if image.mode in ("L", "RGB") else image.convert("RGB"))
    if isinstance(image, np.ndarray):
        image = torch.from_numpy(np.ascontiguousarray(image))
        image = image.permute(2, 0, 1) if image.ndim == 3 else image
    if not isinstance(image, Tensor):
        raise ConfigError(f"{place}: is of type {type(image).__name__}; give a PIL image, an array or a tensor")
    image = image[None] if image.ndim == 2 else image
    if image.ndim != 3 or not image.numel():
        raise ConfigError(f"{place}: has the shape {tuple(image.shape)}; give (C, H, W), as an array (H, W, C)")
    if image.dtype == torch.uint8:
        return image
    if not image.is_floating_point():
        raise ConfigError(f"{place}: holds {image.dtype}; give uint8, or fractions in [0, 1]")
    if not (image.min() >= 0 and image.max() <= 1):  # NaN is refused too
        found = f"{image.min():.3g} to {image.max():.3g}"
        raise ConfigError(f"{place}: has values from {found}; give [0, 1], without Normalize: cnnbench does that")
    return (255 * image).round().to(torch.uint8)


def _class_names(dataset: Dataset[Any], found: int) -> tuple[str, ...]:
    names = getattr(dataset, "classes", None)
    if isinstance(names, list | tuple) and len(names) >= found and len(set(map(str, names))) == len(names):
        return tuple(map(str, names))
    return tuple(map(str, range(found)))
