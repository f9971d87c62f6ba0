"""The folder of an ablation: its plan in ablation.json, and a run folder for each variant and seed beside it."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from cnnbench.disk import disk_errors, read_regular, write_atomically
from cnnbench.errors import DataError
from cnnbench.runs.read import is_over, is_run, read_summary, summary_of
from cnnbench.runs.variant_names import PLAN

FORMAT = 2


@dataclass(frozen=True)
class PlannedVariant:
    """A variant: its techniques, its overrides but for the seed, and the `group_hash` of its runs."""

    techniques: tuple[str, ...]
    overrides: list[str]
    group_hash: str


@dataclass(frozen=True)
class Looks:
    """How seeds are added to an ablation, fixed before its first run.

    Attributes:
        seeds: how many each technique that is still open has at each look.
        metric, margin: by which it is decided; the margin in the metric's own numbers, None for the default.
        budget_seconds: for all runs together; None without a limit.
        granted: by variant, how many seeds it has been given so far.
        taken: what the looks taken so far have shown: `seeds`, `level`, and by technique the verdict or why it stopped.
    """

    seeds: list[int]
    metric: str
    margin: float | None
    budget_seconds: float | None
    granted: dict[str, int]
    taken: list[dict[str, Any]]

    @property
    def is_over(self) -> bool:
        """Whether the last look was taken, or none of the techniques is open."""
        return len(self.taken) == len(self.seeds) or (
            bool(self.taken) and "open" not in self.taken[-1]["stands"].values()
        )


@dataclass(frozen=True)
class Plan:
    """What ablation.json says. `overrides` are those of the command line, which apply to all variants; `looks` is None
    where all have `seeds`."""

    ablation: str
    mode: str
    seeds: list[int]
    baseline: list[str]
    overrides: list[str]
    techniques: dict[str, list[str]]
    variants: dict[str, PlannedVariant]
    looks: Looks | None = None


@dataclass(frozen=True)
class PlannedRun:
    """One run of the plan."""

    variant: str
    seed: int

    @property
    def folder(self) -> str:
        """The name of its run folder."""
        return f"{self.variant}-seed{self.seed}"


def all_jobs(plan: Plan) -> list[PlannedRun]:
    """The runs of the plan, seed by seed: variants take turns, so that a machine's moods meet all of them alike."""
    jobs = [PlannedRun(variant, seed) for seed in plan.seeds for variant in plan.variants]
    return [job for job in jobs if plan.looks is None or job.seed < plan.looks.granted[job.variant]]


def with_old_plan(folder: Path, plan: Plan) -> Plan:
    """The plan together with what that in the folder, if there is one, has beyond it.

    Raises:
        DataError: the folder holds other runs, or an ablation with other settings.
    """
    if (folder / PLAN).exists():
        return merged(folder, read_plan(folder), plan)
    if any(map(is_run, folder.glob("*"))):
        raise DataError(f"{folder}: holds runs of something else; choose another folder with hydra.sweep.dir=PATH")
    return plan


def write_plan(folder: Path, plan: Plan) -> None:
    """Writes ablation.json, and makes the folder for it."""
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / PLAN, (json.dumps({"format": FORMAT} | asdict(plan), indent=2) + "\n").encode())


def merged(folder: Path, old: Plan, new: Plan) -> Plan:
    """The new plan with the seeds and variants that only the old one has.

    Raises:
        DataError: they differ in more than that.
    """
    if (old.looks and replace(old.looks, granted={}, taken=[])) != (new.looks and replace(new.looks, granted={})):
        raise DataError(
            f"{folder}: holds an ablation with other looks; repeat its seeds, most_seeds, budget, metric and margin, "
            "or choose another folder with hydra.sweep.dir=PATH"
        )
    differing = [
        name
        for name, variant in new.variants.items()
        if name in old.variants and old.variants[name].group_hash != variant.group_hash
    ]
    if differing or old.mode != new.mode:
        what = f"the settings of {differing[0]}" if differing else f"mode={old.mode}"
        raise DataError(
            f"{folder}: holds an ablation with other settings ({what}); "
            "repeat them, or choose another folder with hydra.sweep.dir=PATH"
        )
    return replace(
        new,
        seeds=sorted({*old.seeds, *new.seeds}),
        techniques=old.techniques | new.techniques,
        variants=old.variants | new.variants,
        looks=old.looks,
    )


def read_plan(folder: Path) -> Plan:
    """The plan of an ablation's folder.

    Raises:
        DataError: there is none, or it cannot be read.
    """
    file = folder / PLAN
    try:
        content = json.loads(read_regular(file))
        if content.pop("format") > FORMAT:
            raise DataError(f"{file}: is of a newer cnnbench; update cnnbench")
        variants = {
            name: PlannedVariant(**variant | {"techniques": tuple(variant["techniques"])})
            for name, variant in content.pop("variants").items()
        }
        looks = content.pop("looks", None)
        return Plan(**content, variants=variants, looks=Looks(**looks) if looks else None)
    except FileNotFoundError:
        raise DataError(f"{folder}: no folder of an ablation (no {PLAN}); give the one that `ablate` named") from None
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise DataError(f"{file}: cannot be read ({type(error).__name__}: {error}); repeat the ablation") from None


def unfinished(folder: Path, plan: Plan) -> list[PlannedRun]:
    """The jobs of the plan that have no run in the folder that has come to its end."""
    return [job for job in all_jobs(plan) if not is_done(folder / job.folder, plan.variants[job.variant].group_hash)]


def is_done(path: Path, group_hash: str) -> bool:
    """Whether a run of this config is over there."""
    summary = summary_of(path)
    return is_over(summary) and summary.get("group_hash") == group_hash


def is_finished(path: Path) -> bool:
    """Whether the run there has finished, and did not diverge."""
    return summary_of(path).get("status") == "finished"


def why_not_done(folder: Path, jobs: Sequence[PlannedRun]) -> dict[str, str]:
    """By folder name, why each of these jobs, none of which is done, is not."""
    reasons = {}
    for job in jobs:
        try:
            summary = read_summary(folder / job.folder)
            reasons[job.folder] = "; ".join(str(summary.get("error") or summary.get("status")).splitlines())
        except DataError as error:
            reasons[job.folder] = error.findings[0] if (folder / job.folder).exists() else "not run"
    return reasons
