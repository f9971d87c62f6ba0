"""Class probabilities of image files, by a run's model."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from cnnbench.data.decode import decode_image
from cnnbench.data.listing import images_below
from cnnbench.data.source import Ignored
from cnnbench.errors import DataError
from cnnbench.spreadsheet import to_csv

if TYPE_CHECKING:
    from cnnbench.trained.load import TrainedModel


def predict_images(trained: "TrainedModel", paths: Sequence[Path]) -> Iterator[dict[str, Any]]:
    """For each image: `image`, `class` and `probabilities` by class name (softmax of the logits), batch by batch.

    Of a file that is no image there is an `error` in place of the last two.
    """
    size = 2 * trained.config.batch_size
    for start in range(0, len(paths), size):
        decoded = [_decode(trained, path) for path in paths[start : start + size]]
        images = [image for image in decoded if isinstance(image, Tensor)]
        answers = iter(_answers(trained, torch.stack(images)) if images else ())
        for path, image in zip(paths[start:], decoded, strict=False):
            yield {"image": str(path)} | (next(answers) if isinstance(image, Tensor) else {"error": image})


def _decode(trained: "TrainedModel", path: Path) -> Tensor | str:
    """The image, or what is wrong with its file."""
    try:
        return decode_image(path, trained.image_shape, trained.grey_range)
    except DataError as error:
        return str(error)


def _answers(trained: "TrainedModel", images: Tensor) -> list[dict[str, Any]]:
    names = trained.class_names
    return [
        {
            "class": names[int(row.argmax())],  # of the logits: probabilities round to 1 and tie
            "probabilities": dict(zip(names, row.softmax(0).tolist(), strict=True)),
        }
        for row in trained.logits(images).cpu()
    ]


def refuse_unreadable(predictions: Sequence[Mapping[str, Any]]) -> None:
    """Looks for files that were no images.

    Raises:
        DataError: with one line for each.
    """
    if errors := [prediction["error"] for prediction in predictions if "error" in prediction]:
        raise DataError(*errors)


def images_of(paths: Sequence[Path]) -> tuple[list[Path], list[Ignored]]:
    """The files among `paths`, and in place of each folder the images in it and below; and what was ignored there.

    Raises:
        DataError: a folder cannot be listed, or holds no image.
    """
    images: list[Path] = []
    ignored: list[Ignored] = []
    for path in paths:
        found = [Path(entry.path) for entry in images_below(path, ignored)] if path.is_dir() else [path]
        if not found:
            raise DataError(f"{path}: holds no images; give a folder that does, or image files")
        images += found
    return images, ignored


def predictions_csv(predictions: Sequence[Mapping[str, Any]], class_names: Sequence[str]) -> bytes:
    """A row for each image: its path, its class with its probability, those of all classes, what is wrong with it."""
    rows = []
    for prediction in predictions:
        shares, name = prediction.get("probabilities", {}), prediction.get("class")
        answers = [name, shares.get(name), *(shares.get(each) for each in class_names)]
        rows.append([prediction["image"], *answers, prediction.get("error")])
    return to_csv(["image", "class", "probability", *class_names, "error"], rows)
