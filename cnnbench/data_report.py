"""`cnnbench data`: which data sets are here; read one whole, check it and describe it."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from cnnbench.app import compose
from cnnbench.arguments import Parser
from cnnbench.assemble import find_data, read_splits
from cnnbench.conf import conf_folder
from cnnbench.console import say_json, show_table
from cnnbench.data import ImageSet
from cnnbench.errors import ConfigError, DataError
from cnnbench.screen import shape

CHECK_BATCH = 256
PLACES = ("data", "images", "place")


def main(arguments: Sequence[str]) -> None:
    """Without a name, lists where the data sets are; with one, reads it and describes it."""
    parser = Parser("data", "Prepare, check and describe data sets; without a name, show which are here.")
    parser.add_argument("name", nargs="?", help="a choice of `cnnbench list data`")
    parser.add_argument("overrides", nargs="*", metavar="data.KEY=VALUE", help="data.root=PATH data.download=true ...")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    options = parser.parse_args(arguments)
    if options.name is None:
        report: Any = locate_all()
        table: tuple[Sequence[str], Sequence[Sequence[str]]] = (PLACES, place_rows(report))
    else:
        report = describe_data(compose([f"data={options.name}", *options.overrides]).data)
        table = ("data", ""), [(key, _show(value)) for key, value in report.items()]
    if options.json:
        say_json(report)
    else:
        show_table(*table)


def locate_all() -> list[dict[str, Any]]:
    """For every data set: `data`, and `image_shape` and `found` (its place) or else `problem` (what is missing).

    Downloads nothing.
    """
    report: list[dict[str, Any]] = []
    for path in sorted((conf_folder() / "data").glob("*.yaml")):
        node = compose([f"data={path.stem}"]).data
        try:
            source = find_data(node | ({"download": False} if "download" in node else {}))
            found = {"image_shape": shape(source.image_shape), "found": source.origin, "problem": None}
        except (ConfigError, DataError) as error:  # a root that has to be given is not here either
            found = {"image_shape": None, "found": None, "problem": error.findings[0]}
        report.append({"data": path.stem} | found)
    return report


def place_rows(report: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """What `locate_all` found as rows under PLACES; of a problem, what is wrong without the cure."""
    return [
        (row["data"], row["image_shape"] or "-", row["found"] or row["problem"].partition(";")[0]) for row in report
    ]


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
        "fingerprint": splits.fingerprint,
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


def _show(value: Any) -> str:
    match value:
        case {"total": int(total), **by_class}:
            counts = [count for count in by_class.values() if isinstance(count, int)]
            return f"{total:,} ({min(counts):,} to {max(counts):,} a class)"
        case [float(), *_]:
            return ", ".join(f"{number:.4f}" for number in value)
        case list():
            return ", ".join(map(str, value)) or "none"
    return "none" if value is None else str(value)
