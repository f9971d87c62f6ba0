"""The sensitivities of runs that differ in nothing but their seed: one document, one table, one figure."""

import statistics
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from cnnbench.analysis.groups import Run, repeated
from cnnbench.analysis.layer_map import LayerRow, layer_map
from cnnbench.analysis.metrics import METRICS
from cnnbench.analysis.svg import standalone
from cnnbench.analysis.wording import listed
from cnnbench.compression.parents import Parent, load_parent
from cnnbench.compression.sensitivity import (
    AMOUNTS,
    CALIBRATION_IMAGES,
    COLUMNS,
    INT8,
    SCORE,
    Sensitivity,
    sensitivity_of,
)
from cnnbench.console import muted, say, show_table
from cnnbench.errors import ConfigError

ALL = "all of them"
ACCURACY = METRICS["best_val_accuracy"]
HEADINGS = [f"-{100 * amount:.0f} %" for amount in AMOUNTS.values()] + [INT8]
Document = dict[str, Any]


def measure(runs: Sequence[Path], *, quiet: bool) -> Document:
    """The document of finished runs that repeat one another.

    Raises:
        CnnbenchError: one of them cannot be measured, or they cannot be averaged.
    """
    with muted() if quiet else nullcontext():
        parents = [load_parent(run) for run in runs]
        refuse_others(parents)
        found = []
        for number, parent in enumerate(parents, start=1):
            of_several = f", {number} of {len(parents)}" if len(parents) > 1 else ""
            found.append(sensitivity_of(parent, f"{parent.path.resolve().name}{of_several}"))
    return document_of(found)


def refuse_others(parents: Sequence[Parent]) -> None:
    """Looks whether the runs can be averaged.

    Raises:
        ConfigError: they are not of one config and the same images, or two have one seed.
    """
    runs = [Run(parent.path, dict(parent.summary)) for parent in parents]
    groups = list(repeated(runs).values())
    if len(groups) > 1:
        first, other = groups[0][0].path, groups[1][0].path
        raise ConfigError(f"--sensitivity: {first} and {other} differ in more than the seed; give runs of one config")
    seeds = [run.seed for run in runs]
    twice = [run for run in runs if seeds.count(run.seed) > 1]
    if twice:
        raise ConfigError(f"--sensitivity: {twice[0].path} and {twice[1].path} have one seed; give one of them")


def document_of(found: Sequence[Sensitivity]) -> Document:
    """What was found of each part of the network, over the runs. Accuracies and their differences are fractions.

    Raises:
        ConfigError: the runs' networks have layers of other sizes, as after filters were removed by another ranking.
    """
    first = found[0]
    for other in found[1:]:
        if other.parts != first.parts:
            raise ConfigError(f"--sensitivity: {first.path} and {other.path} have layers of other sizes; give one run")
    rows = [
        {
            "name": part.name,
            "layers": list(part.layers),
            "filters": part.filters,
            "uncut": part.uncut,
            "parameters": part.parameters,
            "macs": part.macs,
            "differences": {
                column: spread([difference(each.accuracies[column][place], each) for each in found])
                for column in COLUMNS
            },
        }
        for place, part in enumerate(first.parts)
    ]
    together = {column: spread([difference(each.together[column], each) for each in found]) for column in COLUMNS}
    return {
        "runs": [{"path": str(each.path), "seed": each.seed, "accuracy": each.accuracy} for each in found],
        "split": "val",
        "images": first.images,
        "val_images": first.val_images,
        "accuracy": spread([each.accuracy for each in found]),
        "score": SCORE,
        "amounts": dict(AMOUNTS),
        "calibration_images": CALIBRATION_IMAGES,
        "rows": rows,
        "all": {
            "parameters": sum(part.parameters for part in first.parts),
            "macs": sum(part.macs for part in first.parts),
            "differences": together,
        },
    }


def difference(accuracy: float | None, found: Sensitivity) -> float | None:
    """From the network as it is."""
    return None if accuracy is None else accuracy - found.accuracy


def spread(values: Sequence[float | None]) -> Document | None:
    """`mean`, `sd` over n - 1 (null of one) and the `values` in the order of the runs; None where there are none."""
    known = [value for value in values if value is not None]
    if not known:
        return None
    sd = statistics.stdev(known) if len(known) > 1 else None
    return {"mean": statistics.fmean(known), "sd": sd, "values": known}


def show(document: Mapping[str, Any]) -> None:
    """The table, and what cannot be cut and why."""
    say(f"\n{heading(document)}: difference in points where one layer alone")
    say(f"loses filters (by {document['score']}, nothing trained after), or is computed in int8\n")
    columns = ("layer", "parameters", "multiply-adds", *HEADINGS)
    show_table(columns, [table_row(row["name"], row) for row in rows_of(document)])
    uncut = [row for row in document["rows"] if row["uncut"]]
    if uncut:
        say()
    for row in uncut:
        say(f"not cut: {row['name']} {row['uncut']}")
    if any(len(row["layers"]) > 1 for row in document["rows"]):
        say("+n: so many more layers, which can only lose filters together")


def heading(document: Mapping[str, Any]) -> str:
    """`validation accuracy 92.58 %, 6,000 images`."""
    accuracy, runs = document["accuracy"], document["runs"]
    mean = f"validation accuracy {ACCURACY.write_spread(accuracy['mean'], accuracy['sd'])} %"
    of_all = f" of {document['val_images']:,}" if document["images"] < document["val_images"] else ""
    seeds = f", mean of seeds {listed([run['seed'] for run in runs])}" if len(runs) > 1 else ""
    return f"{mean}, {document['images']:,}{of_all} images{seeds}"


def rows_of(document: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Those of the layers, then that of all together."""
    return [*document["rows"], {"name": ALL} | document["all"]]


def table_row(name: str, row: Mapping[str, Any]) -> list[str]:
    """What stands in the table; nothing where a layer cannot be cut."""
    return [
        name,
        *(f"{100 * row[key]:.1f} %" for key in ("parameters", "macs")),
        *map(spelled, row["differences"].values()),
    ]


def spelled(found: Mapping[str, Any] | None) -> str:
    """`-2.23`, or `-2.23 ± 0.40` over seeds."""
    if found is None:
        return ""
    sd = "" if found["sd"] is None else f" ± {ACCURACY.write(found['sd'])}"
    return f"{ACCURACY.write_difference(found['mean'])}{sd}"


def draw(document: Mapping[str, Any], name: str) -> str:
    """The figure as a file of its own; `name` is that of the run, or of the folder of runs."""
    rows = [
        LayerRow(
            row["name"],
            (row["parameters"], row["macs"]),
            [None if each is None else 100 * each["mean"] for each in row["differences"].values()],
        )
        for row in rows_of(document)
    ]
    ways = [*(f"filters\n{heading.replace('-', '−')}" for heading in HEADINGS[:-1]), INT8]
    title = (name, heading(document), "points lost (orange) or gained (blue) where one layer alone is changed")
    return standalone(layer_map(rows, shares=("share of\nparameters", "of multiply-\nadds"), ways=ways, title=title))
