"""How long the jobs of a sweep will take: what `--dry-run` shows."""

import json
from collections.abc import Sequence
from pathlib import Path

from cnnbench.config.run_config import RunConfig
from cnnbench.console import say, show_table
from cnnbench.progress import loading_torch
from cnnbench.sweeps.jobs import Job, is_done
from cnnbench.sweeps.watch import spell_seconds

MOST_ROWS = 60


def show_forecast(folder: Path, jobs: Sequence[Job], side_by_side: int) -> None:
    """The jobs, of those that are not done yet how long each will take by a few steps of it, and all together."""
    to_do = [job for job in jobs if not is_done(folder, job)]
    seconds = expected_seconds(to_do)
    rows = [
        (job.folder, job.varying, spell_seconds(seconds[job.folder]) if job.folder in seconds else "done")
        for job in jobs
    ]
    show_table(("folder", "job", "about"), rows[:MOST_ROWS])
    if len(rows) > MOST_ROWS:
        say(f"and {len(rows) - MOST_ROWS} more")
    total = sum(seconds.values())
    say(f"\n{len(to_do)} of {len(jobs)} jobs to run, about {spell_seconds(total)} one after the other")
    if side_by_side > 1:
        say(f"{side_by_side} side by side, each on its part of the cores: {spell_seconds(total / side_by_side)}")
    say("nothing was written; without --dry-run they are run")


def expected_seconds(jobs: Sequence[Job]) -> dict[str, float]:
    """The seconds of each job, by its folder; those that differ in their seed alone are timed once."""
    if not jobs:
        return {}
    with loading_torch():
        from cnnbench.data.find import source_settings
        from cnnbench.speed.duration import time_runs

    kinds = {job.folder: json.dumps(job.config.as_dict() | {"seed": None}, sort_keys=True) for job in jobs}
    by_data: dict[str, dict[str, RunConfig]] = {}
    for job in jobs:
        data = json.dumps(source_settings(job.config.data), sort_keys=True)
        by_data.setdefault(data, {}).setdefault(kinds[job.folder], job.config)
    seconds: dict[str, float] = {}
    for configs in by_data.values():
        seconds |= time_runs(configs, "objective")
    return {folder: seconds[kind] for folder, kind in kinds.items()}
