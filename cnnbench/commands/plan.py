"""`cnnbench plan`: how many seeds a difference needs."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cnnbench.analysis.groups import collect
from cnnbench.analysis.metrics import metric_of
from cnnbench.analysis.plan import FEWEST, plan
from cnnbench.analysis.same_data import refuse_different_data
from cnnbench.analysis.statistics.expected_looks import MOST as MOST_LOOKS
from cnnbench.analysis.statistics.power import MOST_SEEDS
from cnnbench.commands.arguments import Parser
from cnnbench.console import note, say, say_json, show_table
from cnnbench.errors import ConfigError

DESCRIPTION = """
How many seeds it takes to see a difference, from the spread of runs made already: that of paired differences where two
groups share seeds. Where none do, the deviation within groups times the square root of 2 stands for it, an upper bound
as long as seeds have something in common.
"""


def main(arguments: Sequence[str]) -> None:
    """Shows the spreads found, and for several differences the seeds they need."""
    parser = Parser("plan", DESCRIPTION)
    parser.add_argument("folders", nargs="+", type=Path, metavar="DIR", help="run folders, or folders of them")
    parser.add_argument(
        "--difference", type=float, default=0.5, metavar="D", help="to be seen: points of a fraction (default: 0.5)"
    )
    parser.add_argument("--power", type=float, default=0.8, help="chance of seeing it (default: 0.8)")
    parser.add_argument("--metric", default="test_accuracy", help="a number of summary.json (default: test_accuracy)")
    parser.add_argument("--family", type=int, default=1, metavar="N", help="techniques beside a baseline (default: 1)")
    parser.add_argument(
        "--sequential", action="store_true", help="also for seeds added where a verdict is open (ablate seeds=auto)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    options = parser.parse_args(arguments)
    refuse_values(options.difference, options.power, options.family)
    groups = collect(options.folders, options.metric).groups
    refuse_different_data(groups)
    document = plan(
        groups, options.metric, options.difference, options.power, options.family, by_looks=options.sequential
    )
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


def show(document: dict[str, Any]) -> None:
    """The spreads, then the seeds and hours that differences need."""
    metric, groups = document["metric"], document["groups"]
    unit = metric_of(metric).difference_unit or metric
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
    show_needed(document, unit)
    if document["looks"]:
        show_looks(document["looks"], unit)


def show_needed(document: dict[str, Any], unit: str) -> None:
    """The deviation, how well it is known, and the seeds that differences need by it."""
    metric, needed = document["metric"], document["needed"]
    sd, planned = (write(document[key], metric) for key in ("sd_of_differences", "sd_planned"))
    family = f", each of {document['family']} techniques beside one baseline" if document["family"] > 1 else ""
    say(f"Seeds to see a difference with {document['power']:.0%} power{family}:")
    if document["sd_interval"]:
        low, high = (write(end, metric) for end in document["sd_interval"])
        say(f"the deviation {document['source']} is {sd} {unit} (95 % interval {low} to {high});")
        say(f"planned with {planned}, which the true one does not exceed in 80 % of pilots of this size\n")
    show_table(
        (f"difference ({unit})", "seeds", "if the estimate were true", "with twice the pilot", "runs", "hours"),
        [
            (
                f"{row['difference']:g}",
                write_seeds(row["seeds"]),
                write_seeds(row["seeds_at_estimate"]),
                write_seeds(row["seeds_of_twice_the_pilot"]),
                f"{row['runs']:,}" if row["runs"] else "",
                f"{row['hours']:.2g}" if row["hours"] else "",
            )
            for row in needed
        ],
    )


def show_looks(rows: Sequence[dict[str, Any]], unit: str) -> None:
    """The same with seeds added where a verdict is open."""
    say("\nWith seeds added where a verdict is open (`ablate seeds=auto most_seeds=N`):\n")
    show_table(
        (f"difference ({unit})", "looks at", "seeds on average", "hours at the most"),
        [
            (
                f"{row['difference']:g}",
                ", ".join(map(str, row["looks"])) if row["looks"] else f"over {MOST_LOOKS}",
                f"{row['average_seeds']:.1f}" if row["looks"] else "",
                f"{row['most_hours']:.2g}" if row["most_hours"] else "",
            )
            for row in rows
        ],
    )


def write_seeds(seeds: int | None) -> str:
    """A number of seeds; None stands for too many."""
    return f"over {MOST_SEEDS:,}" if seeds is None else str(seeds)


def write(value: float | None, metric: str) -> str:
    """A deviation, in points where the metric is a fraction."""
    return "unknown" if value is None else f"{metric_of(metric).factor * value:.3g}"
