"""`cnnbench plan`: from the spread of a pilot's runs, how many seeds a difference needs and what they cost."""

import math
import statistics as plain
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cnnbench.arguments import Parser
from cnnbench.console import note, say, say_json, show_table
from cnnbench.errors import ConfigError
from cnnbench.groups import Group, collect
from cnnbench.statistics import MOST_SEEDS, pairs_for_difference
from cnnbench.verdicts import paired_by_seed
from cnnbench.wording import Scale

DESCRIPTION = """
How many seeds it takes to see a difference, from the spread of runs made already: that of paired differences where two
groups share seeds. Where none do, the deviation within groups times the square root of 2 stands for it, an upper bound
as long as seeds have something in common.
"""
FEWEST = 3  # runs from which a spread is worth anything
DIFFERENCES = (0.1, 0.2, 0.5, 1.0, 2.0)


def main(arguments: Sequence[str]) -> None:
    """Shows the spreads found, and for several differences the seeds they need."""
    parser = Parser("plan", DESCRIPTION)
    parser.add_argument("folders", nargs="+", type=Path, metavar="DIR", help="run folders, or folders of them")
    parser.add_argument(
        "--difference", type=float, default=0.5, metavar="D", help="to be seen: points of a fraction (default: 0.5)"
    )
    parser.add_argument("--power", type=float, default=0.8, help="chance of seeing it (default: 0.8)")
    parser.add_argument("--metric", default="test_accuracy", help="a number of summary.json (default: test_accuracy)")
    parser.add_argument("--family", type=int, default=1, metavar="N", help="comparisons made at once (default: 1)")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    options = parser.parse_args(arguments)
    refuse_values(options.difference, options.power, options.family)
    groups = collect(options.folders, options.metric).groups
    document = plan(groups, options.metric, options.difference, options.power, options.family)
    if options.json:
        say_json(document)
    else:
        show(document)


def refuse_values(difference: float, power: float, family: int) -> None:
    """Looks at the numbers given.

    Raises:
        ConfigError: with one line for each that is out of range.
    """
    findings = []
    if not 0 < difference < math.inf:
        findings.append(f"--difference {difference}: should be a number > 0, in points")
    if not 0 < power < 1:
        findings.append(f"--power {power}: should be a number > 0 and < 1, as 0.8")
    if family < 1:
        findings.append(f"--family {family}: should be a whole number >= 1")
    if findings:
        raise ConfigError(*findings)


def plan(groups: Sequence[Group], metric: str, difference: float, power: float, family: int) -> dict[str, Any]:
    """All of it as one JSON document; `sd` in the metric's unit, differences in points where that is a fraction."""
    hours = hours_per_run(groups)

    def needed(value: float, sd: float | None) -> dict[str, Any]:
        seeds = None
        if sd is not None:
            seeds = pairs_for_difference(sd, value / Scale.of(metric).factor, power=power, family=family)
        return {"difference": value, "seeds": seeds, "hours": 2 * seeds * hours if seeds and hours else None}

    rows = [describe(group, groups[0], metric) for group in groups]
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


def describe(group: Group, first: Group, metric: str) -> dict[str, Any]:
    """The spread of a group, and that of its differences from the first one where they share seeds."""
    values = group.numbers(metric)
    differences = paired_by_seed(first, group, metric) if group is not first else []
    return {
        "label": group.label,
        "n": len(values),
        "sd": spread(values),
        "n_pairs": len(differences),
        "sd_of_differences": spread(differences),
    }


def spread(values: Sequence[float]) -> float | None:
    """The standard deviation; None where there are too few values to know it."""
    return plain.stdev(values) if len(values) >= FEWEST else None


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


def show(document: dict[str, Any]) -> None:
    """The spreads, then the seeds and hours that differences need."""
    metric, groups, needed = document["metric"], document["groups"], document["needed"]
    unit = Scale.of(metric).difference_unit or metric
    goal = groups[0]["needed"]["difference"]
    show_table(
        ("group", "seeds", f"sd ({unit})", "sd of differences from the first", f"seeds to see {goal:g}"),
        [
            (
                group["label"],
                str(group["n"]),
                write(group["sd"], metric),
                write(group["sd_of_differences"], metric) if group["n_pairs"] else "",
                write_seeds(group["needed"]["seeds"]) if group["sd_of_differences"] is not None else "",
            )
            for group in groups
        ],
    )
    say()
    if any(group["sd"] is None for group in groups):
        note(f"fewer than {FEWEST} seeds do not tell a spread, and do not count")
    if document["sd_of_differences"] is None:
        note(f"{document['source']}; train more seeds, then plan")
        return
    sd = write(document["sd_of_differences"], metric)
    family = f", one of {document['family']} compared at once" if document["family"] > 1 else ""
    say(f"Seeds to see a difference with {document['power']:.0%} power{family},")
    say(f"at a deviation of {sd} {unit} ({document['source']}):\n")
    show_table(
        (f"difference ({unit})", "seeds", "hours, both groups"),
        [
            (f"{row['difference']:g}", write_seeds(row["seeds"]), f"{row['hours']:.2g}" if row["hours"] else "")
            for row in needed
        ],
    )


def write_seeds(seeds: int | None) -> str:
    """A number of seeds; None stands for too many."""
    return f"over {MOST_SEEDS:,}" if seeds is None else str(seeds)


def write(value: float | None, metric: str) -> str:
    """A deviation, in points where the metric is a fraction."""
    return "unknown" if value is None else f"{Scale.of(metric).factor * value:.3g}"
