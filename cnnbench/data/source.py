"""A data set that was found but not yet read."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from cnnbench.data.images import ImageSet, ImageShape
from cnnbench.errors import DataError

Part = Literal["train", "val", "test"]
PARTS: tuple[Part, ...] = ("train", "val", "test")


class Ignored(NamedTuple):
    """A file or folder that takes no part in a data set, and why."""

    path: str
    reason: str


@dataclass(frozen=True)
class Source:
    """Where a data set is and what it holds; making one is cheap, `read(part)` loads or opens the images.

    `origin` says where the images come from: a path, or a word for a set that needs no files. Of a set that lies in
    folders, `labels` holds those of each part, int64 (N,), `taken` says where it lies, `ignored` what takes no part;
    `remarks` looks for what is odd about its images.
    """

    name: str
    origin: str
    image_shape: ImageShape
    class_names: tuple[str, ...]
    read: Callable[[Part], ImageSet]
    has_train: bool = True
    has_val: bool = False
    has_test: bool = True
    labels: Mapping[Part, Tensor] = field(default_factory=dict)
    taken: Mapping[Part, str] = field(default_factory=dict)
    ignored: tuple[Ignored, ...] = ()
    remarks: Callable[[], list[str]] = list

    @property
    def num_classes(self) -> int:
        return len(self.class_names)


def checked_labels(labels: Tensor, num_classes: int, origin: object) -> Tensor:
    """`labels` as int64, all of them in [0, num_classes).

    Raises:
        DataError: naming `origin` and the first label that is out of range.
    """
    labels = labels.to(torch.int64)
    wrong = ((labels < 0) | (labels >= num_classes)).nonzero()
    if len(wrong):
        place = int(wrong[0])
        value = int(labels[place])
        raise DataError(
            f"{origin}: image {place} has label {value}, but the classes are 0 to {num_classes - 1}; "
            "the file is damaged or belongs to another data set"
        )
    return labels
