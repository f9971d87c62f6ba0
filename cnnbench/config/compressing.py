"""The overrides of `cnnbench compress` as what is to be done to runs."""

from collections.abc import Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from cnnbench.config.composition import Composer
from cnnbench.config.overrides import groups_of, refuse_mistakes
from cnnbench.config.refusal import is_hydras
from cnnbench.config.sweep_settings import DISTILL, NOTHING, check_compressing
from cnnbench.config.sweeping import applicable, every_job
from cnnbench.config.tables import table_of
from cnnbench.errors import ConfigError


def compressions(overrides: Sequence[str], config_dir: str | None, *, sweep: bool) -> list[dict[str, Any]]:
    """The checked part `compression` of each job: one, or in a sweep every combination of the values.

    Raises:
        ConfigError: with one line for every mistake.
    """
    refuse_others(overrides)
    ours = [text for text in overrides if not text.startswith("hydra.")]
    refuse_mistakes(ours, config_dir, sweep=sweep, check=check_compressing)
    composer = Composer(config_dir)
    jobs = every_job(ours, groups_of(config_dir)) if sweep else [ours]
    wanted = dict.fromkeys(tuple(applicable(job, composer)) for job in jobs)
    nodes = [check_compressing(composer.compose(job)) for job in wanted]
    if any(node["name"] == NOTHING for node in nodes):
        raise ConfigError(f"compression=none: does nothing; choose from: {', '.join(table_of('compression'))}")
    if any(node["name"] == DISTILL for node in nodes) and not any(text.startswith("model=") for text in ours):
        raise ConfigError(f"compression={DISTILL}: which network learns? Add model=NAME, and model.KEY=... beside it")
    return nodes


def refuse_others(overrides: Sequence[str]) -> None:
    """Raises: ConfigError, with one line for each override that is about something else."""
    findings = []
    for text in overrides:
        try:
            override = OverridesParser.create().parse_override(text)
        except HydraException:
            continue  # which is told beside all other mistakes
        key = override.key_or_group
        if key.partition(".")[0] == "model" and f"compression={DISTILL}" in overrides:
            continue
        if is_hydras(override) and key not in ("hydra.run.dir", "hydra.sweep.dir"):
            findings.append(f"{text}: compress takes hydra.run.dir=PATH and hydra.sweep.dir=PATH only")
        elif not is_hydras(override) and key.partition(".")[0] != "compression" and _is_of_runs(key):
            findings.append(f"{text}: a run is compressed as it was trained; {_taken(key)}")
    if findings:
        raise ConfigError(*findings)


def _taken(key: str) -> str:
    """What compress takes in the place of such a key."""
    only = f" (compression={DISTILL} alone takes a model)" if key.partition(".")[0] == "model" else ""
    return f"compress takes compression=... only{only}"


def _is_of_runs(key: str) -> bool:
    """Whether a run has such a key; of another one the cure is told as everywhere."""
    return key in Composer().keys([]) or key.partition(".")[0] in groups_of(None)


def folder_named(overrides: Sequence[str], key: str) -> str | None:
    """The value of `hydra.run.dir` or `hydra.sweep.dir` among the overrides."""
    for text in overrides:
        override = OverridesParser.create().parse_override(text)
        if override.key_or_group == key:
            return str(override.value())
    return None
