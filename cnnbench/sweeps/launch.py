"""The Hydra application behind `cnnbench train`: overrides in, checked runs out."""

import os
import re
import secrets
import sys
from argparse import Namespace
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from cnnbench.config.compose import parse_options
from cnnbench.config.composition import CONFIG, make_hydra, plain_part
from cnnbench.config.overrides import refuse_mistakes
from cnnbench.config.refusal import is_hydras, is_of_sweeps
from cnnbench.config.sweep_settings import check_composed, check_search
from cnnbench.console import say
from cnnbench.disk import OTHER_RUN_FOLDER, OTHER_SWEEP_FOLDER
from cnnbench.errors import ConfigError, DataError, DiskError, SweepError, first_line
from cnnbench.progress import loading_torch
from cnnbench.runs.read import is_run
from cnnbench.runs.sweep_record import SweepRecord, is_sweep, read_record
from cnnbench.sweeps.forecast import show_forecast
from cnnbench.sweeps.isolation import worker_of_this_process
from cnnbench.sweeps.jobs import failures, is_done
from cnnbench.sweeps.launchers import Launch, literal
from cnnbench.sweeps.outcome import show_outcome
from cnnbench.sweeps.planning import plan_jobs
from cnnbench.sweeps.running import held_sweep, run_watched
from cnnbench.sweeps.search_launch import search

DRY_RUN = "--dry-run"


class JobEnded(KeyboardInterrupt):
    """Carries the `error` of a run through Hydra, which lets nothing else pass without a line of its own."""

    def __init__(self, error: Exception) -> None:
        super().__init__(error)
        self.error = error


def launch(arguments: Sequence[str]) -> None:
    """Runs what `cnnbench train` was asked for: one run, a sweep (`-m`), or a look at the config (`--cfg job`).

    Raises:
        ConfigError: with one line for every mistake in any job, before the first has started.
        DataError: the folder of the sweep holds other runs.
        DiskError: the run folder cannot be made.
        Interrupted: a signal stopped it.
        SweepError: with one line for every job of a sweep that failed.
    """
    is_dry = DRY_RUN in arguments
    options = parse_options([text for text in arguments if text != DRY_RUN])
    looks = options.help or options.hydra_help or options.cfg or options.info  # these need no torch
    if options.multirun and not looks and not is_dry and will_run_here(options.overrides):
        worker_of_this_process(None).begin()  # it loads while this process looks for mistakes, and plans
    refuse_mistakes(
        options.overrides,
        options.config_dir,
        sweep=options.multirun,
        intervals=is_search(options.overrides),
        values=not looks,
    )
    sys.argv = ["cnnbench train", *arguments]  # for environment.json
    if (options.multirun or is_dry) and not looks:
        sweep(options, ["train", *arguments], is_dry=is_dry)
        return
    if not looks:
        refuse_settings_of_sweeps(options.overrides)
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises instead of printing and leaving
    try:
        call_hydra(options)
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(first_line(error)) from None
    except JobEnded as ended:
        raise ended.error from None
    except OSError as error:
        if error.filename is None:
            raise
        raise DiskError(f"{error.filename}: {error.strerror}; {OTHER_RUN_FOLDER}") from error


def call_hydra(options: Namespace) -> None:
    """Has Hydra do what the options say; it reads no command line of its own."""
    ours, overrides = make_hydra(options.config_dir), list(options.overrides)
    if options.help:
        ours.app_help(CONFIG, get_args_parser(), options)
    elif options.hydra_help:
        ours.hydra_help(CONFIG, get_args_parser(), options)
    elif options.cfg:
        ours.show_cfg(CONFIG, overrides, options.cfg, package=None, resolve=options.resolve)
    elif options.info:
        ours.show_info(options.info, CONFIG, overrides)
    else:
        ours.run(CONFIG, run, overrides)


def run(composed: DictConfig) -> None:
    """One run, into the folder Hydra chose."""
    folder = Path(HydraConfig.get().runtime.output_dir)
    try:
        with loading_torch():
            from cnnbench.experiment import run_experiment

        run_experiment(check_composed(composed), folder)
    except (Exception, KeyboardInterrupt) as error:
        with suppress(OSError):  # only where the run made nothing in it
            folder.rmdir()
        if not isinstance(error, Exception):
            raise  # Hydra lets it pass
        raise JobEnded(error) from None


def refuse_settings_of_sweeps(overrides: Sequence[str]) -> None:
    """Raises: ConfigError, with one line for each override that only a sweep could heed."""
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    idle = [o.input_line for o in parsed if is_of_sweeps(o)]
    if idle:
        raise ConfigError(*(f"{text}: says how a sweep is run; add -m, or leave it out" for text in idle))


def sweep(options: Namespace, arguments: list[str], *, is_dry: bool) -> None:
    """Runs every combination of the values that is not done yet, and shows what came of it; with `is_dry`, what it
    would run and how long that takes.

    Raises:
        CnnbenchError: as `launch`.
    """
    parsed = OverridesParser.create().parse_overrides(list(options.overrides))
    theirs = [str(o.input_line) for o in parsed if is_hydras(o) or is_of_sweeps(o)]
    folder = sweep_folder(options.overrides, "sweep")
    if any(map(is_run, folder.glob("*"))) and not is_sweep(folder):
        raise DataError(f"{folder}: holds runs of something else; {OTHER_SWEEP_FOLDER}")
    before = read_record(folder) if is_sweep(folder) else SweepRecord(arguments, [])
    how = Launch(folder, arguments, theirs, options.config_dir)
    settings = check_search(plain_part(how.config, "search"))
    if settings.sampler:
        if is_dry:
            raise ConfigError(f"{DRY_RUN}: what a search will try is not known before; leave it out")
        with held_sweep(folder):
            failed = search(how, options.overrides, settings)
        if failed:
            raise SweepError(*failed)
        return
    jobs = plan_jobs(options.overrides, options.config_dir, {job.config_hash: job.folder for job in before.jobs})
    if is_dry:
        show_forecast(folder, jobs, how.side_by_side(len(jobs)))
        return
    to_do = [job for job in jobs if not is_done(folder, job)]
    with held_sweep(folder):
        if len(to_do) < len(jobs):
            say(f"{len(jobs) - len(to_do)} of {len(jobs)} jobs are done already")
        if to_do:
            run_watched(jobs, to_do, how)
    show_outcome(folder, jobs)
    if failed := failures(folder, jobs):
        raise SweepError(*failed)


def will_run_here(overrides: Sequence[str]) -> bool:
    """Whether this process will run jobs, as far as the words show it: if that is wrong a worker begins for nothing, or
    later."""
    given = dict(text.split("=", 1) for text in overrides if "=" in text)
    elsewhere = {"sweep", "hydra/launcher"} & given.keys() and given.get("sweep") != "local"
    folder = Path(given.get("hydra.sweep.dir", ""))
    with suppress(DataError):
        is_over = is_sweep(folder) and all(job.state == "finished" for job in read_record(folder).jobs)
        return not elsewhere and not is_over
    return False


def is_search(overrides: Sequence[str]) -> bool:
    """Whether values are drawn, by what `search` names."""
    return any(text.startswith("search=") and text != "search=none" for text in overrides)


def quoted(text: object) -> str:
    """`text` as the value of an override that Hydra takes letter by letter."""
    escaped = re.sub(r"(\\*)('|$)", lambda found: 2 * found[1] + found[2].replace("'", r"\'"), literal(text))
    return f"'{escaped}'"


def sweep_folder(overrides: Sequence[str], kind: str) -> Path:
    """What `hydra.sweep.dir` names; where it is not given outputs/<date>/<time>-<kind>-<4 hex>."""
    for override in OverridesParser.create().parse_overrides(list(overrides)):
        if override.key_or_group == "hydra.sweep.dir":
            return Path(OmegaConf.create([override.value()])[0])  # Hydra's own words in it, as ${now:%H}, resolved
    now = datetime.now()
    return Path(f"outputs/{now:%Y-%m-%d}/{now:%H-%M-%S}-{kind}-{secrets.token_hex(2)}")
