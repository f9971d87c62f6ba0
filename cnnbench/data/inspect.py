"""Which data sets are here, and what is in them."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from cnnbench.config.compose import compose
from cnnbench.config.tables import conf_folder
from cnnbench.data import ImageSet
from cnnbench.data.find import find_data, read_splits
from cnnbench.data.images import content_of, spell_shape
from cnnbench.errors import ConfigError, DataError

CHECK_BATCH = 256


def locate_all() -> list[dict[str, Any]]:
    """For every data set: `data`, and `image_shape` and `found` (its place) or else `problem` (what is missing).

    Downloads nothing.
    """
    report: list[dict[str, Any]] = []
    for path in sorted((conf_folder() / "data").glob("*.yaml")):
        node = compose([f"data={path.stem}"]).data
        try:
            source = find_data(node | ({"download": False} if "download" in node else {}))
            found = {"image_shape": spell_shape(source.image_shape), "found": source.origin, "problem": None}
        except (ConfigError, DataError) as error:  # a root that has to be given is not here either
            found = {"image_shape": None, "found": None, "problem": error.findings[0]}
        report.append({"data": path.stem} | found)
    return report


def describe_data(node: Mapping[str, Any]) -> dict[str, Any]:
    """Reads all parts of a data set and gives back what is in them.

    Raises:
        DataError: it is not there, or damaged.
    """
    source = find_data(node)
    splits = read_splits(source, node)
    test = splits.read_test()
    for images in (splits.train, splits.val, test):
        read_whole(images)
    return {
        "data": source.name,
        "found": source.origin,
        "image_shape": list(source.image_shape),
        "classes": list(source.class_names),
        "train_images": count_classes(splits.train, source.class_names),
        "val_images": count_classes(splits.val, source.class_names),
        "test_images": count_classes(test, source.class_names) if test is not None else None,
        "mean": splits.mean.tolist(),
        "std": splits.std.tolist(),
        "fingerprints": {part: content.fingerprint for part, content in splits.content.items()}
        | ({"test": content_of(test, source.class_names).fingerprint} if test is not None and len(test) else {}),
        "skipped": list(splits.skipped),
    }


def read_whole(images: ImageSet | None) -> None:
    """Reads every image once, so that one that is damaged is found.

    Raises:
        DataError: naming it.
    """
    for _ in images.batches(torch.arange(len(images)), CHECK_BATCH) if images else ():
        pass


def count_classes(images: ImageSet, class_names: Sequence[str]) -> dict[str, int]:
    """Images per class, and their sum as `total`."""
    counts = images.labels.bincount(minlength=len(class_names)).tolist()
    return {"total": sum(counts)} | dict(zip(class_names, counts, strict=True))
