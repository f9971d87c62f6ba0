"""The jobs of a sweep: what each one runs, in which folder, and how it stands."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from cnnbench.config.run_config import RunConfig
from cnnbench.errors import ConfigError, DataError
from cnnbench.runs.format import CRASH_LOG, LOG, OUTPUT
from cnnbench.runs.identity import config_hash
from cnnbench.runs.read import is_over, is_run, read_summary, summary_of
from cnnbench.runs.sweep_record import JobRecord, State


@dataclass(frozen=True)
class Job:
    """A run of a sweep: the name of its folder, the overrides that not all jobs have, and its config."""

    folder: str
    settings: tuple[str, ...]
    config: RunConfig

    @cached_property
    def config_hash(self) -> str:
        return config_hash(self.config.as_dict())

    @property
    def varying(self) -> str:
        """What varies in it, as on the command line."""
        return " ".join(self.settings) or "the one job"

    @property
    def group(self) -> str:
        """The same without the seed."""
        return without_seed(self.settings)


def without_seed(settings: Sequence[str]) -> str:
    """What varies but for the seed, as on the command line."""
    return " ".join(text for text in settings if not text.startswith("seed=")) or "all"


def is_done(folder: Path, job: Job) -> bool:
    """Whether the run of the job is over."""
    summary = summary_of(folder / job.folder)
    return is_over(summary) and summary.get("config_hash") == job.config_hash


def record_of(folder: Path, job: Job) -> JobRecord:
    """How a job stands, by its run folder."""
    summary = summary_of(folder / job.folder)
    state: State = summary.get("status") or "waiting"
    error = summary.get("error")
    return JobRecord(job.folder, job.varying, job.config_hash, state, None if error is None else str(error))


def failures(folder: Path, jobs: Sequence[Job]) -> list[str]:
    """One line `<folder>: <cause>; see <log>` for each of the jobs that failed, or never came to its end."""
    lines = []
    for job in jobs:
        path = folder / job.folder
        try:
            summary = read_summary(path)
        except DataError as error:
            lines.append(error.findings[0] if is_run(path) else f"{path}: was not run")
            continue
        if summary.get("status") != "finished":
            cause = "; ".join(str(summary.get("error") or summary.get("status")).splitlines())
            lines.append(f"{path}: {cause}; see {log_of(path)}")
    return lines


def log_of(path: Path) -> Path:
    """The file that tells most of what became of a run."""
    return next((path / name for name in (CRASH_LOG, OUTPUT, LOG) if (path / name).is_file()), path / LOG)


def refuse_shared_folders(jobs: Sequence[Job], recorded: Mapping[str, str]) -> None:
    """Raises: ConfigError, where two jobs have one folder, or one that of a job which the sweep had before."""
    owners = {folder: name for name, folder in recorded.items()}
    for job in jobs:
        if owners.setdefault(job.folder, job.config_hash) != job.config_hash:
            raise ConfigError(
                f"hydra.sweep.subdir: gives {job.varying} the folder of another job, {job.folder}; "
                "add ${hydra:job.num} to it"
            )
