"""From the spread of a pilot's runs, how many seeds a difference needs and what they cost."""

import math
import statistics as plain
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cnnbench.analysis.groups import Group
from cnnbench.analysis.metrics import metric_of
from cnnbench.analysis.pairing import pair_by_seed
from cnnbench.analysis.statistics.power import pairs_for_difference

FEWEST = 3  # runs from which a spread is worth anything
DIFFERENCES = (0.1, 0.2, 0.5, 1.0, 2.0)


def plan(groups: Sequence[Group], metric: str, difference: float, power: float, family: int) -> dict[str, Any]:
    """All of it as one JSON document; `sd` in the metric's unit, differences in points where that is a fraction."""
    hours = hours_per_run(groups)

    def needed(value: float, sd: float | None) -> dict[str, Any]:
        seeds = None
        if sd is not None:
            seeds = pairs_for_difference(sd, value / metric_of(metric).factor, power=power, family=family)
        return {"difference": value, "seeds": seeds, "hours": 2 * seeds * hours if seeds and hours else None}

    rows = [group_spread(group, groups[0], metric) for group in groups]
    sd, source = spread_of_differences(rows)
    return {
        "metric": metric,
        "power": power,
        "family": family,
        "groups": [row | {"needed": needed(difference, row["sd_of_differences"])} for row in rows],
        "sd_of_differences": sd,
        "source": source,
        "hours_per_run": hours,
        "needed": [needed(value, sd) for value in sorted({*DIFFERENCES, difference})],
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


def spread(values: Sequence[float]) -> float | None:
    """The standard deviation; None where there are too few values to know it."""
    return plain.stdev(values) if len(values) >= FEWEST and math.isfinite(sum(values)) else None


def spread_of_differences(rows: Sequence[Mapping[str, Any]]) -> tuple[float | None, str]:
    """The deviation to plan with, and where it is from: pooled over the differences, else over the groups."""
    if (sd := pooled((row["sd_of_differences"], row["n_pairs"]) for row in rows)) is not None:
        return sd, "of differences paired by seed"
    if (sd := pooled((row["sd"], row["n"]) for row in rows)) is not None:
        return math.sqrt(2) * sd, "sqrt(2) times that within groups, an upper bound: no two groups share seeds"
    return None, f"too few runs: it takes {FEWEST} seeds of a group to know a spread"


def pooled(spreads: Iterable[tuple[float | None, int]]) -> float | None:
    """Of deviations, each of so many values: the root mean square, weighted by the degrees of freedom."""
    known = [(sd, n - 1) for sd, n in spreads if sd is not None]
    if not known:
        return None
    return math.sqrt(sum(sd**2 * freedom for sd, freedom in known) / sum(freedom for _, freedom in known))


def hours_per_run(groups: Sequence[Group]) -> float | None:
    """The median over all runs."""
    seconds = [value for group in groups for value in group.numbers("total_seconds")]
    return plain.median(seconds) / 3600 if seconds else None
