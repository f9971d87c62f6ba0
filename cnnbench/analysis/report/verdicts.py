"""The report's first part: what was compared, and what came out."""

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

from cnnbench.analysis import plots
from cnnbench.analysis.failures import failure_rate, write_rate
from cnnbench.analysis.groups import Group
from cnnbench.analysis.metrics import Metric, metric_of
from cnnbench.analysis.ratios import ratio_of, write_ratio
from cnnbench.analysis.report.terms import DASH, Named
from cnnbench.analysis.statistics.power import MOST_SEEDS
from cnnbench.analysis.svg import shorten
from cnnbench.analysis.verdicts import Comparison
from cnnbench.analysis.wording import listed, plural, write_p, write_seeds_needed

LONGEST_DATA = 60  # characters of a data set's name
SHOWN_ALONE = (
    "test_accuracy", "test_loss", "best_val_accuracy", "train_val_gap", "train_seconds", "images_per_second",
    "latency_ms", "parameters", "macs", "model_bytes",
)  # fmt: skip


def headline(named: Sequence[Named], comparisons: Sequence[Comparison], scale: Metric) -> str:
    """One or two sentences: what was compared and which verdicts came out."""
    runs = [run for each in named for run in each.group.runs]
    data = " and ".join(dict.fromkeys(shorten(str(run.summary.get("data")), LONGEST_DATA) for run in runs))
    seeds = f"{plural(len({run.seed for run in runs}), 'seed')}: {listed([run.seed for run in runs])}"
    if len(named) == 1:
        return f"One group of {plural(len(runs), 'run')} on {data} ({seeds}): there is nothing to compare it with."
    counts = Counter(str(comparison.verdict) for comparison in comparisons)
    came_out = ", ".join(f"{counts[verdict]} {verdict}" for verdict in plots.VERDICT_MARKS if verdict in counts)
    return (
        f"{len(named)} groups of {plural(len(runs), 'run')} on {data} ({seeds}), by {scale.name} against "
        f"“{named[0].name}”. Verdicts: {came_out}."
    )


def verdict_rows(
    named: Sequence[Named], baseline: Group, comparisons: Sequence[Comparison], scale: Metric, metric: str
) -> list[dict[str, Any]]:
    """A row for each group."""
    of_candidate = {comparison.candidate.id: comparison for comparison in comparisons}
    return [
        describe_group(each, baseline, metric, scale)
        | describe_comparison(of_candidate.get(each.group.id), each.group, scale)
        for each in named
    ]


def describe_group(named: Named, baseline: Group, metric: str, scale: Metric) -> dict[str, Any]:
    """What a group reached, and the ratios of what it costs to the baseline."""
    return {
        "number": named.number,
        "label": named.name,
        "settings": named.settings,
        "is_baseline": named.group is baseline,
        "mean": scale.write_spread(named.group.mean(metric), named.group.sd(metric)),
        "time_ratio": ratio(named.group, baseline, "train_seconds"),
        "latency_ratio": ratio(named.group, baseline, "latency_ms"),
    }


def describe_comparison(comparison: Comparison | None, group: Group, scale: Metric) -> dict[str, Any]:
    """The cells of a comparison; dashes for the baseline, which has none."""
    rate = failure_rate(group)
    diverged = write_rate(rate.diverged, rate.runs, rate.ci95)
    if comparison is None:
        keys = ("difference", "p", "effect_size", "verdict", "seeds_needed")
        empty = {"interval": "", "floor": "", "beside": ""}
        return dict.fromkeys(keys, DASH) | empty | {"n": f"{len(group.runs)}", "diverged": diverged}
    cells = {
        "n": f"{len(group.runs)}",
        "diverged": diverged,
        "difference": DASH,
        "interval": "",
        "p": DASH,
        "floor": "",
        "effect_size": DASH,
        "verdict": comparison.verdict,
        "beside": "; ".join([*([comparison.held] if comparison.held else []), *comparison.notes]),
        "seeds_needed": seeds_needed(comparison),
    }
    difference = comparison.difference
    pairs = difference.n_pairs if difference else 0
    if comparison.is_paired and pairs < len(group.runs):
        cells["n"] += f" ({pairs} paired)"
    if difference is None:
        return cells
    cells["difference"] = scale.write_difference(difference.mean)
    if comparison.ci95:
        cells["interval"] = " to ".join(map(scale.write_difference, comparison.ci95))
    if comparison.p_family is not None and difference.p_floor is not None:
        cells["p"], cells["floor"] = write_p(comparison.p_family), f"at least {difference.p_floor:.2g}"
    if difference.effect_size is not None:
        cells["effect_size"] = f"{difference.effect_size:+.2f}".replace("-", "−")
    return cells


def seeds_needed(comparison: Comparison) -> str:
    """How many seeds a verdict is to be expected of, where there is none yet."""
    if comparison.verdict != "undecided" or comparison.held:
        return DASH
    pairs = comparison.difference.n_pairs if comparison.difference else 0
    if comparison.seeds_needed is not None:
        return write_seeds_needed(comparison.seeds_needed, pairs)
    return f"over {MOST_SEEDS}" if pairs > 1 else "unknown"


def reached(group: Group, metric: str) -> list[tuple[str, str]]:
    """What a single group has to show: the metric and its other numbers, mean and deviation over the seeds."""
    keys = dict.fromkeys((metric, *SHOWN_ALONE))
    return [
        (metric_of(key).axis, metric_of(key).write_spread(group.mean(key), group.sd(key)))
        for key in keys
        if group.numbers(key)
    ]


def ratio(group: Group, baseline: Group, key: str) -> str | None:
    """How many times the baseline's number the group's is, in words; None where no seed of both has one."""
    ours, theirs = baseline.by_seed(key), group.by_seed(key)
    found = ratio_of(ours, theirs, paired=bool(ours.keys() & theirs.keys())) if group is not baseline else None
    return write_ratio(found) or None


def forest(named: Sequence[Named], comparisons: Sequence[Comparison], margin: float, scale: Metric) -> str | None:
    """The differences as a figure; None where there is nothing to compare."""
    if not comparisons:
        return None
    text = {each.group.id: each.text for each in named}
    rows = []
    for comparison in comparisons:
        difference = comparison.difference
        mean = difference.mean * scale.factor if difference else math.nan
        interval = scale.interval(comparison.ci95)
        name = text[comparison.candidate.id]
        rows.append(plots.ForestRow(name, mean, interval, comparison.verdict, comparison.is_close))
    return plots.forest(rows, margin=margin * scale.factor, xlabel=scale.difference_axis)
