"""The images of a run that its export is compared on and calibrated with; none of the test split."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cnnbench.data import ImageSet, Splits
from cnnbench.data.batches import TrainBatches
from cnnbench.data.find import find_data, read_splits
from cnnbench.errors import DataError
from cnnbench.trained.load import TrainedModel

COMPARED, CALIBRATING, BATCH = 1000, 512, 64  # images


def read_images(run: Path, trained: TrainedModel, summary: Mapping[str, Any]) -> Splits:
    """The training and validation images of the run.

    Raises:
        DataError: they are not where they were, or others are.
    """
    config = trained.config
    source = find_data(config.data)
    splits = read_splits(source, config.data, config.seed)
    known = summary.get("data_fingerprints") or {}
    changed = [part for part, content in splits.content.items() if known.get(part) not in (None, content.fingerprint)]
    if changed or splits.image_shape != trained.image_shape:
        raise DataError(f"{source.origin}: its images are not those of {run} any more; put those back")
    return splits


def compared_images(splits: Splits) -> tuple[str, ImageSet]:
    """Which part they are of, and COMPARED images from all of it, or all of fewer: those of a folder lie by class."""
    part, images = ("val", splits.val) if len(splits.val) else ("train", splits.train)
    return part, images.subset(torch.linspace(0, len(images) - 1, min(len(images), COMPARED)).round().long())


def in_batches(images: ImageSet) -> Iterator[Tensor]:
    """uint8 (N, C, H, W) on the processor: the first image alone, then batches."""
    order = torch.arange(len(images))
    for part in (order[:1], order[1:]):
        yield from (batch.cpu() for batch, _ in images.batches(part, BATCH))


def calibrating_images(splits: Splits, trained: TrainedModel) -> Tensor:
    """CALIBRATING training images, or all of fewer: the first of the run's first epoch, without augmentation."""
    config = trained.config
    return TrainBatches(splits.train, config.batch_size, config.seed, None, trained.normalize).sample(CALIBRATING).cpu()
