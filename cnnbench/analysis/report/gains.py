"""The report's part on compressed runs: how many times as fast and as small, and how accurate still."""

from collections.abc import Sequence
from typing import Any

from cnnbench.analysis import plots
from cnnbench.analysis.compressed import describe_compressed, fronts, geometric_mean, spell_ends, times_of
from cnnbench.analysis.fronts import Standing
from cnnbench.analysis.metrics import Metric
from cnnbench.analysis.ratios import ratio_of
from cnnbench.analysis.report.sections import spell_standing
from cnnbench.analysis.report.terms import DASH, Named
from cnnbench.analysis.statistics.intervals import mean_interval
from cnnbench.analysis.verdicts import Comparison

TIME = "time of an image, of that in eager fp32"


def gains(
    named: Sequence[Named], comparisons: Sequence[Comparison], metric: str, scale: Metric, margin: float
) -> dict[str, Any]:
    """A row for each compressed group, and the metric against the time of an image as a figure; empty without any."""
    groups = [each.group for each in named]
    rows = describe_compressed(groups, comparisons, metric, margin)
    if not rows:
        return {}
    of_group = {each.group.id: each for each in named}
    return {
        "rows": [
            {
                "number": of_group[row["group_hash"]].number,
                "label": of_group[row["group_hash"]].name,
                "speedup": spell_ends(row["speedup"]),
                "over_eager": spell_ends(row["speedup_over_eager"]),
                "smaller": DASH if row["size_ratio"] is None else f"{row['size_ratio']:.1f}x",
                "standing": spell_standing(Standing(row["on_front"], row["front_share"], False)),
                "sentence": row["sentence"],
            }
            for row in rows
        ],
        "svg": figure(named, metric, scale),
        "time": TIME,
    }


def figure(named: Sequence[Named], metric: str, scale: Metric) -> str | None:
    """The Pareto front of the metric and the time of an image; None where no group has the metric."""
    standing = fronts([each.group for each in named], metric)
    points = []
    for each in named:
        times = times_of(each.group)
        cost, known = geometric_mean(list(times.values())), each.group.numbers(metric)
        if cost is None or not known:
            continue
        over_seeds = ratio_of(dict.fromkeys(times, 1.0), times, paired=True)
        points.append(
            plots.Point(
                name=each.name if standing[each.group.id]["on_front"] else str(each.number),
                cost=cost,
                cost_interval=over_seeds.interval if over_seeds else None,
                quality=each.group.mean(metric) * scale.factor,
                quality_interval=scale.interval(mean_interval(known)),
                on_front=standing[each.group.id]["on_front"],
                dominated=False,
            )
        )
    return plots.pareto(points, xlabel=TIME, ylabel=scale.axis, limits=scale.limits) if len(points) > 1 else None
