"""Class probabilities of image files, by a run's model."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cnnbench.data.decode import decode_image
from cnnbench.errors import DataError
from cnnbench.trained.load import TrainedModel


def predict_images(trained: TrainedModel, paths: Sequence[Path]) -> list[dict[str, Any]]:
    """For each image: `image`, `class` and `probabilities` by class name (softmax of the logits).

    Raises:
        DataError: with one line for every file that is not an image.
    """
    images: list[Tensor] = []
    findings: list[str] = []
    for path in paths:
        try:
            images.append(decode_image(path, trained.image_shape, trained.grey_range))
        except DataError as error:
            findings += error.findings
    if findings:
        raise DataError(*findings)
    batches = torch.stack(images).split(2 * trained.config.batch_size)
    logits = torch.cat([trained.logits(batch).cpu() for batch in batches])
    return [
        {
            "image": str(path),
            "class": trained.class_names[int(row.argmax())],  # of the logits: probabilities round to 1 and tie
            "probabilities": dict(zip(trained.class_names, row.softmax(0).tolist(), strict=True)),
        }
        for path, row in zip(paths, logits, strict=True)
    ]
