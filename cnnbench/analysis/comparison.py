"""Groups of runs against a baseline, as one document."""

import math
import statistics as plain
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cnnbench.analysis.compressed import describe_compressed
from cnnbench.analysis.config_labels import label_against
from cnnbench.analysis.failures import FailureRate, failure_rate
from cnnbench.analysis.fronts import FRONTS, standings
from cnnbench.analysis.groups import Collection, Group, collect
from cnnbench.analysis.looked import look_at, warnings_of
from cnnbench.analysis.machines import mixed_policies, policies_of, remarks_on_times
from cnnbench.analysis.metrics import default_margin, has_target, metric_of
from cnnbench.analysis.same_data import refuse_different_data
from cnnbench.analysis.statistics.intervals import largest_unseen_share, mean_interval, median_with_misses
from cnnbench.analysis.verdicts import (
    Comparison,
    all_pairs,
    choose_baseline,
    compare_pairs,
    compare_with,
    is_planned,
)
from cnnbench.runs.looks import has_planned_looks, looks_at, note_look, read_looks
from cnnbench.spreadsheet import to_csv


@dataclass(frozen=True)
class Compared:
    """What was found in folders of runs, and what it shows.

    `baseline` is None where all pairs of groups were compared. `chosen_afterwards`: it was named by who could know the
    results, so that all pairs are the family. `asks_population`: whether verdicts hold for other test images as well.
    `warnings`: what earlier looks at these runs make of it.
    """

    collection: Collection
    baseline: Group | None
    comparisons: list[Comparison]
    metric: str
    margin: float
    chosen_afterwards: bool
    asks_population: bool = False
    warnings: tuple[str, ...] = ()


def compare_folders(
    folders: Sequence[Path], baseline: str | None, metric: str, margin: float | None, *, every_pair: bool = False
) -> Compared:
    """What is in the folders, and every other group against the baseline; or every group against every other.

    Raises:
        ConfigError: there is no such baseline.
        DataError: a folder is not there, no run counts, or the runs are on different data.
    """
    collection = collect(folders, metric)
    groups = collection.groups
    refuse_different_data(groups)
    planned = any(map(has_planned_looks, folders))
    earlier = read_looks(looks_at(folders)) if len(groups) > 1 else []
    warnings = tuple(warnings_of(earlier, look_at(groups, metric), planned=planned))
    reference = choose_baseline(groups, baseline)
    if margin is None:
        margin = default_margin(metric, reference.mean(metric))
    if every_pair:
        comparisons = compare_pairs(all_pairs(groups), metric, margin, groups)
        return Compared(collection, None, comparisons, metric, margin, chosen_afterwards=False, warnings=warnings)
    afterwards = baseline is not None and not is_planned(reference, groups)
    comparisons = compare_with(reference, groups, metric, margin, chosen_afterwards=afterwards)
    return Compared(collection, reference, comparisons, metric, margin, afterwards, warnings=warnings)


def note_comparison(folders: Sequence[Path], compared: Compared) -> None:
    """Notes that these runs were compared: it is a look at them that cannot be undone."""
    if compared.comparisons:
        note_look(looks_at(folders), look_at(compared.collection.groups, compared.metric))


COSTS = ("train_seconds", "images_per_second", "latency_ms", "parameters", "nonzero_parameters", "macs", "model_bytes")


def comparison_document(compared: Compared) -> dict[str, Any]:
    """All that was found, as one JSON document."""
    collection, metric = compared.collection, compared.metric
    groups = [describe_group(group, metric) for group in collection.groups]
    return {
        "metric": metric,
        "margin": compared.margin,
        "groups": with_fronts(groups, collection.groups, metric),
        "comparisons": [describe_comparison(comparison) for comparison in compared.comparisons],
        "compressed": describe_compressed(collection.groups, compared.comparisons, metric, compared.margin),
        "chosen_afterwards": compared.chosen_afterwards,
        "warnings": list(compared.warnings),
        "mixed_policies": mixed_policies(collection.groups),
        "times": remarks_on_times(collection.groups, compared.baseline),
        "without_result": [
            {"group_hash": group.id, "label": group.label, "failures": describe_failures(failure_rate(group))}
            for group in collection.without_result
        ],
        "skipped": [{"path": str(skipped.path), "reason": skipped.reason} for skipped in collection.skipped],
    }


def describe_group(group: Group, metric: str) -> dict[str, Any]:
    """A group's metric over its seeds, and the medians of what it costs."""
    values = group.numbers(metric)
    costs = {key: plain.median(numbers) if (numbers := group.numbers(key)) else None for key in COSTS}
    return {
        "group_hash": group.id,
        "label": group.label,
        "technique": group.technique,
        "n": len(values),
        "seeds": list(group.seeds),
        "mean": finite(group.mean(metric)),
        "sd": group.sd(metric),
        "ci95": mean_interval(values),
        "failures": describe_failures(failure_rate(group)),
        "best": finite(max(values) if metric_of(metric).higher_is_better else min(values)),
        **costs,
        "target": describe_target(group),
        "policies": [{"policy": policy, "runs": count} for policy, count in policies_of(group).items()],
        "runs": [str(run.path) for run in group.runs],
    }


def with_fronts(described: Sequence[dict[str, Any]], groups: Sequence[Group], metric: str) -> list[dict[str, Any]]:
    """The groups, each with `on_front_of`: the costs at which no other has a mean as good for less; `front_share`: in
    what share of resamples this is so; `dominated_at`: where another is better for less beyond chance."""
    found = {cost: standings(groups, metric, cost) for cost in FRONTS}
    return [
        each
        | {
            "on_front_of": [cost for cost in FRONTS if name in found[cost] and found[cost][name].on_front],
            "front_share": {cost: found[cost][name].share for cost in FRONTS if name in found[cost]},
            "dominated_at": [cost for cost in FRONTS if name in found[cost] and found[cost][name].dominated],
        }
        for each in described
        for name in (each["group_hash"],)
    ]


def describe_target(group: Group) -> dict[str, Any] | None:
    """The median training seconds to the target with its 95 % interval, a miss counting as infinity; null: no target.

    An infinite number is null here.
    """
    summary = group.runs[0].summary
    if not has_target(summary):
        return None
    target, times = summary["target"], group.numbers("time_to_target")
    median, interval = median_with_misses(times)
    return {
        "metric": target.get("metric"),
        "value": target["value"],
        "missed": times.count(math.inf),
        "median_seconds": finite(median),
        "ci95": [finite(end) for end in interval] if interval else None,
    }


def finite(value: float) -> float | None:
    """`value`, or None where JSON has no number for it."""
    return value if abs(value) < float("inf") else None


def describe_failures(rate: FailureRate) -> dict[str, Any]:
    """How many runs diverged, and the exact interval of their share."""
    return {"diverged": rate.diverged, "runs": rate.runs, "share": rate.share, "ci95": list(rate.ci95)}


def describe_comparison(comparison: Comparison) -> dict[str, Any]:
    """A comparison as JSON; differences are candidate minus baseline, in the metric's unit. `largest_unseen_share`: of
    seeds, that can fail without one of these having done so."""
    difference = comparison.difference
    return {
        "baseline": comparison.baseline.id,
        "candidate": comparison.candidate.id,
        "label": label_against(comparison.candidate.label, comparison.baseline.label),
        "n_pairs": difference.n_pairs if difference else 0,
        "mean_difference": finite(difference.mean) if difference else None,
        "ci95": comparison.ci95,
        "p_value": difference.p_value if difference else None,
        "p_floor": difference.p_floor if difference else None,
        "p_holm": comparison.p_holm,
        "p_family": comparison.p_family,
        "family": comparison.family,
        "method": comparison.method,
        "effect_size": difference.effect_size if difference else None,
        "verdict": comparison.verdict,
        "held": comparison.held or None,
        "notes": list(comparison.notes),
        "seeds_needed": comparison.seeds_needed,
        "is_paired": comparison.is_paired,
        "correlation": comparison.correlation,
        "unpaired_seeds": list(comparison.unpaired),
        "largest_unseen_share": largest_unseen_share(min(rate.runs for rate in comparison.failures)),
        "failures": {
            name: describe_failures(rate)
            for name, rate in zip(("baseline", "candidate"), comparison.failures, strict=True)
        },
    }


def comparison_csv(document: dict[str, Any]) -> bytes:
    """A row for each group, with its comparison; where all pairs were compared a row for each of these, with its
    candidate."""
    groups = {group["group_hash"]: group for group in document["groups"]}
    compared = [(groups[comparison["candidate"]], comparison) for comparison in document["comparisons"]]
    first = [group for name, group in groups.items() if name not in {c["candidate"] for _, c in compared}]
    of_group = ("group_hash", "label", "n", "mean", "sd", "best", *COSTS)
    before, after = (
        ("n_pairs", "mean_difference"),
        ("p_value", "p_holm", "effect_size", "verdict", "p_family", "family", "method", "held", "baseline"),
    )
    columns = ["metric", *of_group, "diverged", "role", *before, "ci95_low", "ci95_high", *after]
    rows = []
    for group, comparison in [*((group, {}) for group in first), *compared]:
        low, high = comparison.get("ci95") or (None, None)
        values = [document["metric"], *(group[key] for key in of_group), group["failures"]["diverged"]]
        values += ["candidate" if comparison else "baseline", *map(comparison.get, before), low, high]
        rows.append([*values, *map(comparison.get, after)])
    return to_csv(columns, rows)
