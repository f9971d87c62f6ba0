"""What a sweep shows at its end: a table of what was tried, which depends on nothing but what the runs came to."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from cnnbench.analysis.metrics import metric_of
from cnnbench.console import say, say_exactly, show_table
from cnnbench.runs.read import summary_of
from cnnbench.sweeps.jobs import Job
from cnnbench.sweeps.watch import rank

MOST_ROWS = 40
COLUMNS = {"test accuracy": "test_accuracy", "validation accuracy": "best_val_accuracy"}


def show_outcome(folder: Path, jobs: Sequence[Job]) -> None:
    """A row for each group of jobs that differ in their seed alone, the best first; and the command that compares."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for job in jobs:
        groups.setdefault(job.group, []).append(summary_of(folder / job.folder))
    ranked = sorted(groups.items(), key=lambda group: -mean_rank(group[1]))
    say()
    show_table(("group", "runs", *COLUMNS), [row(name, members) for name, members in ranked[:MOST_ROWS]])
    if len(ranked) > MOST_ROWS:
        say(f"and {len(ranked) - MOST_ROWS} more")
    finished = sum(summary.get("status") == "finished" for summaries in groups.values() for summary in summaries)
    say(f"\n{finished} of {len(jobs)} jobs finished")
    say(f"`cnnbench compare {shlex.quote(str(folder))}` says what made a difference")
    say_exactly(f"sweep: {folder}")


def mean_rank(summaries: Sequence[Mapping[str, Any]]) -> float:
    """By which groups are listed; those without a result come last."""
    values = [value for summary in summaries if (value := rank(summary)) >= 0]
    return fmean(values) if values else -1.0


def row(name: str, summaries: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """A line of the table: how many of the runs have finished, and the mean of what they reached."""
    finished = [summary for summary in summaries if summary.get("status") == "finished"]
    runs = str(len(summaries)) if len(finished) == len(summaries) else f"{len(finished)} of {len(summaries)}"
    return name, runs, *(spread(finished, key) for key in COLUMNS.values())


def spread(summaries: Sequence[Mapping[str, Any]], key: str) -> str:
    """`98.12 ± 0.34 %`; empty where no run has such a number."""
    values = [summary[key] for summary in summaries if isinstance(summary.get(key), float)]
    if not values:
        return ""
    return f"{metric_of(key).write_spread(fmean(values), stdev(values) if len(values) > 1 else None)} %"
