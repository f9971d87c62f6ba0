"""The report's other parts: curves, costs, gaps, predictions and runs."""

import base64
import math
import statistics as plain
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from cnnbench.analysis import plots
from cnnbench.analysis.compared_predictions import beyond_these_images, spell_population
from cnnbench.analysis.curves import mean_curve
from cnnbench.analysis.ensembles import HardImage, answers_together, confusion, hardest
from cnnbench.analysis.fronts import Standing, standings
from cnnbench.analysis.groups import Group, Run
from cnnbench.analysis.images import fingerprint_of
from cnnbench.analysis.metrics import Metric
from cnnbench.analysis.report.terms import DASH, Named, relative
from cnnbench.analysis.statistics.intervals import mean_interval, median_with_misses
from cnnbench.analysis.svg import SERIES
from cnnbench.analysis.wording import plural
from cnnbench.errors import CnnbenchError, DataError
from cnnbench.runs.predictions import Classes, Predictions, load_predictions
from cnnbench.runs.read import read_metrics

ThumbnailsOf: TypeAlias = Callable[[Path, Sequence[int], Classes], tuple[Sequence[bytes], Sequence[str]]]
"""Of a run folder, some of its test images, by index, and the labels of all of them: PNGs, and the classes' names."""

PANELS = (
    ("val_accuracy", "validation accuracy, %", 100.0, 100.0),
    ("val_loss", "validation loss", 1.0, math.inf),
    ("train_loss", "training loss", 1.0, math.inf),
)
COSTS = (
    ("train_seconds", "training seconds", 1.0),
    ("latency_ms", "latency, ms", 1.0),
    ("model_bytes", "model size, MB", 1e-6),
    ("macs", "multiply-adds per image, M", 1e-6),
)
FEW_NAMES = 6  # groups of which all are named in a plot of costs; of more those on the front, the others by number
HARDEST = 20
MOST_CONFUSIONS = 10


def learning(named: Sequence[Named]) -> dict[str, Any]:
    """Learning curves of the first groups for which there are colours, with a legend and what was left out."""
    lines: list[list[list[Any]]] = []
    damaged: list[str] = []
    for each in named[: len(SERIES)]:
        lines.append([])
        for run in each.group.runs:
            try:
                lines[-1].append(read_metrics(run.path))
            except DataError:
                damaged.append(f"group {each.number}, seed {run.seed}: metrics.jsonl is damaged")
    panels = []
    for key, ylabel, scale, highest in PANELS:
        curves = [mean_curve(runs, key) for runs in lines]
        series = [plots.Series(i, str(named[i].number), curve) for i, curve in enumerate(curves) if curve]
        if series:
            svg = plots.learning_curves(series, ylabel=ylabel, scale=scale, highest=highest)
            panels.append({"svg": svg, "name": ylabel})
    legend = [
        {"number": each.number, "label": each.name, "colour": colour, "dash": plots.dash_of(place)}
        for place, (each, colour) in enumerate(zip(named, SERIES, strict=False))
    ]
    left_out = [each.number for each in named[len(SERIES) :]]
    return {"panels": panels, "legend": legend, "left_out": left_out, "damaged": damaged}


def costs(named: Sequence[Named], metric: str, scale: Metric) -> list[dict[str, Any]]:
    """For every cost that is known: a figure of the metric against it, and a row for each group."""
    return [
        found for key, label, unit in COSTS if key != metric and (found := cost(named, metric, scale, key, label, unit))
    ]


def cost(
    named: Sequence[Named], metric: str, scale: Metric, key: str, label: str, unit: float
) -> dict[str, Any] | None:
    """The mean metric against the median cost; None where no group has this cost, no figure where all have the same."""
    known = [each for each in named if each.group.numbers(key)]
    if not known:
        return None
    medians = [plain.median(each.group.numbers(key)) for each in known]
    means = [each.group.mean(metric) for each in known]
    found = standings([each.group for each in known], metric, key)
    points = []
    for each, median, mean in zip(known, medians, means, strict=True):
        standing = found[each.group.id]
        interval = median_with_misses(each.group.numbers(key))[1]
        points.append(
            plots.Point(
                name=each.name if standing.on_front or len(known) <= FEW_NAMES else str(each.number),
                cost=median * unit,
                cost_interval=(interval[0] * unit, interval[1] * unit) if interval else None,
                quality=mean * scale.factor,
                quality_interval=scale.interval(mean_interval(each.group.numbers(metric))),
                on_front=standing.on_front,
                dominated=standing.dominated,
            )
        )
    rows = {
        each.number: {
            "cost": f"{median * unit:,.4g}",
            "on_front": found[each.group.id].on_front,
            "standing": spell_standing(found[each.group.id]),
        }
        for each, median in zip(known, medians, strict=True)
    }
    figure = (
        plots.pareto(points, xlabel=label, ylabel=scale.axis, limits=scale.limits) if len(set(medians)) > 1 else None
    )
    return {"name": label, "svg": figure, "rows": rows}


def spell_standing(standing: Standing) -> str:
    """`front 64 %`, `dominated`, or how often it is on the front though its means are not."""
    if standing.dominated:
        return "dominated"
    share = "" if standing.share is None else f"{100 * standing.share:.0f} %"
    return f"front {share}".strip() if standing.on_front else share or DASH


def gaps(named: Sequence[Named]) -> str | None:
    """The train-validation gaps as a figure; None where no run has one."""
    rows = [(each.text, [100 * gap for gap in each.group.numbers("train_val_gap")]) for each in named]
    rows = [(text, values) for text, values in rows if values]
    return plots.gap(rows, xlabel="training minus validation accuracy, points") if rows else None


def predictions(
    named: Sequence[Named], shown: Sequence[Group], folder: Path, thumbnails: ThumbnailsOf | None
) -> dict[str, Any]:
    """Hardest images over all runs, the confusions of the ensembles of the groups `shown`, and what is left out."""
    found = [(each, run, load_predictions(run.path)) for each in named for run in each.group.runs]
    first = next(((run, saved) for _, run, saved in found if saved), None)
    whole: dict[int, dict[int, Predictions]] = {each.number: {} for each in named}
    left_out = []
    for each, run, saved in found:
        if first and saved and saved.fits(first[1]):
            whole[each.number][run.seed] = saved
        else:
            why = "of other test images" if saved else "missing or damaged"
            left_out.append(f"{relative(run.path, folder)}: predictions.npz is {why}")
    answers = [saved.predicted for runs in whole.values() for saved in runs.values()]
    hard = hardest(answers, first[1].labels, HARDEST) if first else []
    pictures, class_names, missing = pictures_of(hard, *first, thumbnails) if first and hard else ([], (), "")

    def class_name(label: int) -> str:
        return class_names[label] if label < len(class_names) else str(label)

    matrices = [each for each in named if each.group in shown and whole[each.number]]
    return {
        "runs": plural(len(answers), "run"),
        "images": len(first[1].labels) if first else 0,
        "hardest": [
            {
                "index": row.image,
                "label": class_name(row.label),
                "wrong": f"{round(row.wrong_share * len(answers))} of {len(answers)}",
                "answer": class_name(row.most_frequent_wrong),
                "picture": pictures[place] if pictures else None,
            }
            for place, row in enumerate(hard)
        ],
        "no_pictures": missing,
        "matrices": [describe_ensemble(each, list(whole[each.number].values())) for each in matrices],
        "left_out": left_out,
        "beyond": [row for each in named[1:] if (row := beyond_row(each, whole[0], whole[each.number]))],
    }


def beyond_row(
    named: Named, baseline: Mapping[int, Predictions], candidate: Mapping[int, Predictions]
) -> dict[str, Any] | None:
    """What a group's difference from the baseline is for other seeds and other images; None of too few runs."""
    shared = [seed for seed in baseline if seed in candidate]
    found = beyond_these_images([baseline[seed] for seed in shared], [candidate[seed] for seed in shared])
    if found is None:
        return None
    spelled = spell_population(found)
    return {"number": named.number, "label": named.name, **spelled._asdict()}


def pictures_of(
    hard: Sequence[HardImage], run: Run, saved: Predictions, thumbnails: ThumbnailsOf | None
) -> tuple[list[str], Sequence[str], str]:
    """The hardest images as base64 of PNGs, the names of the classes, and why there are none."""
    if thumbnails is None:
        return [], (), ""
    if fingerprint_of(run.summary, "test") is None:
        return [], (), "the runs did not note which images they were tested on"
    try:
        pngs, class_names = thumbnails(run.path, [row.image for row in hard], saved.labels)
    except CnnbenchError as error:
        return [], (), error.findings[0].partition(";")[0]
    return [base64.b64encode(png).decode() for png in pngs], class_names, ""


def describe_ensemble(named: Named, runs: Sequence[Predictions]) -> dict[str, Any]:
    """What the runs of a group answer together: accuracy, confusion matrix, the commonest confusions."""
    labels, num_classes = runs[0].labels, runs[0].logits.shape[1]
    predicted = answers_together(runs)
    counts = confusion(predicted, labels, num_classes)
    wrong = counts * (1 - np.eye(num_classes, dtype=np.int64))
    order = np.argsort(-wrong, axis=None, kind="stable")[:MOST_CONFUSIONS]
    pairs = [(int(flat // num_classes), int(flat % num_classes)) for flat in order]
    return {
        "number": named.number,
        "label": named.name,
        "runs": plural(len(runs), "run"),
        "accuracy": f"{100 * (predicted == labels).mean():.2f}",
        "svg": plots.confusion(counts) if num_classes <= plots.MOST_DRAWN_CLASSES else None,
        "num_classes": num_classes,
        "pairs": [(true, answer, int(wrong[true, answer])) for true, answer in pairs if wrong[true, answer]],
    }


def run_rows(named: Sequence[Named], metric: str, scale: Metric, folder: Path) -> list[tuple[Any, ...]]:
    """A row for each run: group, path, seed, status, metric, training seconds."""
    rows = []
    for each in named:
        for run in each.group.runs:
            value, seconds = run.number(metric), run.number("train_seconds")
            numbers = (
                DASH if value is None else scale.write(value),
                DASH if seconds is None else f"{seconds:,.1f}",
            )
            rows.append((each.number, relative(run.path, folder), run.seed, run.summary["status"], *numbers))
    return rows
