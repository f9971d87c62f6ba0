"""Single test images of a run as small PNGs."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from cnnbench.data.find import find_data
from cnnbench.data.images import content_of
from cnnbench.errors import DataError
from cnnbench.runs.read import load_config, read_summary

SIDE = 64  # px: larger images are made so small


class Thumbnails(NamedTuple):
    """`pngs`: a file for each image. `class_names`: of the data set."""

    pngs: list[bytes]
    class_names: tuple[str, ...]


def thumbnails_of(run: Path, indices: Sequence[int], labels: NDArray[np.int64]) -> Thumbnails:
    """The images at `indices` of the test split on which the run, with these `labels` (N,), was tested.

    Nothing is downloaded. The run folder may come from elsewhere: images are shown only where the data set at the place
    it names holds, by content, exactly what the run was tested on.

    Raises:
        DataError: the data set is not there any more, or another one is.
        ConfigError: the run's config asks for something that this cnnbench has not.
    """
    node = load_config(run).data
    source = find_data(node | {"download": False} if "download" in node else node)
    if not source.has_test:
        raise DataError(f"{source.origin}: has no test images any more")
    images = source.read("test")
    known = (read_summary(run).get("data_fingerprints") or {}).get("test")
    if content_of(images, source.class_names).fingerprint != known or images.labels.tolist() != labels.tolist():
        raise DataError(f"{source.origin}: its test images are not those of the run any more")
    found = images.batches(torch.tensor(list(indices)), len(indices))
    pixels = torch.cat([batch for batch, _ in found]).cpu()
    return Thumbnails([to_png(image.numpy()) for image in pixels], source.class_names)


def to_png(image: NDArray[np.uint8]) -> bytes:
    """A uint8 (C, H, W) image of one or three channels as a PNG of at most SIDE px."""
    picture = Image.fromarray(image[0] if len(image) == 1 else np.moveaxis(image[:3], 0, 2))
    picture.thumbnail((SIDE, SIDE))
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
