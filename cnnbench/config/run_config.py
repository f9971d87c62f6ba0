"""A run's config as plain values: its shape and its checks."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Annotated, Any, Literal

from cnnbench.config.settings import (
    Count,
    Positive,
    PositiveInt,
    Range,
    accepts,
    canonical_node,
    canonical_values,
    check,
    check_values,
    settings,
)
from cnnbench.config.tables import GROUPS, LIST_GROUPS, shared_settings, table_of
from cnnbench.errors import ConfigError

FROM_PYTHON = "from_python"
"""The `name` of a part that was given to the run as an object: the config then has what can be said of it."""
GIVEN_MODEL = {"class": str, "architecture": str}
GIVEN_DATA = {"class": str, "content": str}
GIVEN_CALLBACKS = {"classes": list[str]}
Views = Literal["none", "flip", "flip_shift"]


@dataclass(frozen=True)
class Target:
    """What `time_to_target` measures: the training seconds until `metric` first reaches `value`."""

    metric: Literal["val_accuracy"]
    value: Annotated[float, Range(above=0, at_most=1)] | None


@dataclass(frozen=True)
class Checkpoint:
    """When a run is saved and what of it stays on the disk: nothing that is computed depends on it."""

    every_seconds: Positive
    keep: PositiveInt


@dataclass(frozen=True)
class RunConfig:
    """All that determines a run. The groups hold plain values: `{"name": choice, setting: value, ...}`,
    `augmentation`, `regularization` and `logging` one such mapping of settings per name; so does `compression`, what
    `cnnbench compress` has done to a run of the rest of the config, in its order."""

    seed: Count
    epochs: PositiveInt
    batch_size: PositiveInt
    select: Literal["best", "last"]
    test_time_augmentation: Views
    target: dict[str, Any]
    checkpoint: dict[str, Any]
    model: dict[str, Any]
    data: dict[str, Any]
    augmentation: dict[str, dict[str, Any]]
    loss: dict[str, Any]
    optimizer: dict[str, Any]
    schedule: dict[str, Any]
    regularization: dict[str, dict[str, Any]]
    pruning: dict[str, Any]
    device: dict[str, Any]
    logging: dict[str, dict[str, Any]]
    compression: dict[str, dict[str, Any]] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Plain nested dicts, as config.yaml holds them; of a run that is not compressed without `compression`."""
        values = asdict(self)
        return values if self.compression else {key: value for key, value in values.items() if key != "compression"}


SECTIONS = {"target": Target, "checkpoint": Checkpoint}


def types_of(section: type) -> dict[str, Any]:
    """The names and annotations of a dataclass's fields."""
    return {field.name: field.type for field in fields(section)}


def check_config(values: Mapping[str, Any]) -> RunConfig:
    """`values` as a RunConfig.

    Raises:
        ConfigError: with one line for every mistake in the whole config.
    """
    expected = types_of(RunConfig)
    values = {"compression": {}} | dict(values)
    epochs = values["epochs"] if accepts(PositiveInt, values.get("epochs")) else None
    findings = check_values(values, expected, "")
    for name, section in SECTIONS.items():
        if isinstance(values.get(name), Mapping):
            findings += check_values(values[name], types_of(section), name)
    for group in GROUPS:
        node = values.get(group)
        if isinstance(node, Mapping):
            findings += check_group(group, node, epochs)
    if isinstance(values["compression"], Mapping):
        findings += check_compression(values["compression"])
    if findings:
        raise ConfigError(*findings)
    assert epochs is not None  # check_values has seen them
    plain = canonical_values({key: values[key] for key in expected}, expected, epochs)
    plain |= {name: canonical_values(plain[name], types_of(section), epochs) for name, section in SECTIONS.items()}
    plain["compression"] = canonical_compression(plain["compression"])
    return RunConfig(**plain | {group: canonical_group(group, plain[group], epochs) for group in GROUPS})


def check_compression(node: Mapping[str, Any]) -> list[str]:
    """The mistakes in what a config says was done to a run."""
    return [
        finding
        for name, values in node.items()
        if isinstance(values, Mapping)
        for finding in check(
            table_of("compression"),
            "compression",
            {"name": technique_of(name), **values},
            path=f"compression.{name}",
        )
    ]


def is_reshaped(config: RunConfig) -> bool:
    """Whether the network is another one than `model` builds: it stands in files of its own beside the checkpoints."""
    return bool(config.compression) or config.pruning.get("finalize") == "filters"


def technique_of(name: str) -> str:
    """`filters` of `filters_2`, as a compression is called that was done a second time."""
    return re.sub(r"_\d+$", "", name)


def with_compression(node: Mapping[str, Any], technique: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """What was done to a run, and then this."""
    before = sum(technique_of(name) == technique for name in node)
    return {**node, f"{technique}_{before + 1}" if before else technique: dict(values)}


def canonical_compression(node: Mapping[str, Any]) -> dict[str, Any]:
    """A checked `compression` in its canonical form."""
    table = table_of("compression") if node else {}
    nodes = {
        name: canonical_node(table, "compression", {"name": technique_of(name), **values}, epochs=1)
        for name, values in node.items()
    }
    return {name: {key: value for key, value in values.items() if key != "name"} for name, values in nodes.items()}


def check_group(group: str, node: Mapping[str, Any], epochs: int | None) -> list[str]:
    """The mistakes in the part of the config that one group holds, in a run of `epochs` where these are known."""
    if _is_given(group, node):
        return check_values({key: value for key, value in node.items() if key != "name"}, _said_of_given(group), group)
    table = table_of(group)
    if group not in LIST_GROUPS:
        return check(table, group, node, shared=shared_settings(group), epochs=epochs)
    renamed = [name for name, values in node.items() if isinstance(values, Mapping) and "name" in values]
    return [f"{group}.{name}.name: {name} is its name; choose another with '{group}=[NAME]'" for name in renamed] + [
        finding
        for name, values in node.items()
        if isinstance(values, Mapping) and name not in renamed  # check_config has named the others
        for finding in (
            check_values(values, GIVEN_CALLBACKS, f"{group}.{name}")
            if _are_callbacks(group, name)
            else check(table, group, {"name": name, **values}, path=f"{group}.{name}", epochs=epochs)
        )
    ]


def _is_given(group: str, node: Mapping[str, Any]) -> bool:
    return group in ("model", "data") and node.get("name") == FROM_PYTHON


def _said_of_given(group: str) -> dict[str, Any]:
    shared = shared_settings(group)
    return (GIVEN_MODEL if group == "model" else GIVEN_DATA) | (settings(shared) if shared else {})


def _are_callbacks(group: str, name: str) -> bool:
    return group == "regularization" and name == FROM_PYTHON


def canonical_group(group: str, node: Mapping[str, Any], epochs: int) -> dict[str, Any]:
    """The part of a checked config that one group holds, in its canonical form; where order means nothing, by name."""
    if _is_given(group, node):
        return canonical_values(node, {"name": str} | _said_of_given(group), epochs)
    table, shared = table_of(group), shared_settings(group)
    if not GROUPS[group].is_list:
        return canonical_node(table, group, node, shared=shared, epochs=epochs)
    names = node if GROUPS[group].is_ordered else sorted(node)
    chosen = {
        name: dict(node[name])
        if _are_callbacks(group, name)
        else canonical_node(table, group, {"name": name, **node[name]}, epochs=epochs)
        for name in names
    }
    return {name: {key: value for key, value in values.items() if key != "name"} for name, values in chosen.items()}
