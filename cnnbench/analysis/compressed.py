"""What compressions gained: as accurate within a margin or not, and how many times as fast and as small, over seeds."""

import math
import statistics as plain
from collections.abc import Mapping, Sequence
from typing import Any

from cnnbench.analysis.groups import Group, Run
from cnnbench.analysis.metrics import Metric, finite_number, metric_of
from cnnbench.analysis.pareto import dominated, front_shares
from cnnbench.analysis.ratios import Ratio, ratio_of
from cnnbench.analysis.verdicts import Comparison

SIZE = "256"  # images at a time, of the ratios that are shown
EAGER = 1.0  # the time of a network as torch runs it in float32, in units of itself


def describe_compressed(
    groups: Sequence[Group], comparisons: Sequence[Comparison], metric: str, margin: float
) -> list[dict[str, Any]]:
    """A row for each group of compressed runs; none where there is no such group.

    `speedup`: over the runs they were made of, run in the same way; `speedup_over_eager`: over the first of them as
    torch runs it in float32; each with the ends of its 95 % interval over the seeds or, of one run, over its rounds.
    `on_front`: whether no other group has as good a mean at less time for an image; `front_share`: in what share of
    resamples. A group that is not compressed takes part with the time of eager float32.
    """
    rows = [group for group in groups if group.numbers("speedup")]
    if not rows:
        return []
    standing = fronts(groups, metric)
    compared = {comparison.candidate.id: comparison for comparison in comparisons}
    return [
        {
            "group_hash": group.id,
            "label": group.label,
            "n": len(group.numbers("speedup")),
            "speedup": ends(over_seeds(group, "speedup")),
            "speedup_over_eager": ends(over_seeds(group, "speedup_over_eager")),
            "size_ratio": geometric_mean(group.numbers("size_ratio")),
            **standing[group.id],
            "sentence": sentence(group, compared.get(group.id), metric_of(metric), margin),
        }
        for group in rows
    ]


def over_seeds(group: Group, key: str) -> Ratio | None:
    """The geometric mean over the runs with its interval; of one run that of its own rounds."""
    values = group.by_seed(key)
    if len(values) == 1:
        (run,) = (run for run in group.runs if run.seed in values)
        return of_rounds(run, key)
    return ratio_of(dict.fromkeys(values, 1.0), values, paired=True)


def of_rounds(run: Run, key: str) -> Ratio | None:
    """A ratio of one run, with the interval that its clock noted."""
    clock = run.summary.get("clock")
    ratios = clock.get(key) if isinstance(clock, Mapping) else None
    noted = ratios.get(SIZE) if isinstance(ratios, Mapping) else None
    numbers = [finite_number(each) for each in noted] if isinstance(noted, list) else []
    value = run.number(key)
    if value is None or value <= 0:
        return None
    if len(numbers) != 3 or numbers[1] is None or numbers[2] is None:
        return Ratio(value, None, 1, True)
    return Ratio(value, (numbers[1], numbers[2]), 1, True)


def fronts(groups: Sequence[Group], metric: str) -> dict[str, dict[str, Any]]:
    """By id, where each group stands among all: the metric against the time of an image."""
    sign = metric_of(metric).sign
    qualities = [{seed: sign * value for seed, value in group.by_seed(metric).items()} for group in groups]
    times = [times_of(group) for group in groups]
    points = [
        (plain.fmean(quality.values()) if quality else -math.inf, geometric_mean(list(time.values())) or math.inf)
        for quality, time in zip(qualities, times, strict=True)
    ]
    return {
        group.id: {"on_front": not is_beaten, "front_share": share}
        for group, is_beaten, share in zip(groups, dominated(points), front_shares(qualities, times), strict=True)
    }


def times_of(group: Group) -> dict[int, float]:
    """By seed the time of an image in units of eager float32's; that itself where nothing was timed."""
    known = {seed: value for seed, value in group.by_seed("speedup_over_eager").items() if value > 0}
    return {seed: 1 / value for seed, value in known.items()} or dict.fromkeys(group.seeds, EAGER)


def geometric_mean(values: Sequence[float]) -> float | None:
    """None of nothing, or where one is not positive."""
    return plain.geometric_mean(values) if values and min(values) > 0 else None


def sentence(group: Group, comparison: Comparison | None, scale: Metric, margin: float) -> str:
    """`as accurate within 0.5 points, 9.1x (8.7 to 9.4) as fast as eager fp32, 2.1x (2.0 to 2.2) as fast as before run
    alike, 3.9x smaller`."""
    parts = [] if comparison is None else [spell_accuracy(comparison, scale, margin)]
    eager, alike = over_seeds(group, "speedup_over_eager"), over_seeds(group, "speedup")
    if eager:
        parts.append(f"{spell_ends(ends(eager))} as fast as eager fp32")
    if alike:
        parts.append(f"{spell_ends(ends(alike))} as fast as before, run alike")
    smaller = geometric_mean(group.numbers("size_ratio"))
    return ", ".join([*parts, *([f"{smaller:.1f}x smaller"] if smaller else [])])


def spell_accuracy(comparison: Comparison, scale: Metric, margin: float) -> str:
    """What the verdict says of the accuracy."""
    unit = f" {scale.difference_unit}".rstrip()
    if comparison.verdict == "no practical effect":
        return f"as accurate within {margin * scale.factor:g}{unit}"
    difference = comparison.difference
    if difference is None or not math.isfinite(difference.mean):
        return "accuracy undecided"
    by = f"{scale.write_difference(difference.mean)}{unit}"
    words = {"helps": "more accurate", "hurts": "less accurate"}
    return f"{words.get(comparison.verdict, 'accuracy undecided')} ({by})"


def ends(ratio: Ratio | None) -> list[float | None] | None:
    """The ratio and the ends of its interval."""
    return None if ratio is None else [ratio.ratio, *(ratio.interval or (None, None))]


def spell_ends(ratio: Sequence[float | None] | None) -> str:
    """`9.10x (8.70 to 9.40)`, of what `ends` gives; a dash where there is none."""
    if ratio is None:
        return "–"
    value, low, high = ratio
    return f"{value:.2f}x" + (f" ({low:.2f} to {high:.2f})" if low is not None and high is not None else "")
