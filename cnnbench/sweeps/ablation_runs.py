"""The runs of an ablation: planned and checked before anything is written, then trained as the jobs of a sweep."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from glob import escape
from pathlib import Path
from signal import SIGINT
from typing import Annotated, Literal

from cnnbench.analysis.metrics import margin_in
from cnnbench.analysis.statistics.levels import FEWEST_PAIRS
from cnnbench.analysis.statistics.looks import looks_up_to
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
    Looks,
    Plan,
    PlannedVariant,
    all_jobs,
    is_finished,
    set_aside,
    unfinished,
    why_not_done,
    with_old_plan,
    write_plan,
)
from cnnbench.sweeps.by_looks import grant_seeds, seconds_in, take_look
from cnnbench.sweeps.jobs import run_jobs, sweep_folder
from cnnbench.sweeps.watch import watching


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
    return Planned(folder, plan, len(all_jobs(wanted)), unfinished(folder, wanted), seconds, hydras, config_dir)


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
            f"budget: the first look, at {looks.seeds[0]} seeds, takes about {needed / 3600:.2g} hours; raise it, or "
            "choose fewer with 'techniques=[A,B]'"
        )


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


def train(planned: Planned, tell: Callable[[Plan, Sequence[Job]], None]) -> dict[str, str]:
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


def run(planned: Planned, plan: Plan, jobs: Sequence[Job]) -> dict[str, str]:
    """Runs jobs of the plan; gives back by folder name why those that failed did.

    Raises:
        Interrupted: saying how to go on.
    """
    folder = planned.folder
    write_plan(folder, plan)
    set_aside(folder, jobs)
    overrides = [
        [*plan.variants[job.variant].overrides, f"seed={job.seed}", f"hydra.sweep.subdir={job.folder}"] for job in jobs
    ]
    elsewhere = [text for text in planned.hydra_overrides if not text.startswith("hydra.sweep.dir=")]
    try:
        if jobs:
            names = {escape(job.folder): f"{job.variant} seed={job.seed}" for job in jobs}
            with watching(folder, names):
                run_jobs(overrides, [*elsewhere, f"hydra.sweep.dir='{folder}'"], planned.config_dir)
    except KeyboardInterrupt as stop:
        left, total = len(unfinished(folder, plan)), len(all_jobs(plan))
        raise Interrupted(
            stop.signal_number if isinstance(stop, Interrupted) else SIGINT,
            f"stopped; {left} of {total} runs are to do, go on with the same command and hydra.sweep.dir='{folder}'",
        ) from None
    return why_not_done(folder, [job for job in jobs if not is_finished(folder / job.folder)])
