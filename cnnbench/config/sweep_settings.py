"""The parts of a config that say how a sweep is run: no run depends on them, and none keeps them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from omegaconf import DictConfig

from cnnbench.config.composition import plain_part, to_plain
from cnnbench.config.run_config import RunConfig, canonical_group, check_config, check_group, types_of
from cnnbench.config.settings import Count, Positive, PositiveInt, Range, canonical_node, check, check_values
from cnnbench.config.tables import table_of
from cnnbench.errors import ConfigError

NOTHING = "none"  # the compression of who has chosen none
DISTILL = "distill"  # the compression that puts another network, the config's, in the place of the run's


@dataclass(frozen=True)
class SweepSettings:
    """What becomes of jobs that fail, and when one has taken too long."""

    on_error: Literal["continue", "stop"]
    retries: Count
    job_timeout: Positive | None


@dataclass(frozen=True)
class SearchSettings:
    """How the values of a sweep are searched: `conf/config.yaml` says what each setting is."""

    sampler: Literal["random", "grid", "tpe", "cmaes"] | None
    trials: PositiveInt
    objectives: list[str]
    stop_hopeless: bool
    reduction: Annotated[int, Range(at_least=2)] | None
    at_once: PositiveInt | None
    seed: Count


def check_composed(composed: DictConfig) -> RunConfig:
    """The run that a composed config makes; also looks at what it says of a sweep.

    Raises:
        ConfigError: with one line for every mistake.
    """
    findings: list[str] = []
    for check_part, name in ((check_sweep, "sweep"), (check_search, "search"), (refuse_compression, "compression")):
        try:
            check_part(plain_part(composed, name))
        except ConfigError as error:
            findings += error.findings
    try:
        config = check_config(to_plain(composed))
    except ConfigError as error:
        raise ConfigError(*error.findings, *findings) from None
    if findings:
        raise ConfigError(*findings)
    return config


def refuse_compression(values: Mapping[str, Any]) -> None:
    """Raises: ConfigError, where the config of a run says how it is to be compressed."""
    if values != {"name": NOTHING}:
        name = values.get("name")
        raise ConfigError(f"compression={name}: a run has no such group; train it, then `cnnbench compress RUN ...`")


def check_compressing(composed: DictConfig) -> dict[str, Any]:
    """What a composed config says is to be done to a run: the `name` of a technique, and its settings; of DISTILL also
    the `model` that learns.

    Raises:
        ConfigError: with one line for every mistake.
    """
    node = plain_part(composed, "compression")
    table = table_of("compression")
    if node == {"name": NOTHING}:
        return node
    is_distilled = node.get("name") == DISTILL
    model = plain_part(composed, "model") if is_distilled else {}
    findings = check(table, "compression", node) + (check_group("model", model, None) if is_distilled else [])
    if findings:
        raise ConfigError(*findings)
    canonical = canonical_node(table, "compression", node, epochs=1)
    return canonical | ({"model": canonical_group("model", model, 1)} if is_distilled else {})


def check_sweep(values: Mapping[str, Any]) -> SweepSettings:
    """The part `sweep` of a config.

    Raises:
        ConfigError: with one line for every mistake.
    """
    findings = check_values(values, types_of(SweepSettings), "sweep")
    if findings:
        raise ConfigError(*findings)
    return SweepSettings(**values)


def check_search(values: Mapping[str, Any]) -> SearchSettings:
    """The part `search` of a config.

    Raises:
        ConfigError: with one line for every mistake.
    """
    findings = check_values(values, types_of(SearchSettings), "search")
    if findings:
        raise ConfigError(*findings)
    settings = SearchSettings(**values)
    findings = [f"search.objectives: {line}" for line in _wrong_objectives(settings.objectives)]
    if len(settings.objectives) == 2 and (settings.stop_hopeless or settings.reduction):
        findings.append("search.objectives: trials are stopped by one objective; leave out stop_hopeless and reduction")
    if settings.stop_hopeless and settings.reduction:
        findings.append("search.stop_hopeless: with reduction the worse trials stop anyway; leave out one of them")
    if findings:
        raise ConfigError(*findings)
    return settings


def _wrong_objectives(names: Sequence[str]) -> list[str]:
    if len(names) not in (1, 2):
        return ["should be one or two, as [best_val_accuracy,train_seconds]"]
    seen = [name for name in names if "test" in name]
    return [f"{name} is of the test, which a search must not see; take best_val_accuracy" for name in seen]
