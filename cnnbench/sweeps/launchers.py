"""Jobs on Hydra's launchers, whichever is chosen: each gets orders that are checked already, and runs them isolated."""

import copy
import json
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from hydra._internal.callbacks import Callbacks
from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from hydra.types import HydraContext, RunMode
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from cnnbench.config.composition import CONFIG, make_hydra, plain_part, register_resolvers
from cnnbench.config.sweep_settings import SweepSettings, check_sweep
from cnnbench.disk import make_folder, write_atomically
from cnnbench.errors import CnnbenchError, ConfigError, first_line
from cnnbench.machine import available_cores
from cnnbench.runs.folder import record_ending
from cnnbench.runs.read import summary_of
from cnnbench.sweeps.isolation import Order, run_order
from cnnbench.sweeps.jobs import Job
from cnnbench.sweeps.marks import is_pending, is_stopped, mark_done, mark_pending, withdraw_stop
from cnnbench.sweeps.ray_launcher import RayLauncher
from cnnbench.sweeps.stopping import stopping_jobs_first

MOST_LOSSES = 2  # of the process that runs a job, before the job is given up
ORDER = "order"
RAY = f"{RayLauncher.__module__}.{RayLauncher.__qualname__}"


@dataclass(frozen=True)
class Launch:
    """How jobs are run: the launcher and what it was told, the sweep's settings, and the command line.

    `overrides` are those of the command line that are Hydra's or the sweep's.
    """

    folder: Path
    arguments: list[str]
    overrides: list[str]
    config_dir: str | None = None

    @cached_property
    def config(self) -> DictConfig:
        """The config in which Hydra's launchers find what they were told.

        Raises:
            ConfigError: what the overrides say cannot be composed.
        """
        try:
            config = make_hydra(self.config_dir).compose_config(CONFIG, self.overrides, run_mode=RunMode.MULTIRUN)
        except (HydraException, OmegaConfBaseException) as error:
            said = first_line(error).removeprefix("Error merging override ")
            why = f": {first_line(error.__cause__)}" if isinstance(error.__cause__, Exception) else ""
            raise ConfigError(said + why) from None
        config.hydra.sweep.dir = literal(self.folder.absolute())
        return config

    @property
    def is_joblib(self) -> bool:
        """Whether the jobs are run by processes that this one starts and ends."""
        return str(self.config.hydra.launcher._target_).endswith("JoblibLauncher")

    def side_by_side(self, jobs: int) -> int:
        """How many of so many jobs run at once on this machine, as far as that is known."""
        if not self.is_joblib:
            return 1
        asked = self.config.hydra.launcher.n_jobs or 1
        return min(asked if asked > 0 else max(1, available_cores() + 1 + asked), jobs)


def run_jobs(jobs: Sequence[Job], launch: Launch, **ordered: Any) -> None:
    """Runs jobs, none of which is done, until each has ended or the sweep is stopped; a job that fails leaves a summary
    that says so. `ordered` are fields of each job's Order.

    Raises:
        ConfigError: the launcher cannot be made.
        Interrupted: a signal stopped the sweep; what it was doing is saved.
    """
    config = launch.config
    settings = check_sweep(plain_part(config, "sweep"))
    folder = launch.folder
    make_folder(folder)
    write_atomically(folder / "multirun.yaml", OmegaConf.to_yaml(config).encode())
    withdraw_stop(folder)
    for job in jobs:
        mark_pending(folder / job.folder)
    threads = threads_of_a_job(launch.side_by_side(len(jobs)))
    orders = [order_of(job, launch, settings, threads, ordered) for job in jobs]
    losses = Counter[str]()
    while left := [order for order in orders if is_pending(Path(order.path))]:
        error = launch_once(left, launch)
        if is_stopped(folder):
            return
        lost = [order.path for order in left if is_pending(Path(order.path))]
        begun = [path for path in lost if summary_of(Path(path)).get("status") in ("running", "interrupted")]
        losses.update(lost if len(lost) == len(left) else begun)
        for path in lost:
            if losses[path] > MOST_LOSSES:
                give_up(Path(path), error)


def give_up(path: Path, error: str) -> None:
    """Notes that the process which ran a job was lost too often."""
    record_ending(path, error=f"its process was lost {MOST_LOSSES + 1} times{error and f' ({error})'}", exit_code=1)
    mark_done(path)


def threads_of_a_job(side_by_side: int) -> int | None:
    """How many threads torch takes in each of the jobs that run at once on this machine: its part of the cores; None
    for torch's own number."""
    if side_by_side == 1:
        return None
    return max(1, available_cores() // side_by_side)


def side_by_side_line(side_by_side: int) -> str:
    """How jobs share this machine, in words."""
    threads = threads_of_a_job(side_by_side) or 1
    each = f"{threads} thread{'s' * (threads > 1)} each"
    return f"{side_by_side} jobs side by side on {available_cores()} cores, {each}"


def order_of(
    job: Job, launch: Launch, settings: SweepSettings, threads: int | None, ordered: Mapping[str, Any]
) -> Order:
    """What a launcher's process is told of a job."""
    return Order(
        config=job.config.as_dict(),
        path=str((launch.folder / job.folder).absolute()),
        cwd=str(Path.cwd()),
        arguments=launch.arguments,
        threads=threads,
        timeout=settings.job_timeout,
        retries=settings.retries,
        stops_others=settings.on_error == "stop",
        child_of=os.getpid() if launch.is_joblib else None,
        **ordered,
    )


def launch_once(orders: Sequence[Order], launch: Launch) -> str:
    """Gives the orders to the launcher; what it fails by, in words.

    Raises:
        ConfigError: it cannot be made.
        Interrupted: a signal stopped it.
    """
    config = launch.config
    if launch.is_joblib:  # a process that gets no job would not see its sweep killed
        config = copy.deepcopy(config)
        config.hydra.launcher.n_jobs = launch.side_by_side(len(orders))
    launcher = make_launcher(config)
    with stopping_jobs_first(launch.folder, [Path(order.path) for order in orders]):
        try:
            returned = launcher.launch([[json.dumps(asdict(order))] for order in orders], initial_job_idx=0)
            errors = [str(job._return_value) for job in returned if isinstance(job._return_value, Exception)]
            return errors[0] if errors else ""
        except CnnbenchError:
            raise
        except Exception as error:  # of any class: a worker killed, a node lost, a cluster that does not answer
            return f"{type(error).__name__}: {first_line(error)}"


def make_launcher(config: DictConfig) -> Any:
    """The launcher that the config chooses.

    Raises:
        ConfigError: it cannot be made of what it was told.
    """
    if config.hydra.launcher._target_ == RAY:
        return RayLauncher(**{str(key): value for key, value in config.hydra.launcher.items() if key != "_target_"})
    context = HydraContext(config_loader=Orders(), callbacks=Callbacks(config))  # type: ignore[arg-type]
    try:
        return Plugins.instance().instantiate_launcher(hydra_context=context, task_function=perform, config=config)
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(first_line(error)) from None


def perform(config: DictConfig) -> None:
    """The function that a launcher calls for each job, wherever it runs it."""
    run_order(config[ORDER])


def literal(text: object) -> str:
    """`text` as a value of a config that stands for itself, whatever it has of OmegaConf's signs."""
    return re.sub(r"(\\*)\$\{", lambda signs: 2 * signs[1] + r"\${", str(text))


class Orders:
    """Stands where a launcher expects Hydra's reader of configs: each job has one override, its order as JSON."""

    def load_sweep_config(self, master_config: DictConfig, sweep_overrides: Sequence[str]) -> DictConfig:
        """The config with the order and its folder in it."""
        (text,) = sweep_overrides
        config = copy.deepcopy(master_config)
        with open_dict(config):
            config[ORDER] = literal(text)
            config.hydra.sweep.subdir = literal(Path(json.loads(text)["path"]).name)
        return config


register_resolvers()  # here, since a launcher's process imports this module before Hydra looks at its config
