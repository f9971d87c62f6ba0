"""Whether the times of two groups of runs compare: when, where and on how busy a machine the runs were made.

From summary.json: `run_id`, which begins with the time of the start (UTC), `total_seconds`, `load_at_start`,
`load_at_end`. From environment.json, where it was read: `hostname`, and for runs without a load of their own
`load_average` and `cores`. The pauses of a run that was resumed are not known: it counts as if it had none.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from cnnbench.analysis.metrics import finite_number
from cnnbench.analysis.wording import plural

MOST_READ = 200  # runs of which reading environment.json too costs no time worth mentioning
FEWEST_RUNS = 2  # of each group, for their order to say anything that the number of runs does not
NEARLY_ALL = 0.9
BUSY = 1.25  # processes ready to run a processor; the run's own threads make it 1 by its end, its decoders even more
LEAST_OVERLAP = 0.1  # of the shorter run
STARTING = 3.0  # seconds that a run counts as its own before its id was made
STAMP = "20260131T235959"


@dataclass(frozen=True)
class Made:
    """When, where and in what company a run was made.

    Attributes:
        start, end: seconds since 1970.
        host: None where it is not known.
        load: the most that was seen, in processes ready to run for each processor; None where it is not known.
    """

    start: float
    end: float
    host: str | None
    load: float | None


def made(summary: Mapping[str, Any], environment: Mapping[str, Any]) -> Made | None:
    """What the files of a run say, environment.json being empty where it was not read; None without a start."""
    start = _start(str(summary.get("run_id")))
    if start is None:
        return None
    host = environment.get("hostname")
    seconds = finite_number(summary.get("total_seconds")) or 0.0
    return Made(start, start + seconds, str(host) if host else None, _load(summary, environment))


def _start(run_id: str) -> float | None:
    stamp = run_id.partition("-")[0]
    if len(stamp) != len(STAMP):
        return None
    try:
        return datetime.fromisoformat(stamp).replace(tzinfo=UTC).timestamp()  # strptime takes five times as long
    except ValueError:
        return None


def _load(summary: Mapping[str, Any], environment: Mapping[str, Any]) -> float | None:
    own = [finite_number(summary.get(key)) for key in ("load_at_start", "load_at_end")]
    known = [load for load in own if load is not None]
    if known:
        return max(known)
    averages, cores = environment.get("load_average"), finite_number(environment.get("cores"))
    last_minute = finite_number(averages[0]) if isinstance(averages, list) and averages else None
    return last_minute / cores if last_minute is not None and cores else None


def why_times_do_not_compare(groups: Mapping[str, Sequence[Made]], baseline: str | None) -> list[str]:
    """A line for each group, by its label, and each reason; None for `baseline` asks for what is odd about the groups
    alone."""
    beside = _ran_beside([run for runs in groups.values() for run in runs])
    lines = []
    for label, runs in groups.items():
        if baseline is not None and label != baseline:
            lines += [line for line in (_elsewhere_or_in_order(label, runs, groups[baseline]),) if line]
        together = [run for run in runs if id(run) in beside]
        if together:
            lines.append(
                f"{label}: {_of(together, runs)} ran beside another on one machine: each took the other's time"
            )
        busy = [run for run in runs if run.load is not None and run.load > BUSY]
        if busy:
            most = f"{max(run.load or 0.0 for run in busy):.1f} processes a processor, with its own"
            lines.append(f"{label}: {_of(busy, runs)} made on a busy machine, up to {most}")
    return lines


def _of(some: Sequence[Made], runs: Sequence[Made]) -> str:
    return plural(len(runs), "run") if len(some) == len(runs) else f"{len(some)} of {plural(len(runs), 'run')}"


def _elsewhere_or_in_order(label: str, runs: Sequence[Made], others: Sequence[Made]) -> str | None:
    """Whether the machine, or its mood of the day, differs between the groups as the technique does."""
    hosts, other_hosts = ({run.host for run in each} for each in (runs, others))
    if runs and others and None not in hosts | other_hosts and not hosts & other_hosts:
        return f"no run of {label} was made on a machine of the baseline's: their times do not compare"
    if min(len(runs), len(others)) < FEWEST_RUNS:
        return None
    order = [(ours.start > theirs.start) - (ours.start < theirs.start) for ours in runs for theirs in others]
    later = Counter(order)
    for side, word in ((1, "after"), (-1, "before")):
        share = later[side] / len(order)
        if share >= NEARLY_ALL:
            all_or_nearly = "all" if share == 1 else "nearly all"
            return f"{all_or_nearly} runs of {label} were made {word} those of the baseline: their times do not compare"
    return None


def _ran_beside(runs: Sequence[Made]) -> set[int]:
    """The ids of the objects of those runs that overlap another one of the same host in time."""
    found: set[int] = set()
    by_host: dict[str, list[Made]] = {}
    for run in sorted(runs, key=lambda run: run.start):
        if run.host is None:
            continue
        going_on = [other for other in by_host.get(run.host, []) if other.end > run.start]
        for other in going_on:
            shared = min(run.end, other.end) - run.start
            if shared > STARTING + LEAST_OVERLAP * min(run.end - run.start, other.end - other.start):
                found |= {id(run), id(other)}
        by_host[run.host] = [*going_on, run]
    return found
