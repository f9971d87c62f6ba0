"""From overrides to the jobs of a sweep: every combination, looked at before the first starts."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf, open_dict

from cnnbench.config.composition import Composer
from cnnbench.config.overrides import groups_of
from cnnbench.config.sweep_settings import check_composed
from cnnbench.config.sweeping import applicable, every_job
from cnnbench.console import note
from cnnbench.errors import CnnbenchError, ConfigError
from cnnbench.progress import waiting
from cnnbench.sweeps.jobs import Job, refuse_shared_folders
from cnnbench.sweeps.rehearsal import refuse_misfits


def plan_jobs(overrides: Sequence[str], config_dir: str | None, recorded: Mapping[str, str]) -> list[Job]:
    """The jobs of a sweep, composed and rehearsed. `recorded` has the folders of jobs that the sweep had before, by
    their config_hash: they keep them, and others are numbered from there.

    Raises:
        CnnbenchError: with one line for each finding, saying in which jobs where that is not all of them.
    """
    composer = Composer(config_dir)
    combinations = every_job(overrides, groups_of(config_dir))
    lists = [applicable(job, composer) for job in combinations]
    say_what_is_left_out(combinations, lists)
    jobs: dict[str, Job] = {}
    errors: dict[tuple[str, ...], CnnbenchError] = {}
    number = len(recorded)
    with waiting(f"looking at all {len(lists)} jobs before the first starts", len(lists)) as wait:
        for texts, settings in zip(lists, varying_settings(lists), strict=True):
            wait.advance()
            composed = composer.compose(texts)
            try:
                job = Job("", settings, check_composed(composed))
            except ConfigError as error:
                errors[settings] = error
                continue
            if job.config_hash in jobs:
                continue
            name = recorded.get(job.config_hash)
            if name is None:
                name, number = folder_name(composed, number), number + 1
            jobs[job.config_hash] = replace(job, folder=name)
    planned = list(jobs.values())
    refuse_misfits(planned, errors)
    refuse_shared_folders(planned, recorded)
    if same := len(lists) - len(planned):
        note(f"{same} of {len(lists)} combinations come to the same as another, and are run once")
    return planned


def say_what_is_left_out(combinations: Sequence[Sequence[str]], lists: Sequence[Sequence[str]]) -> None:
    """Notes which settings go to some of the jobs only, for the choices of the others have no such setting."""
    without: dict[str, int] = {}
    for job, kept in zip(combinations, lists, strict=True):
        for text in set(job) - set(kept):
            without[text] = without.get(text, 0) + 1
    for text, count in sorted(without.items()):
        having = sum(text in job for job in combinations) - count
        note(f"{text}: goes to the {having} jobs that have this setting, {count} have not")


def varying_settings(lists: Sequence[Sequence[str]]) -> list[tuple[str, ...]]:
    """Of each list of overrides those that are not in all of them."""
    common = set(lists[0]).intersection(*lists)
    return [tuple(text for text in job if text not in common) for job in lists]


def folder_name(composed: DictConfig, number: int) -> str:
    """What the config says of the folder of the job with this number."""
    with open_dict(composed):
        composed.hydra.job.num = number
    before = HydraConfig.instance().cfg
    HydraConfig.instance().set_config(composed)  # which `${hydra:job.num}` looks up
    try:
        return str(OmegaConf.select(composed, "hydra.sweep.subdir"))
    finally:
        HydraConfig.instance().cfg = before
