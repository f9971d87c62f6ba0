"""The groups of the config: where the YAML files of each are and which table of functions they choose from."""

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cnnbench.config.settings import Table

TABLES = {
    "model": ("cnnbench.models", "MODELS"),
    "data": ("cnnbench.data", "DATASETS"),
    "augmentation": ("cnnbench.techniques.augment", "AUGMENTATIONS"),
    "loss": ("cnnbench.techniques.losses", "LOSSES"),
    "optimizer": ("cnnbench.techniques.optimizers", "OPTIMIZERS"),
    "schedule": ("cnnbench.techniques.schedules", "SCHEDULES"),
    "regularization": ("cnnbench.techniques.regularizers", "REGULARIZERS"),
    "pruning": ("cnnbench.techniques.pruning", "PRUNING"),
    "device": ("cnnbench.device", "DEVICES"),
}

LIST_GROUPS = ("augmentation", "regularization")
SHARED = {"data": ("cnnbench.data", "split")}


def table_of(group: str) -> Table:
    """The group's table of functions; importing it imports what the functions need."""
    module, table = TABLES[group]
    return getattr(importlib.import_module(module), table)


def shared_settings(group: str) -> Callable[..., Any] | None:
    """The function whose settings every choice of the group has beside its own."""
    if group not in SHARED:
        return None
    module, function = SHARED[group]
    return getattr(importlib.import_module(module), function)


def conf_folder() -> Path:
    """Inside the package where that is installed, beside it in a source tree."""
    package = Path(__file__).parents[1]
    inside = package / "conf"
    return inside if inside.is_dir() else package.parent / "conf"
