"""The effect of each technique, from the run folders of an ablation: accuracy, training time and latency."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cnnbench.analysis.comparison import describe_comparison
from cnnbench.analysis.failures import FailureRate, write_rate
from cnnbench.analysis.groups import Group, Run, config_of, first_seeds, make_group, read_run
from cnnbench.analysis.machines import mixed_policies
from cnnbench.analysis.metrics import default_margin, metric_of
from cnnbench.analysis.plots import ForestRow, forest
from cnnbench.analysis.ratios import Ratio, ratio_of, write_ratio
from cnnbench.analysis.same_data import refuse_different_data
from cnnbench.analysis.sequential import Followed, Why, follow
from cnnbench.analysis.statistics.paired import Difference, paired_difference
from cnnbench.analysis.verdicts import Comparison, compare_pairs
from cnnbench.analysis.wording import write_p, write_verdict
from cnnbench.errors import DataError
from cnnbench.sweeps.ablation import ALL, BASELINE
from cnnbench.sweeps.ablation_folder import Plan

COLUMNS = ("technique", "seeds", "difference", "95 % interval", "p (family)", "verdict", "training time", "latency")
WHY_NO_MORE: dict[str | None, str] = {
    "futile": "stopped: too small or too noisy",
    "budget": "stopped: the budget is spent",
}
DIVERGED, INTERACTION = "diverged", "beyond the sum"


@dataclass(frozen=True)
class Effect:
    """What switching `technique` on changes: the variant with it minus the one without, over seeds.

    Attributes:
        stands: where seeds are added, at how many it was last looked at, and why it got no more; else None.
        time_ratio: training seconds with it over those without, geometric mean over the seeds.
        latency_ratio: the same of the milliseconds for one image.
        interaction: of two techniques, what they change beyond the sum of what each changes.
    """

    technique: str
    comparison: Comparison
    stands: tuple[int, Why] | None
    time_ratio: Ratio | None
    latency_ratio: Ratio | None
    interaction: Difference | None


def read_groups(folder: Path, plan: Plan, metric: str) -> dict[str, Group]:
    """The finished runs of each variant that have a number for `metric`, by variant.

    Raises:
        DataError: none has, or they were not made on the same images.
    """
    groups = {}
    for name, variant in plan.variants.items():
        found = [read_run(folder / f"{name}-seed{seed}", metric) for seed in plan.seeds]
        runs = [r for r in found if isinstance(r, Run) and r.summary["group_hash"] == variant.group_hash]
        config = config_of(runs) if runs else None
        groups[name] = make_group(variant.group_hash, name, runs, config, technique=name)
    trained = [group for group in groups.values() if group.runs]
    if not trained:
        raise DataError(f"{folder}: no finished run with {metric}; choose another with metric=KEY of summary.json")
    refuse_different_data(trained)
    return groups


def contrasts(plan: Plan) -> dict[str, tuple[str, str]]:
    """By technique or pair of them, the variants with and without it."""
    if plan.mode == "leave_one":
        return {name.removeprefix("without_"): (ALL, name) for name in plan.variants if name != ALL}
    return {name: (name, BASELINE) for name in plan.variants if name != BASELINE}


def reference(plan: Plan, groups: Mapping[str, Group]) -> Group:
    """The group with which the others are compared."""
    return groups[ALL if plan.mode == "leave_one" else BASELINE]


def margin_for(plan: Plan, groups: Mapping[str, Group], metric: str, given: float | None) -> float:
    """The margin `given`; where none is that of the plan's looks, if they go by this metric and have one, else that of
    the metric, by the runs of the group the others are compared with."""
    if given is None and plan.looks and plan.looks.metric == metric:
        given = plan.looks.margin
    return default_margin(metric, reference(plan, groups).mean(metric)) if given is None else given


def measure_effects(plan: Plan, groups: Mapping[str, Group], metric: str, margin: float) -> list[Effect]:
    """The effect of each technique in the plan's order; a positive difference is a gain where more is better."""
    compared = contrasts(plan)
    pairs = [(groups[without], groups[variant]) for variant, without in compared.values()]
    if plan.looks and plan.looks.metric == metric and plan.looks.taken:
        followed = follow_looks(plan, groups, margin)
        comparisons = [each.judged for each in followed]
        stands: list[tuple[int, Why] | None] = [(each.seeds, each.why) for each in followed]
    else:
        comparisons = compare_pairs(pairs, metric, margin, list(groups.values()))
        stands = [None] * len(pairs)
    interactions = [beyond_the_sum(plan, groups, variant, metric) for variant, _ in compared.values()]
    return [
        Effect(
            technique=name,
            comparison=comparison,
            stands=stand,
            time_ratio=ratio_between(comparison, "train_seconds"),
            latency_ratio=ratio_between(comparison, "latency_ms"),
            interaction=paired_difference(interaction) if interaction else None,
        )
        for name, comparison, stand, interaction in zip(compared, comparisons, stands, interactions, strict=True)
    ]


def follow_looks(plan: Plan, groups: Mapping[str, Group], margin: float) -> list[Followed[Comparison]]:
    """What the looks that were taken show of each technique, in the plan's order."""
    looks, compared = plan.looks, list(contrasts(plan).values())
    assert looks
    granted = [min(looks.granted[variant], looks.granted[without]) for variant, without in compared]

    def judge_at(seeds: dict[int, int], level: float) -> dict[int, Comparison]:
        pairs = [
            (first_seeds(groups[without], n), first_seeds(groups[variant], n))
            for n, (variant, without) in ((n, compared[i]) for i, n in seeds.items())
        ]
        judged = compare_pairs(pairs, looks.metric, margin, list(groups.values()), level=level)
        return dict(zip(seeds, judged, strict=True))

    return follow(granted, looks.seeds, len(looks.taken), margin, judge_at)


def beyond_the_sum(plan: Plan, groups: Mapping[str, Group], variant: str, metric: str) -> list[float]:
    """Of a variant with two techniques beside the baseline, by seed: both - first - second + baseline."""
    techniques = plan.variants[variant].techniques
    if plan.mode != "pairs" or len(techniques) != 2:
        return []
    names = (variant, *techniques, BASELINE)
    both, first, second, neither = (groups[name].by_seed(metric) for name in names)
    shared = both.keys() & first.keys() & second.keys() & neither.keys()
    return [both[seed] - first[seed] - second[seed] + neither[seed] for seed in sorted(shared)]


def effects_document(
    plan: Plan, groups: Mapping[str, Group], effects: Sequence[Effect], metric: str, margin: float
) -> dict[str, Any]:
    """All of it as one JSON document."""
    document: dict[str, Any] = {"ablation": plan.ablation, "mode": plan.mode, "seeds": plan.seeds}
    looks = asdict(plan.looks) if plan.looks else None
    return document | {
        "looks": looks,
        "baseline": plan.baseline,
        "overrides": plan.overrides,
        "techniques": plan.techniques,
        "metric": metric,
        "margin": margin,
        "mixed_policies": mixed_policies([group for group in groups.values() if group.runs]),
        "effects": [describe_effect(effect) for effect in effects],
    }


def describe_effect(effect: Effect) -> dict[str, Any]:
    """An effect as JSON: the difference, alone and beside the others, and the ratios of what it costs."""
    comparison = effect.comparison
    difference = asdict(comparison.difference) | {"ci95": comparison.ci95} if comparison.difference else None
    described = describe_comparison(comparison)
    shared = ("p_holm", "p_family", "family", "method", "verdict", "held", "notes", "correlation", "failures")
    return {
        "technique": effect.technique,
        "difference": difference,
        **{key: described[key] for key in shared},
        "stopped": {"seeds": effect.stands[0], "why": effect.stands[1]} if effect.stands else None,
        **described_ratio("time_ratio", effect.time_ratio),
        **described_ratio("latency_ratio", effect.latency_ratio),
        "interaction": asdict(effect.interaction) if effect.interaction else None,
    }


def ratio_between(comparison: Comparison, key: str) -> Ratio | None:
    """How many times the baseline's the candidate's number is."""
    ours, theirs = (group.by_seed(key) for group in (comparison.baseline, comparison.candidate))
    return ratio_of(ours, theirs, paired=comparison.is_paired)


def described_ratio(name: str, ratio: Ratio | None) -> dict[str, Any]:
    """A ratio and its interval as JSON."""
    return {name: ratio.ratio if ratio else None, f"{name}_ci95": ratio.interval if ratio else None}


def table(effects: Sequence[Effect], metric: str) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Columns and rows in words. Fractions, as accuracies, are in points; times are those without the technique's."""
    scale, paired = metric_of(metric), any(effect.interaction for effect in effects)
    some_diverged = any(rate.diverged for effect in effects for rate in effect.comparison.failures)
    rows: list[tuple[str, ...]] = []
    for effect in effects:
        comparison, difference = effect.comparison, effect.comparison.difference
        row: tuple[str, ...] = (
            effect.technique,
            str(difference.n_pairs if difference else 0),
            scale.write_difference(difference.mean) if difference else "",
            scale.write_interval(comparison.ci95) if comparison.ci95 else "",
            write_p(comparison.p_family),
            write_verdict(comparison.verdict, comparison.held, [*comparison.notes, *why_no_more(effect)]),
            write_ratio(effect.time_ratio),
            write_ratio(effect.latency_ratio),
        )
        if some_diverged:
            row = (*row, against(*comparison.failures))
        beyond = effect.interaction
        interval = scale.write_interval(beyond.ci95) if beyond and beyond.ci95 else ""
        cell = f"{scale.write_difference(beyond.mean)} {interval}" if beyond else ""
        rows.append((*row, cell) if paired else row)
    return (*COLUMNS, *([DIVERGED] if some_diverged else []), *([INTERACTION] if paired else [])), rows


def why_no_more(effect: Effect) -> list[str]:
    """Why a technique that is undecided got no more seeds."""
    why = effect.stands[1] if effect.stands else None
    return [WHY_NO_MORE[why]] if why in WHY_NO_MORE else []


def against(baseline: FailureRate, candidate: FailureRate) -> str:
    """The rates at which runs diverged with and without a technique."""
    shown = [write_rate(rate.diverged, rate.runs, rate.ci95) for rate in (candidate, baseline)]
    return " against ".join(shown)


def draw(effects: Sequence[Effect], metric: str, margin: float) -> str:
    """The differences and their intervals as a figure, SVG."""
    scale = metric_of(metric)
    rows = []
    for effect in effects:
        comparison, difference = effect.comparison, effect.comparison.difference
        mean = difference.mean * scale.factor if difference else math.nan
        interval = scale.interval(comparison.ci95)
        rows.append(ForestRow(effect.technique, mean, interval, comparison.verdict, comparison.is_close))
    return forest(rows, margin=margin * scale.factor, xlabel=scale.difference_axis)


def markdown(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a table in Markdown."""
    return [f"| {' | '.join(line)} |" for line in (columns, ["---"] * len(columns), *rows)]
