"""From the spread of a pilot's runs, how many seeds a difference needs and what they cost."""

import math
import statistics as plain
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cnnbench.analysis.groups import Group
from cnnbench.analysis.metrics import metric_of
from cnnbench.analysis.pairing import pair_by_seed
from cnnbench.analysis.statistics.expected_looks import plan_looks
from cnnbench.analysis.statistics.power import pairs_for_difference
from cnnbench.analysis.statistics.spread import sd_bound, sd_interval

FEWEST = 3  # runs from which a spread is worth anything
DIFFERENCES = (0.1, 0.2, 0.5, 1.0, 2.0)


def plan(
    groups: Sequence[Group], metric: str, difference: float, power: float, family: int, *, by_looks: bool = False
) -> dict[str, Any]:
    """All of it as one JSON document; `sd` in the metric's unit, differences in points where that is a fraction.

    What is needed is planned with a deviation that the true one exceeds in 20 % of pilots only (`sd_planned`), and for
    so many techniques beside one baseline; `by_looks` for seeds added where a verdict is open, too.
    """
    hours = hours_per_run(groups)
    rows = [group_spread(group, groups[0], metric) for group in groups]
    sd, freedom, source = spread_of_differences(rows)
    planned = sd_bound(sd, freedom) if sd is not None else None
    wanted = sorted({*DIFFERENCES, difference})
    scale = metric_of(metric).factor

    def needed(value: float, with_sd: float | None) -> dict[str, Any]:
        seeds = None if with_sd is None else pairs_for_difference(with_sd, value / scale, power=power, family=family)
        runs = (family + 1) * seeds if seeds else None
        return {"difference": value, "seeds": seeds, "runs": runs, "hours": runs * hours if runs and hours else None}

    return {
        "metric": metric,
        "power": power,
        "family": family,
        "groups": [row | {"needed": needed(difference, planned_sd(row))} for row in rows],
        "sd_of_differences": sd,
        "sd_interval": sd_interval(sd, freedom) if sd else None,
        "sd_planned": planned,
        "source": source,
        "hours_per_run": hours,
        "needed": [
            needed(value, planned)
            | {"seeds_at_estimate": needed(value, sd)["seeds"]}
            | {"seeds_of_twice_the_pilot": needed(value, sd and sd_bound(sd, 2 * freedom))["seeds"]}
            for value in wanted
        ],
        "looks": [looks_for(value, value / scale, planned, power, family, hours) for value in wanted]
        if by_looks and planned
        else None,
    }


def looks_for(
    shown: float, difference: float, sd: float, power: float, family: int, hours: float | None
) -> dict[str, Any]:
    """At how many seeds to look for a difference, how many that takes on average, and the hours at the most."""
    found = plan_looks(difference / sd, power, family)
    if found is None:
        return {"difference": shown, "looks": None, "average_seeds": None, "most_hours": None}
    most = (family + 1) * found.looks[-1]
    return {
        "difference": shown,
        "looks": list(found.looks),
        "average_seeds": found.average_seeds,
        "most_hours": most * hours if hours else None,
    }


def group_spread(group: Group, first: Group, metric: str) -> dict[str, Any]:
    """The spread of a group, and that of its differences from the first one where they share seeds."""
    values = group.numbers(metric)
    differences = list(pair_by_seed(first, group, metric).differences.values()) if group is not first else []
    return {
        "label": group.label,
        "n": len(values),
        "sd": spread(values),
        "n_pairs": len(differences),
        "sd_of_differences": spread(differences),
    }


def planned_sd(row: Mapping[str, Any]) -> float | None:
    """What the deviation of a group's differences does not exceed in 80 % of pilots."""
    sd = row["sd_of_differences"]
    return sd_bound(sd, row["n_pairs"] - 1) if sd else sd


def spread(values: Sequence[float]) -> float | None:
    """The standard deviation; None where there are too few values to know it."""
    return plain.stdev(values) if len(values) >= FEWEST and math.isfinite(sum(values)) else None


def spread_of_differences(rows: Sequence[Mapping[str, Any]]) -> tuple[float | None, int, str]:
    """The deviation, its degrees of freedom, and where it is from: pooled over differences, else over groups."""
    sd, freedom = pooled((row["sd_of_differences"], row["n_pairs"]) for row in rows)
    if sd is not None:
        return sd, freedom, "of differences paired by seed"
    sd, freedom = pooled((row["sd"], row["n"]) for row in rows)
    if sd is not None:
        return math.sqrt(2) * sd, freedom, "sqrt(2) times that within groups, an upper bound: no two groups share seeds"
    return None, 0, f"too few runs: it takes {FEWEST} seeds of a group to know a spread"


def pooled(spreads: Iterable[tuple[float | None, int]]) -> tuple[float | None, int]:
    """Of deviations that are not zero, each of so many values: the root mean square, weighted by the degrees of
    freedom, and their sum."""
    known = [(sd, n - 1) for sd, n in spreads if sd]
    freedom = sum(freedom for _, freedom in known)
    return (math.sqrt(sum(sd**2 * part for sd, part in known) / freedom) if known else None), freedom


def hours_per_run(groups: Sequence[Group]) -> float | None:
    """The median over all runs."""
    seconds = [value for group in groups for value in group.numbers("total_seconds")]
    return plain.median(seconds) / 3600 if seconds else None
