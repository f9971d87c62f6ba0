"""The groups of the config: where the YAML files of each are, and what they choose from."""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cnnbench.progress import loading_torch

Table = Mapping[str, Callable[..., Any]]


@dataclass(frozen=True)
class Group:
    """A group of the config.

    Attributes:
        table: the table of functions that its YAML files name, as `module:name`.
        entry_points: where installed packages add functions to the table.
        is_list: several of its choices apply together.
        is_ordered: of these the order given matters.
        shared: the function whose settings every choice has beside its own, as `module:name`.
    """

    table: str
    entry_points: str
    is_list: bool = False
    is_ordered: bool = False
    shared: str | None = None


GROUPS = {
    "model": Group("cnnbench.models:MODELS", "cnnbench.models"),
    "data": Group("cnnbench.data:DATASETS", "cnnbench.datasets", shared="cnnbench.data:split"),
    "augmentation": Group(
        "cnnbench.techniques.augment:AUGMENTATIONS", "cnnbench.augmentations", is_list=True, is_ordered=True
    ),
    "loss": Group("cnnbench.techniques.losses:LOSSES", "cnnbench.losses"),
    "optimizer": Group("cnnbench.techniques.optimizers:OPTIMIZERS", "cnnbench.optimizers"),
    "schedule": Group("cnnbench.techniques.schedules:SCHEDULES", "cnnbench.schedules"),
    "regularization": Group("cnnbench.techniques.regularizers:REGULARIZERS", "cnnbench.regularizers", is_list=True),
    "pruning": Group("cnnbench.techniques.pruning:PRUNING", "cnnbench.pruning"),
    "device": Group("cnnbench.device:DEVICES", "cnnbench.devices"),
    "logging": Group("cnnbench.trackers:TRACKERS", "cnnbench.trackers", is_list=True),
}
OF_COMPRESSION = {"compression": Group("cnnbench.techniques.compression:COMPRESSIONS", "cnnbench.compressions")}
"""The group of what `cnnbench compress` does to a run. A run's config has, as `compression`, all that was done: by name
and in its order the settings of each."""
OF_SWEEPS = ("sweep", "search")
"""Groups of how a sweep is run: no part of a run's config."""
LIST_GROUPS = tuple(name for name, group in GROUPS.items() if group.is_list)
BY_NAME = (*LIST_GROUPS, *OF_COMPRESSION)
"""Parts of a run's config that hold a mapping of settings for each name."""


def group_called(name: str) -> Group:
    """The group of this name, of a run or of what is done to one."""
    return (GROUPS | OF_COMPRESSION)[name]


def table_of(group: str) -> Table:
    """The group's table of functions; importing it imports what the functions need."""
    return _named(group_called(group).table)


def shared_settings(group: str) -> Callable[..., Any] | None:
    """The function whose settings every choice of the group has beside its own."""
    shared = group_called(group).shared
    return _named(shared) if shared else None


def _named(place: str) -> Any:
    module, _, name = place.partition(":")
    with loading_torch():
        return getattr(importlib.import_module(module), name)


def conf_folder() -> Path:
    """Inside the package where that is installed, beside it in a source tree."""
    package = Path(__file__).parents[1]
    inside = package / "conf"
    return inside if inside.is_dir() else package.parent / "conf"
