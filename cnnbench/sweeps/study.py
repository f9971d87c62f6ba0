"""The record of a search: an Optuna study in a journal beside its runs, of which nothing acknowledged is lost."""

import itertools
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from cnnbench.analysis.metrics import metric_of
from cnnbench.config.sweep_settings import SearchSettings
from cnnbench.disk import disk_errors
from cnnbench.errors import ConfigError, UnavailableError

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler

JOURNAL = "study.log"
NAME = "search"


def open_study(folder: Path, settings: SearchSettings, space: Mapping[str, "BaseDistribution"]) -> "Study":
    """The study of the search in `folder`, new or as it was left.

    Raises:
        UnavailableError: Optuna is not installed.
        ConfigError: the sampler cannot draw from the space, or an objective is no number of a run.
    """
    try:
        import optuna
    except ImportError:
        raise UnavailableError(f"search={settings.sampler}: needs Optuna; pip install 'optuna>=5,<6' cmaes") from None
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    file = folder / JOURNAL
    with disk_errors(file):
        repair(file)
    storage = JournalStorage(JournalFileBackend(str(file)))
    directions = directions_of(settings.objectives)
    pruner = optuna.pruners.MedianPruner(n_startup_trials=5) if settings.stop_hopeless else optuna.pruners.NopPruner()
    study = optuna.create_study(
        storage=storage, study_name=NAME, directions=directions, pruner=pruner, load_if_exists=True
    )
    if [direction.name.lower() for direction in study.directions] != directions:
        raise ConfigError("search.objectives: this folder has a search with others; choose another hydra.sweep.dir")
    with warnings.catch_warnings(action="ignore"):  # to name them is an experimental feature
        study.set_metric_names(settings.objectives)
    seed = settings.seed + len(study.trials)  # else a search that goes on would draw the same again
    study.sampler = make_sampler(settings, space, seed)
    if settings.sampler == "grid":
        for values in itertools.islice(itertools.product(*choices_of(space)), settings.trials):
            study.enqueue_trial(dict(zip(space, values, strict=True)), skip_if_exists=True)
    return study


def directions_of(objectives: Sequence[str]) -> list[Literal["minimize", "maximize"]]:
    """Which way each objective is better.

    Raises:
        ConfigError: it is no metric.
    """
    try:
        return ["maximize" if metric_of(name).higher_is_better else "minimize" for name in objectives]
    except ConfigError as error:
        raise ConfigError(f"search.objectives: {error.findings[0].removeprefix('metric=')}") from None


def repair(file: Path) -> None:
    """Cuts a journal back to its last whole line: a process that is killed may leave half of one."""
    if file.exists():
        content = file.read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            with file.open("r+b") as journal:
                journal.truncate(whole)


def make_sampler(settings: SearchSettings, space: Mapping[str, "BaseDistribution"], seed: int) -> "BaseSampler":
    """What draws the values.

    Raises:
        ConfigError: it cannot draw from the space.
    """
    from optuna import samplers
    from optuna.distributions import CategoricalDistribution

    if settings.sampler == "cmaes":
        named = [key for key, one in space.items() if isinstance(one, CategoricalDistribution)]
        if named or len(space) < 2:
            why = f"draws numbers from intervals, {named[0]} has choices" if named else "needs two intervals or more"
            raise ConfigError(f"search=cmaes: {why}; take search=tpe")
        return samplers.CmaEsSampler(seed=seed)
    if settings.sampler == "tpe":
        with warnings.catch_warnings(action="ignore"):  # that several values together are an experimental feature
            return samplers.TPESampler(seed=seed, multivariate=True)
    return samplers.RandomSampler(seed=seed)


def choices_of(space: Mapping[str, "BaseDistribution"]) -> list[Sequence[Any]]:
    """The values of each key of a grid.

    Raises:
        ConfigError: with one line for each that has none that could be enumerated.
    """
    from optuna.distributions import CategoricalDistribution

    findings = [
        f"{key}: an interval has no grid; write its values as {key}=A,B, or take search=tpe"
        for key, one in space.items()
        if not isinstance(one, CategoricalDistribution)
    ]
    if findings:
        raise ConfigError(*findings)
    return [one.choices for one in space.values() if isinstance(one, CategoricalDistribution)]


def grid_size(space: Mapping[str, "BaseDistribution"]) -> int:
    """How many combinations a grid has."""
    return len(list(itertools.product(*choices_of(space))))
