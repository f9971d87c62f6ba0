"""Which data sets are here, and what is in them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from cnnbench.config.compose import compose
from cnnbench.config.tables import conf_folder
from cnnbench.data import ImageSet, Source, Splits
from cnnbench.data.find import find_data, read_splits
from cnnbench.data.images import content_of, spell_shape
from cnnbench.data.listing import first_names
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


def describe_data(node: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """Reads all parts of a data set, as a run with this seed has them, and gives back what is in them.

    Raises:
        DataError: it is not there, or damaged.
    """
    source = find_data(node)
    splits = read_splits(source, node, seed)
    test = splits.read_test()
    for images in (splits.train, splits.val, test):
        read_whole(images)
    return {
        "data": source.name,
        "found": source.origin,
        "taken": dict(source.taken),
        "ignored": ignored_by_reason(source),
        "remarks": remarks(source, splits),
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


def ignored_by_reason(source: Source) -> dict[str, int]:
    """How many files and folders take no part for each reason, the most frequent first."""
    return dict(Counter(line.reason for line in source.ignored).most_common())


def describe_folders(source: Source) -> list[tuple[str, str]]:
    """What is taken for what in a set that lies in folders, and how much is ignored, as rows of a table."""
    rows = []
    for part, place in source.taken.items():
        count = len(source.labels[part])
        rows.append((f"{part} folder", f"{place} ({count:,} image{'s' if count != 1 else ''})"))
    if source.ignored:
        rows.append(("ignored", ", ".join(f"{n:,} {reason}" for reason, n in ignored_by_reason(source).items())))
    return rows


def remarks(source: Source, splits: Splits) -> list[str]:
    """What is odd about the images, and about the classes: those with a single training image, those that validation or
    test lack."""
    labels = {"train": splits.train.labels, "val": splits.val.labels, "test": source.labels.get("test")}
    counts = {
        part: found.bincount(minlength=source.num_classes).tolist()
        for part, found in labels.items()
        if found is not None and len(found)
    }
    texts = (("train", 1, "a single training image"), ("train", 0, "no training images"),
             ("val", 0, "no validation images"), ("test", 0, "no test images"))  # fmt: skip
    lines = source.remarks()
    for part, number, text in texts:
        names = [name for name, count in zip(source.class_names, counts.get(part, ()), strict=False) if count == number]
        if names:
            lines.append(f"{text}: {len(names)} of {source.num_classes} classes ({first_names(names)})")
    return lines


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
