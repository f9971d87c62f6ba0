"""The Hydra application behind `cnnbench train`: overrides in, checked runs out. Hydra and OmegaConf stop here."""

import os
import secrets
import sys
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from cnnbench.conf import conf_folder
from cnnbench.config import LIST_GROUPS, RunConfig, check_config
from cnnbench.errors import CnnbenchError, ConfigError, Interrupted, SweepError
from cnnbench.lookup import did_you_mean
from cnnbench.runs import failed_runs, record_failure, slug

_errors: list[Exception] = []  # how the one job of this process ended


def train(arguments: Sequence[str]) -> None:
    """Runs what `cnnbench train` was asked for: one job, a sweep (`-m`), or a look at the config (`--cfg job`).

    Raises:
        ConfigError: with one line for every mistake, before any job has started.
        SweepError: with one line for every job of a sweep that failed.
    """
    options = parse_options(arguments)
    refuse_code(arguments)
    sweep = _sweep_folder(options.overrides) if options.multirun else None
    chosen_here = [f"hydra.sweep.dir={sweep}"] if sweep else []
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises instead of printing and leaving
    sys.argv = ["cnnbench train", *arguments, *chosen_here]
    try:
        hydra_main()
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(*explain(error, options.overrides)) from None
    if _errors:
        raise _errors.pop()
    if sweep and (failures := failed_runs(sweep)):
        raise SweepError(*failures)


def parse_options(arguments: Sequence[str]) -> Namespace:
    """Hydra's flags and `overrides`.

    Raises:
        ConfigError: a flag that Hydra does not have.
    """
    parser = get_args_parser()

    def refuse(message: str) -> NoReturn:
        raise ConfigError(f"{message}; see `cnnbench train --help`")

    parser.error = refuse  # type: ignore[method-assign]
    return parser.parse_args(list(arguments))


def compose(overrides: Sequence[str]) -> RunConfig:
    """The config that `cnnbench train` would run with these overrides, for use from Python.

    Raises:
        ConfigError: with one line for every mistake.
    """
    refuse_code(overrides)
    try:
        return check_config(to_plain(_compose(overrides)))
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(*explain(error, overrides)) from None


@hydra.main(version_base="1.3", config_path=str(conf_folder()), config_name="config")
def hydra_main(composed: DictConfig) -> float | None:
    """One job: trains into the folder Hydra chose; returns the objective for a sweeper, NaN where the job failed."""
    from cnnbench.train import run_experiment  # torch is imported here, after Hydra has answered --help and typos

    settings = HydraConfig.get()
    folder = Path(settings.runtime.output_dir)
    try:
        return run_experiment(check_config(to_plain(composed)), folder)["objective"]
    except Exception as error:
        if settings.mode == RunMode.RUN:
            _errors.append(error)  # raised by `train`: Hydra would print a line of its own
        elif isinstance(error, Interrupted):
            raise
        else:
            record_failure(folder, error)  # a failing job must not end the sweep
        return float("nan")


def to_plain(composed: DictConfig) -> dict[str, Any]:
    """The composed config as resolved plain values, without Hydra's own node.

    Raises:
        ConfigError: a value cannot be resolved.
    """
    ours = OmegaConf.masked_copy(composed, [str(key) for key in composed if key != "hydra"])
    try:
        values = OmegaConf.to_container(ours, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise ConfigError(f"{error.full_key or 'config'}: {str(error).splitlines()[0]}") from None
    assert isinstance(values, dict)
    return {key: {} for key in LIST_GROUPS} | {str(key): value for key, value in values.items()}


def refuse_code(arguments: Sequence[str]) -> None:
    """Refuses what would make Hydra import or unpickle something of the caller's choice.

    Raises:
        ConfigError: naming each such argument.
    """
    forbidden = ("_target_", "hydra.callbacks", "hydra/callbacks", "--experimental-rerun")
    found = [argument for argument in arguments if any(word in argument for word in forbidden)]
    if found:
        raise ConfigError(*(f"{argument}: refused, a config must not run code; leave it out" for argument in found))


def explain(error: Exception, overrides: Sequence[str]) -> list[str]:
    """Every mistake in `overrides`, one line each, after Hydra stopped with `error` at the first one."""
    findings: list[str] = []
    good: list[Override] = []
    parsed = list(_parse(overrides, findings))
    choices = [override for override in parsed if _is_group(override)]
    for override in choices:
        wrong = list(_wrong_choices(override))
        findings += wrong
        good += [] if wrong else [override]
    known = list(_flatten(OmegaConf.to_container(_compose(_texts(good)))))
    for override in parsed:
        if override not in choices and not override.key_or_group.startswith("hydra"):
            unknown = _unknown_key(override, known)
            findings += unknown
            good += [] if unknown else [override]
    findings += _value_findings(_texts(good))
    return findings or [f"{str(error).splitlines()[0]}"]


def _texts(overrides: Sequence[Override]) -> list[str]:
    """The overrides as typed, without those that sweep: they compose only one value at a time."""
    return [override.input_line for override in overrides if override.input_line and not override.is_sweep_override()]


def _compose(overrides: Sequence[str]) -> DictConfig:
    with hydra.initialize_config_dir(str(conf_folder()), version_base="1.3"):
        return hydra.compose("config", list(overrides))


def _sweep_folder(overrides: Sequence[str]) -> Path:
    for override in overrides:
        key, _, value = override.partition("=")
        if key == "hydra.sweep.dir":
            return Path(value)
    now = datetime.now()
    return Path(f"outputs/{now:%Y-%m-%d}/{now:%H-%M-%S}-sweep-{secrets.token_hex(2)}")


def _parse(overrides: Sequence[str], findings: list[str]) -> Iterator[Override]:
    parser = OverridesParser.create()
    for text in overrides:
        try:
            yield parser.parse_override(text)
        except HydraException as error:
            findings.append(
                f"{text}: cannot be read as KEY=VALUE ({str(error).splitlines()[0]}); quote it for the shell"
            )


def _is_group(override: Override) -> bool:
    return (conf_folder() / override.key_or_group).is_dir()


def _wrong_choices(override: Override) -> Iterator[str]:
    group = override.key_or_group
    value = override.value()
    if override.is_sweep_override():
        value = list(override.sweep_iterator())
    known = sorted(path.stem for path in (conf_folder() / group).glob("*.yaml"))
    for choice in value if isinstance(value, list) else [value]:
        if choice not in known and choice is not None and not isinstance(choice, list):
            hint = did_you_mean(str(choice), known)
            yield f"{group}={choice}: no such {group}{hint}; choose from {', '.join(known)}"


def _unknown_key(override: Override, known: Sequence[str]) -> list[str]:
    key = override.key_or_group
    if key in known:
        return []
    hint = did_you_mean(key, known)
    return [f"{key}: unknown key{hint}; `cnnbench train --cfg job` shows all keys"]


def _flatten(node: Any, prefix: str = "") -> Iterator[str]:
    for key, value in node.items():
        yield f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{key}.")


def _value_findings(overrides: Sequence[str]) -> list[str]:
    try:
        check_config(to_plain(_compose(overrides)))
    except CnnbenchError as error:
        return list(error.findings)
    return []


OmegaConf.register_new_resolver("slug", lambda text: slug(str(text)), replace=True)
OmegaConf.register_new_resolver("random_hex", lambda: secrets.token_hex(2), use_cache=True, replace=True)
