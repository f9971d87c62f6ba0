"""Verdicts that hold for other test images too: the stricter one of two questions."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from cnnbench.analysis.statistics.families import holm
from cnnbench.analysis.statistics.levels import ALPHA
from cnnbench.analysis.statistics.verdict import shown_interval
from cnnbench.analysis.verdicts import Comparison

METRIC = "test_accuracy"
Found = Mapping[tuple[str, str], Mapping[str, Any] | None]
"""By the ids of baseline and candidate, what `compare_predictions` says of the population; None of too few seeds."""


def with_population(comparisons: Sequence[Comparison], found: Found, margin: float) -> list[Comparison]:
    """The comparisons, each with a verdict only where it is one for other seeds and other images as well."""
    populations = [found.get((each.baseline.id, each.candidate.id)) for each in comparisons]
    asked = [i for i, each in enumerate(comparisons) if each.verdict != "undecided"]
    p_values = [population["p_value"] if (population := populations[i]) else None for i in asked]
    adjusted = dict(zip(asked, holm(p_values), strict=True))
    return [
        _held(each, _why_not(each, populations[i], adjusted[i], margin)) if i in adjusted else each
        for i, each in enumerate(comparisons)
    ]


def _why_not(comparison: Comparison, population: Mapping[str, Any] | None, p: float | None, margin: float) -> str:
    """Why a verdict about these test images is none beyond them; empty where it is one."""
    word = comparison.verdict
    if population is None or p is None:
        return f"{word} on these test images; without predictions of shared seeds nothing is known of others"
    low, high = population["ci95"]
    if word == "no practical effect" and max(-low, high) > margin:
        return f"{word} on these test images; on others it may be beyond the margin"
    if word in ("helps", "hurts") and p > ALPHA:
        return f"{word} on these test images; on others it may be chance (p {p:.2g})"
    return ""


def _held(comparison: Comparison, why: str) -> Comparison:
    if not why:
        return comparison
    interval = shown_interval(comparison.difference, "undecided") if comparison.difference else None
    return replace(comparison, verdict="undecided", held=why, ci95=interval)
