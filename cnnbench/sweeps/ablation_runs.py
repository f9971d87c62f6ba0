"""The runs of an ablation: planned and checked before anything is written, then trained as the jobs of a sweep."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

from cnnbench.analysis.metrics import margin_in
from cnnbench.analysis.statistics.levels import FEWEST_PAIRS
from cnnbench.analysis.statistics.looks import looks_up_to
from cnnbench.config.compose import compose
from cnnbench.config.composition import Composer
from cnnbench.config.overrides import refuse_mistakes
from cnnbench.config.run_config import RunConfig
from cnnbench.config.settings import PositiveInt, Range
from cnnbench.config.sweep_settings import check_composed
from cnnbench.errors import ConfigError
from cnnbench.progress import loading_torch
from cnnbench.runs.identity import group_hash
from cnnbench.runs.teacher import teacher_facts, with_teacher
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
    Looks,
    Plan,
    PlannedRun,
    PlannedVariant,
    all_jobs,
    is_finished,
    unfinished,
    why_not_done,
    with_old_plan,
    write_plan,
)
from cnnbench.sweeps.by_looks import grant_seeds, seconds_in, take_look
from cnnbench.sweeps.jobs import Job
from cnnbench.sweeps.launch import sweep_folder
from cnnbench.sweeps.launchers import Launch
from cnnbench.sweeps.running import held_sweep, run_watched
from cnnbench.sweeps.watch import spell_seconds


@dataclass(frozen=True)
class Settings:
    """The keys that are `ablate`'s own."""

    ablation: str = "articles"
    mode: Mode = "add_one"
    seeds: PositiveInt | Literal["auto"] = 8
    most_seeds: Annotated[int, Range(at_least=FEWEST_PAIRS)] = 20
    budget: str | float | None = None
    techniques: list[str] | None = None
    metric: str = "test_accuracy"
    margin: Annotated[float, Range(at_least=0)] | None = None


@dataclass(frozen=True)
class Planned:
    """An ablation about to run. `jobs` are those still to do, up to the next look; `plan` has those of an earlier call
    too."""

    folder: Path
    plan: Plan
    wanted: int
    jobs: list[PlannedRun]
    seconds: Mapping[str, float]
    of_sweep: list[str]
    arguments: list[str]
    config_dir: str | None


def plan_runs(
    settings: Settings, overrides: Sequence[str], config_dir: str | None, arguments: Sequence[str]
) -> Planned:
    """Looks at everything that can be wrong, and times a few steps of each variant that is still to be trained.
    `arguments` are the command line.

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
    hashes = {
        name: group_hash(with_teacher(config.as_dict(), teacher_facts(config.loss))) for name, config in configs.items()
    }
    refuse_equal(hashes)
    new = Plan(
        ablation=settings.ablation,
        mode=settings.mode,
        seeds=list(range(settings.seeds)) if isinstance(settings.seeds, int) else [],
        baseline=ablation.baseline,
        overrides=ours,
        techniques=ablation.techniques,
        variants={v.name: PlannedVariant(v.techniques, v.overrides, hashes[v.name]) for v in variants},
        looks=looks_of(settings, [variant.name for variant in variants]),
    )
    folder = sweep_folder(hydras, "ablation")
    plan = with_old_plan(folder, new)
    to_do = {job.variant for job in unfinished(folder, new)}
    if plan.looks:
        to_do = set() if plan.looks.is_over else set(plan.variants) & set(configs)
    with loading_torch():
        from cnnbench.speed.duration import time_runs

    seconds = time_runs({name: configs[name] for name in configs if name in to_do}, settings.metric)
    if plan.looks:
        plan = grant_seeds(folder, plan, seconds)
        refuse_small_budget(plan, seconds)
    wanted = plan if plan.looks else new
    return Planned(
        folder, plan, len(all_jobs(wanted)), unfinished(folder, wanted), seconds, hydras, list(arguments), config_dir
    )


def looks_of(settings: Settings, variants: Sequence[str]) -> Looks | None:
    """Where seeds=auto, at how many seeds one will look; nothing is granted yet.

    Raises:
        ConfigError: a budget without looks, or one that cannot be read.
    """
    if settings.seeds != "auto":
        if settings.budget is not None:
            raise ConfigError(f"budget={settings.budget}: is spent where a verdict is open; give it with seeds=auto")
        return None
    return Looks(
        seeds=list(looks_up_to(settings.most_seeds)),
        metric=settings.metric,
        margin=margin_in(f"margin={settings.margin}", settings.margin, settings.metric),
        budget_seconds=None if settings.budget is None else seconds_in(str(settings.budget)),
        granted=dict.fromkeys(variants, 0),
        taken=[],
    )


def refuse_small_budget(plan: Plan, seconds: Mapping[str, float]) -> None:
    """Raises: ConfigError, where the budget does not pay for the first look at every technique."""
    looks = plan.looks
    if looks and not looks.taken and min(looks.granted.values()) < looks.seeds[0]:
        needed = looks.seeds[0] * sum(seconds.values())
        raise ConfigError(
            f"budget: the first look, at {looks.seeds[0]} seeds, takes about {spell_seconds(needed)}; raise it, or "
            "choose fewer with 'techniques=[A,B]'"
        )


def split_overrides(overrides: Sequence[str]) -> tuple[list[str], list[str]]:
    """Those for the runs, and those that say where and how they are run.

    Raises:
        ConfigError: with one line for each that has no place in an ablation.
    """
    hydras = [text for text in overrides if text.lstrip("+~").startswith(("hydra.", "hydra/"))]
    of_sweep = [text for text in overrides if text.startswith(("sweep=", "sweep."))]
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
    return [text for text in overrides if text not in hydras + of_sweep], hydras + of_sweep


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


def train(planned: Planned, tell: Callable[[Plan, Sequence[PlannedRun]], None]) -> dict[str, str]:
    """Runs the jobs and, where seeds are added, those that each look asks for, of which it `tell`s.

    Gives back by folder name why those that failed did.

    Raises:
        Interrupted: saying how to go on.
    """
    folder, plan = planned.folder, planned.plan
    failures = run(planned, plan, planned.jobs)
    while plan.looks and not plan.looks.is_over:
        plan = grant_seeds(folder, take_look(folder, plan), planned.seconds)
        write_plan(folder, plan)
        jobs = unfinished(folder, plan)
        tell(plan, jobs)
        failures |= run(planned, plan, jobs)
    return failures


def run(planned: Planned, plan: Plan, jobs: Sequence[PlannedRun]) -> dict[str, str]:
    """Runs jobs of the plan; gives back by folder name why those that failed did.

    Raises:
        Interrupted: saying how to go on.
    """
    folder = planned.folder
    with held_sweep(folder):
        write_plan(folder, plan)
        if not jobs:
            return {}
        to_do = {run.folder for run in jobs}
        of_plan = sweep_jobs(plan, all_jobs(plan), planned.config_dir)
        launch = Launch(folder, planned.arguments, planned.of_sweep, planned.config_dir)
        run_watched(of_plan, [job for job in of_plan if job.folder in to_do], launch)
    return why_not_done(folder, [job for job in jobs if not is_finished(folder / job.folder)])


def sweep_jobs(plan: Plan, runs: Sequence[PlannedRun], config_dir: str | None) -> list[Job]:
    """The runs of the plan as jobs of a sweep."""
    composer = Composer(config_dir)
    configs = {
        name: check_composed(composer.compose(plan.variants[name].overrides))
        for name in dict.fromkeys(run.variant for run in runs)
    }
    return [
        Job(run.folder, (run.variant, f"seed={run.seed}"), replace(configs[run.variant], seed=run.seed)) for run in runs
    ]
