"""The networks of runs side by side on this machine: eager, as their runs have them, compiled, and by onnxruntime."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cnnbench.console import note
from cnnbench.device import describe_compute
from cnnbench.errors import CnnbenchError, first_line
from cnnbench.machine import describe_machine
from cnnbench.progress import waiting
from cnnbench.speed.bench import look_at_load
from cnnbench.speed.clock import Clocked, Contender, measure, speedup
from cnnbench.speed.subjects import EAGER, Subject, enter, open_subjects
from cnnbench.trained.export.check import differences

CLOCKED = ("images_per_second", "images_per_second_range", "latency_ms", "peak_memory_bytes")
LOWERED = 0.1  # of the largest logit: what fewer bits may change of a logit, or else a few answers
COMPARED = ("agreement", "largest_difference", "largest_logit")

Row = dict[str, Any]


def measure_runs(runs: Sequence[Path], rounds: int | None) -> dict[str, Any]:
    """One document: `machine`, `load_average` before and after, `threads`, `rounds` by size of a batch, `baseline`, and
    in `results` a row for each way of each run; its numbers are null where `problem` says why there are none.

    All ways of all runs take turns, `rounds` of them or as many as the clock finds time for.

    Raises:
        CnnbenchError: a run cannot be loaded.
    """
    load = look_at_load()
    subjects = open_subjects(runs)
    rows, contenders = entered(subjects)
    found = measure(contenders, rounds)
    for subject in subjects:
        for name in (f"{subject.label} {way}" for way in subject.ways):
            rows[name] |= judged(rows[name], subject, name, found)
    baseline = baseline_of(rows)
    for name, row in rows.items():
        if row["problem"] is None and baseline:
            ratios = speedup(found.times, baseline, name)
            row["speedup"] = {size: [ratio.ratio, *(ratio.interval or (None, None))] for size, ratio in ratios.items()}
    for problem in dict.fromkeys(row["problem"] for row in rows.values() if row["problem"]):
        note(f"{' and '.join(name for name, row in rows.items() if row['problem'] == problem)} left out: {problem}")
    turns = {str(size): len(next(iter(times.values()), [])) for size, times in sorted(found.times.items())}
    return {
        "machine": describe_machine() | describe_compute(),
        "load_average": [round(load, 2), round(os.getloadavg()[0], 2)],
        "threads": subjects[0].trained.device.threads,
        "rounds": turns,
        "baseline": baseline,
        "results": list(rows.values()),
    }


def entered(subjects: Sequence[Subject]) -> tuple[dict[str, Row], list[Contender]]:
    """By name a row without numbers for each way of each run, and those that can be timed."""
    rows: dict[str, Row] = {}
    contenders = []
    with waiting("preparing", sum(len(subject.ways) for subject in subjects)) as wait:
        for subject in subjects:
            for way in subject.ways:
                row = rows[f"{subject.label} {way}"] = empty_row(subject, way)
                try:
                    contender, row["bytes"] = enter(subject, way)
                    contenders.append(contender)
                except (CnnbenchError, RuntimeError, MemoryError) as error:
                    row["problem"] = first_line(error)
                wait.advance()
    return rows, contenders


def empty_row(subject: Subject, way: str) -> Row:
    """What is known before anything is measured, and null for the rest."""
    row = {"run": subject.label, "way": way, **subject.policy(way), "bytes": None, "split": subject.split}
    return row | dict.fromkeys((*CLOCKED, "speedup", *COMPARED, "problem"))


def judged(row: Mapping[str, Any], subject: Subject, name: str, found: Clocked) -> Row:
    """The part of a row that the clock fills in, if its logits are those of the run's network, but for rounding; in
    fewer bits nearly those, or nearly all answers the same."""
    if name not in found.rows:
        return {"problem": row["problem"] or found.problems[name]}
    same = differences(subject.logits, found.logits[name])
    is_near = same.keeps_answers or same.largest_difference <= LOWERED * same.largest_logit
    if not (same.is_rounding if row["precision"] == "fp32" else is_near):
        return {"problem": f"computes something else: {same.differs}"}
    return {key: found.rows[name][key] for key in CLOCKED} | {key: getattr(same, key) for key in COMPARED}


def baseline_of(rows: Mapping[str, Row]) -> str | None:
    """What all are compared with: the first run's eager network or, of int8 runs alone, the first row."""
    timed = [name for name, row in rows.items() if row["problem"] is None]
    return next((name for name in timed if rows[name]["way"] == EAGER), next(iter(timed), None))
