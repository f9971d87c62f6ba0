"""The runs of an ablation: planned and checked before anything is written, then trained as the jobs of a sweep."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from glob import escape
from pathlib import Path
from signal import SIGINT
from typing import Annotated

from cnnbench.analysis.metrics import margin_in
from cnnbench.config.compose import compose
from cnnbench.config.overrides import refuse_mistakes
from cnnbench.config.run_config import RunConfig
from cnnbench.config.settings import PositiveInt, Range
from cnnbench.errors import ConfigError, Interrupted
from cnnbench.progress import loading_torch
from cnnbench.runs.identity import group_hash
from cnnbench.sweeps.ablation import (
    Mode,
    Variant,
    choose_techniques,
    combine,
    make_variants,
    read_ablation,
    refuse_equal,
)
from cnnbench.sweeps.ablation_folder import (
    Job,
    Plan,
    PlannedVariant,
    all_jobs,
    set_aside,
    unfinished,
    why_not_done,
    with_old_plan,
    write_plan,
)
from cnnbench.sweeps.jobs import run_jobs, sweep_folder
from cnnbench.sweeps.watch import watching


@dataclass(frozen=True)
class Settings:
    """The keys that are `ablate`'s own."""

    ablation: str = "articles"
    mode: Mode = "add_one"
    seeds: PositiveInt = 8
    techniques: list[str] | None = None
    metric: str = "test_accuracy"
    margin: Annotated[float, Range(at_least=0)] | None = None


@dataclass(frozen=True)
class Planned:
    """An ablation about to run. `jobs` are those still to do; `plan` has those of an earlier call too."""

    folder: Path
    plan: Plan
    wanted: int
    jobs: list[Job]
    seconds: Mapping[str, float]
    hydra_overrides: list[str]
    config_dir: str | None


def plan_runs(settings: Settings, overrides: Sequence[str], config_dir: str | None) -> Planned:
    """Looks at everything that can be wrong, and times a few steps of each variant that is still to be trained.

    Raises:
        CnnbenchError: what the user can mend, before anything is written.
    """
    margin_in(f"margin={settings.margin}", settings.margin, settings.metric)
    ours, hydras = split_overrides(overrides)
    ablation = choose_techniques(read_ablation(settings.ablation, config_dir), settings.techniques)
    refuse_mistakes(combine([ablation.baseline, ours], []), config_dir)
    variants = make_variants(ablation, settings.mode, ours)
    configs = compose_all(variants, config_dir)
    compose(hydras, config_dir)  # which finds a launcher that is not there
    hashes = {name: group_hash(config.as_dict()) for name, config in configs.items()}
    refuse_equal(hashes)
    new = Plan(
        ablation=settings.ablation,
        mode=settings.mode,
        seeds=list(range(settings.seeds)),
        baseline=ablation.baseline,
        overrides=ours,
        techniques=ablation.techniques,
        variants={v.name: PlannedVariant(v.techniques, v.overrides, hashes[v.name]) for v in variants},
    )
    folder = sweep_folder(hydras, "ablation")
    plan = with_old_plan(folder, new)
    jobs = unfinished(folder, new)
    with loading_torch():
        from cnnbench.speed.duration import time_runs

    seconds = time_runs({job.variant: configs[job.variant] for job in jobs}, settings.metric)
    return Planned(folder, plan, len(all_jobs(new)), jobs, seconds, hydras, config_dir)


def split_overrides(overrides: Sequence[str]) -> tuple[list[str], list[str]]:
    """Those for the runs, and those for Hydra.

    Raises:
        ConfigError: with one line for each that has no place in an ablation.
    """
    hydras = [text for text in overrides if text.lstrip("+~").startswith(("hydra.", "hydra/"))]
    allowed = ("hydra.sweep.dir=", "hydra/launcher=", "hydra.launcher.")
    findings = [
        f"{text}: ablate chooses this; of Hydra's own keys it takes hydra.sweep.dir and hydra/launcher"
        for text in hydras
        if not text.startswith(allowed)
    ]
    findings += [
        f"{text}: ablate runs every variant with seeds 0, 1, ...; say how many with seeds=N"
        for text in overrides
        if text.lstrip("+~").partition("=")[0] == "seed"
    ]
    if findings:
        raise ConfigError(*findings)
    return [text for text in overrides if text not in hydras], hydras


def compose_all(variants: Sequence[Variant], config_dir: str | None) -> dict[str, RunConfig]:
    """The config of each variant, by name.

    Raises:
        ConfigError: with one line for every mistake, naming the variant.
    """
    configs, findings = {}, []
    for variant in variants:
        try:
            configs[variant.name] = compose(variant.overrides, config_dir)
        except ConfigError as error:
            findings += [f"{variant.name}: {finding}" for finding in error.findings]
    if findings:
        raise ConfigError(*findings)
    return configs


def train(planned: Planned) -> dict[str, str]:
    """Runs the jobs; gives back by folder name why those that failed did.

    Raises:
        Interrupted: saying how to go on.
    """
    folder, plan = planned.folder, planned.plan
    write_plan(folder, plan)
    set_aside(folder, planned.jobs)
    jobs = [
        [*plan.variants[job.variant].overrides, f"seed={job.seed}", f"hydra.sweep.subdir={job.folder}"]
        for job in planned.jobs
    ]
    elsewhere = [text for text in planned.hydra_overrides if not text.startswith("hydra.sweep.dir=")]
    try:
        if jobs:
            names = {escape(job.folder): f"{job.variant} seed={job.seed}" for job in planned.jobs}
            with watching(folder, names):
                run_jobs(jobs, [*elsewhere, f"hydra.sweep.dir='{folder}'"], planned.config_dir)
    except KeyboardInterrupt as stop:
        left, total = len(unfinished(folder, plan)), len(all_jobs(plan))
        raise Interrupted(
            stop.signal_number if isinstance(stop, Interrupted) else SIGINT,
            f"stopped; {left} of {total} runs are to do, go on with the same command and hydra.sweep.dir='{folder}'",
        ) from None
    left_over = unfinished(folder, plan)
    return why_not_done(folder, [job for job in planned.jobs if job in left_over])
