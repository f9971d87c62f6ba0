"""The report's first part: what was compared, and what came out."""

import math
import statistics as plain
from collections import Counter
from collections.abc import Sequence
from typing import Any

from cnnbench.analysis import plots
from cnnbench.analysis.groups import Group
from cnnbench.analysis.metrics import Scale
from cnnbench.analysis.report.terms import DASH, Named
from cnnbench.analysis.statistics import MOST_SEEDS
from cnnbench.analysis.verdicts import Comparison
from cnnbench.analysis.wording import listed, plural


def headline(named: Sequence[Named], baseline: Group, comparisons: Sequence[Comparison], scale: Scale) -> str:
    """One or two sentences: what was compared and which verdicts came out."""
    runs = [run for each in named for run in each.group.runs]
    data = " and ".join(dict.fromkeys(str(run.summary.get("data")) for run in runs))
    seeds = f"{plural(len({run.seed for run in runs}), 'seed')}: {listed([run.seed for run in runs])}"
    if len(named) == 1:
        return f"One group of {plural(len(runs), 'run')} on {data} ({seeds}): there is nothing to compare it with."
    counts = Counter(str(comparison.verdict) for comparison in comparisons)
    came_out = ", ".join(f"{counts[verdict]} {verdict}" for verdict in plots.VERDICT_MARKS if verdict in counts)
    return (
        f"{len(named)} groups of {plural(len(runs), 'run')} on {data} ({seeds}), by {scale.name} against "
        f"“{baseline.label}”. Verdicts: {came_out}."
    )


def verdict_rows(
    named: Sequence[Named], baseline: Group, comparisons: Sequence[Comparison], scale: Scale, metric: str
) -> list[dict[str, Any]]:
    """A row for each group."""
    of_candidate = {comparison.candidate.group_hash: comparison for comparison in comparisons}
    return [
        describe_group(each, baseline, metric, scale)
        | describe_comparison(of_candidate.get(each.group.group_hash), each.group, scale)
        for each in named
    ]


def describe_group(named: Named, baseline: Group, metric: str, scale: Scale) -> dict[str, Any]:
    """What a group reached, and the ratios of what it costs to the baseline."""
    values = named.group.numbers(metric)
    spread = f" ± {scale.write(plain.stdev(values))}" if len(values) > 1 else ""
    return {
        "number": named.number,
        "label": named.label,
        "is_baseline": named.group is baseline,
        "mean": f"{scale.write(plain.fmean(values))}{spread}",
        "time_ratio": ratio(named.group, baseline, "train_seconds"),
        "latency_ratio": ratio(named.group, baseline, "latency_ms"),
    }


def describe_comparison(comparison: Comparison | None, group: Group, scale: Scale) -> dict[str, Any]:
    """The cells of a comparison; dashes for the baseline, which has none."""
    if comparison is None:
        keys = ("difference", "p", "effect_size", "verdict", "seeds_needed")
        return dict.fromkeys(keys, DASH) | {"n": f"{len(group.runs)}", "interval": "", "floor": ""}
    cells = {
        "n": f"{len(group.runs)}",
        "difference": DASH,
        "interval": "",
        "p": DASH,
        "floor": "",
        "effect_size": DASH,
        "verdict": comparison.verdict,
        "seeds_needed": seeds_needed(comparison),
    }
    difference = comparison.difference
    pairs = difference.n_pairs if difference else 0
    if pairs < len(group.runs):
        cells["n"] += f" ({pairs} paired)"
    if difference is None:
        return cells
    cells["difference"] = scale.write_difference(difference.mean)
    if difference.ci95:
        cells["interval"] = " to ".join(map(scale.write_difference, difference.ci95))
    if comparison.p_holm is not None and difference.p_floor is not None:
        cells["p"], cells["floor"] = f"{comparison.p_holm:.3g}", f"at least {difference.p_floor:.2g}"
    if difference.effect_size is not None:
        cells["effect_size"] = f"{difference.effect_size:+.2f}".replace("-", "−")
    return cells


def seeds_needed(comparison: Comparison) -> str:
    """How many seeds a verdict is to be expected of, where there is none yet."""
    if comparison.verdict != "undecided":
        return DASH
    if comparison.seeds_needed is not None:
        return str(comparison.seeds_needed)
    known = comparison.difference is not None and comparison.difference.n_pairs > 1
    return f"over {MOST_SEEDS}" if known else "unknown"


def ratio(group: Group, baseline: Group, key: str) -> str | None:
    """The group's median over the baseline's; None where one of them has no such number."""
    ours, theirs = group.numbers(key), baseline.numbers(key)
    if not ours or not theirs or plain.median(theirs) <= 0:
        return None
    return f"{plain.median(ours) / plain.median(theirs):.2f}"


def forest(named: Sequence[Named], comparisons: Sequence[Comparison], margin: float, scale: Scale) -> str | None:
    """The differences as a figure; None where there is nothing to compare."""
    if not comparisons:
        return None
    text = {each.group.group_hash: each.text for each in named}
    rows = []
    for comparison in comparisons:
        difference = comparison.difference
        mean = difference.mean * scale.factor if difference else math.nan
        interval = scale.interval(difference.ci95) if difference else None
        rows.append(plots.ForestRow(text[comparison.candidate.group_hash], mean, interval, comparison.verdict))
    return plots.forest(rows, margin=margin * scale.factor, xlabel=scale.difference_axis)
