"""The Hydra application behind `cnnbench train`: overrides in, checked runs out."""

import os
import re
import secrets
import sys
from argparse import Namespace
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from datetime import datetime
from pathlib import Path

from hydra._internal.callbacks import Callbacks
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from hydra.types import HydraContext, RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from cnnbench.config.compose import parse_options
from cnnbench.config.composition import CONFIG, first_line, make_hydra, register_resolvers, to_plain
from cnnbench.config.overrides import every_job, refuse_mistakes
from cnnbench.config.run_config import check_config
from cnnbench.errors import ConfigError, DataError, DiskError, SweepError
from cnnbench.progress import loading_torch
from cnnbench.runs.folder import record_failure
from cnnbench.runs.read import failed_runs, is_run
from cnnbench.runs.signals import interrupting
from cnnbench.sweeps.rehearsal import refuse_misfits
from cnnbench.sweeps.watch import show_sweep, watching

SUBDIR = "hydra.sweep.subdir="
JOB_NUMBER = r"\\?\$\{hydra[:.]job\.num\}"


class JobEnded(KeyboardInterrupt):
    """Carries the `error` of a job through Hydra, which lets nothing else pass without a line of its own."""

    def __init__(self, error: Exception) -> None:
        super().__init__(error)
        self.error = error


def launch(arguments: Sequence[str]) -> None:
    """Runs what `cnnbench train` was asked for: one job, a sweep (`-m`), or a look at the config (`--cfg job`).

    Raises:
        ConfigError: with one line for every mistake in any job, before the first has started.
        DataError: the folder of the sweep holds runs.
        DiskError: the run folder cannot be made.
        SweepError: with one line for every job of a sweep that failed.
    """
    options = parse_options(arguments)
    looks = options.help or options.hydra_help or options.cfg or options.info  # these need no torch
    refuse_mistakes(options.overrides, options.config_dir, sweep=options.multirun, values=not looks)
    sweep = sweep_folder(options.overrides, "sweep") if options.multirun else None
    if sweep and any(map(is_run, sweep.glob("*"))):
        raise DataError(f"{sweep}: holds runs already; choose another folder with hydra.sweep.dir=PATH")
    if sweep and not looks:
        refuse_misfits(options.overrides, options.config_dir)
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises instead of printing and leaving
    sys.argv = ["cnnbench train", *arguments]  # for environment.json
    jobs = varying_settings(options.overrides, options.config_dir) if sweep and not looks else {}
    try:
        with watching(sweep, jobs) if jobs and sweep else nullcontext():
            call_hydra(options, [f"hydra.sweep.dir={quoted(sweep)}"] if sweep else [])
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(first_line(error)) from None
    except JobEnded as ended:
        raise ended.error from None
    except OSError as error:
        if error.filename is None:
            raise
        raise DiskError(f"{error.filename}: {error.strerror}; choose another folder with hydra.run.dir=PATH") from error
    if jobs and sweep:
        show_sweep(sweep, jobs)
        if failures := failed_runs(sweep):
            raise SweepError(*failures)


def varying_settings(overrides: Sequence[str], config_dir: str | None) -> dict[str, str]:
    """By the pattern of its run folder's name, what is not the same in all jobs of a sweep: `optimizer=adam seed=1`."""
    jobs = every_job(overrides, config_dir)
    subdir = next((text.partition("=")[2] for text in overrides if text.startswith(SUBDIR)), None)
    common = set(jobs[0]).intersection(*jobs)
    return {
        folder_pattern(subdir, number): " ".join(text for text in job if text not in common) or "the one job"
        for number, job in enumerate(jobs)
    }


def folder_pattern(subdir: str | None, number: int) -> str:
    """What the name of a job's folder matches; `subdir` is what the command line says it should be."""
    if subdir is None:
        return f"{number}-*"
    return re.sub(r"\\?\$\{[^}]*\}", "*", re.sub(JOB_NUMBER, str(number), subdir.strip("'\"")))


def call_hydra(options: Namespace, more: Sequence[str]) -> None:
    """Has Hydra do what the options say, with `more` overrides; it reads no command line of its own."""
    ours, overrides = make_hydra(options.config_dir), [*options.overrides, *more]
    if options.help:
        ours.app_help(CONFIG, get_args_parser(), options)
    elif options.hydra_help:
        ours.hydra_help(CONFIG, get_args_parser(), options)
    elif options.cfg:
        ours.show_cfg(CONFIG, overrides, options.cfg, package=None, resolve=options.resolve)
    elif options.info:
        ours.show_info(options.info, CONFIG, overrides)
    elif options.multirun:
        ours.multirun(CONFIG, hydra_main, overrides)
    else:
        ours.run(CONFIG, hydra_main, overrides)


def hydra_main(composed: DictConfig) -> float | None:
    """One job: trains into the folder Hydra chose; returns the objective for a sweeper, NaN where the job failed."""
    settings = HydraConfig.get()
    folder = Path(settings.runtime.output_dir)
    sweeps = not OmegaConf.is_missing(settings.job, "num")
    try:
        with interrupting():  # which a sweep's worker process does not do yet
            with loading_torch():
                from cnnbench.experiment import run_experiment

            return run_experiment(check_config(to_plain(composed)), folder, quiet=sweeps)["objective"]
    except (Exception, KeyboardInterrupt) as error:
        with suppress(OSError):  # only where the job made nothing in it
            folder.rmdir()
        if not isinstance(error, Exception):
            raise  # Hydra lets it pass: a signal ends the whole sweep
        if not sweeps:
            raise JobEnded(error) from None
        record_failure(folder, error)  # a failing job must not end the sweep
        return float("nan")


def run_jobs(jobs: Sequence[Sequence[str]], hydra_overrides: Sequence[str], config_dir: str | None = None) -> None:
    """Runs each list of overrides as a job of a sweep, on the launcher that `hydra_overrides` choose.

    A job that fails leaves a summary that says so, and the others run.

    Raises:
        ConfigError: `hydra_overrides` are wrong.
        Interrupted: a signal stopped a job; those after it were not begun.
    """
    ours = make_hydra(config_dir)
    try:
        config = ours.compose_config(CONFIG, list(hydra_overrides), run_mode=RunMode.MULTIRUN)
        context = HydraContext(config_loader=ours.config_loader, callbacks=Callbacks(config))
        launcher = Plugins.instance().instantiate_launcher(
            hydra_context=context, task_function=hydra_main, config=config
        )
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(first_line(error)) from None
    for job in launcher.launch(jobs, initial_job_idx=0):
        _ = job.return_value  # raises what ended a job outside of `hydra_main`


def quoted(text: object) -> str:
    """`text` as the value of an override that Hydra takes letter by letter."""
    mark = '"' if "'" in str(text) else "'"
    return f"{mark}{text}{mark}"


def sweep_folder(overrides: Sequence[str], kind: str) -> Path:
    """What `hydra.sweep.dir` names; where it is not given outputs/<date>/<time>-<kind>-<4 hex>."""
    for override in OverridesParser.create().parse_overrides(list(overrides)):
        if override.key_or_group == "hydra.sweep.dir":
            return Path(OmegaConf.create([override.value()])[0])  # Hydra's own words in it, as ${now:%H}, resolved
    now = datetime.now()
    return Path(f"outputs/{now:%Y-%m-%d}/{now:%H-%M-%S}-{kind}-{secrets.token_hex(2)}")


register_resolvers()  # here, since a launcher's worker process imports this module before Hydra names its job's folder
