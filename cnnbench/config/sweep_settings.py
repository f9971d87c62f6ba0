"""The parts of a config that say how a sweep is run: no run depends on them, and none keeps them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from omegaconf import DictConfig

from cnnbench.config.composition import sweep_part, to_plain
from cnnbench.config.run_config import RunConfig, check_config, types_of
from cnnbench.config.settings import Count, Positive, check_values
from cnnbench.errors import ConfigError


@dataclass(frozen=True)
class SweepSettings:
    """What becomes of jobs that fail, and when one has taken too long."""

    on_error: Literal["continue", "stop"]
    retries: Count
    job_timeout: Positive | None


def check_composed(composed: DictConfig) -> RunConfig:
    """The run that a composed config makes; also looks at what it says of a sweep.

    Raises:
        ConfigError: with one line for every mistake.
    """
    findings: list[str] = []
    try:
        check_sweep(sweep_part(composed, "sweep"))
    except ConfigError as error:
        findings += error.findings
    try:
        config = check_config(to_plain(composed))
    except ConfigError as error:
        raise ConfigError(*error.findings, *findings) from None
    if findings:
        raise ConfigError(*findings)
    return config


def check_sweep(values: Mapping[str, Any]) -> SweepSettings:
    """The part `sweep` of a config.

    Raises:
        ConfigError: with one line for every mistake.
    """
    findings = check_values(values, types_of(SweepSettings), "sweep")
    if findings:
        raise ConfigError(*findings)
    return SweepSettings(**values)
