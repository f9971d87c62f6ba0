"""How a compressed network is trained on: by the recipe of its run, shorter and at a lower learning rate."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from cnnbench.config.run_config import RunConfig, check_config
from cnnbench.config.settings import find, rescaled, settings
from cnnbench.config.tables import GROUPS, table_of
from cnnbench.errors import ConfigError
from cnnbench.techniques.compression.compression import FineTuning

OF_LEARNING_RATE = ("lr", "adamw_lr", "head_lr", "bias_lr")
LOOKS_AT_LAYERS = (
    "l1", "l2", "max_norm", "freeze_first_layer", "progressive_resizing", "stochastic_depth",
)  # fmt: skip
"""Regularizers that need the layers as modules, or images of other sizes: a graph of operations has neither."""


def fine_tuning_config(config: RunConfig, fine_tuning: FineTuning, *, is_graph: bool) -> RunConfig:
    """The config of a run as it is trained on after a compression.

    What counts epochs becomes the same share of the fine-tuning. `is_graph`: the network is trained as a graph.

    Raises:
        ConfigError: the recipe has a part that so few epochs have no room for.
    """
    epochs = fine_tuning.epochs
    values = config.as_dict() | {"epochs": epochs, "pruning": {"name": "none"}, "compression": {}}
    for group in GROUPS:
        if GROUPS[group].is_list:
            values[group] = {
                name: _rescaled(group, name, node, config.epochs, epochs) for name, node in values[group].items()
            }
        elif isinstance(values[group], Mapping):
            values[group] = _rescaled(group, values[group]["name"], values[group], config.epochs, epochs)
    optimizer = values["optimizer"]
    values["optimizer"] = optimizer | {
        key: optimizer[key] * fine_tuning.lr_factor for key in OF_LEARNING_RATE if key in optimizer
    }
    if is_graph:
        values["regularization"] = {
            name: node for name, node in values["regularization"].items() if name not in LOOKS_AT_LAYERS
        }
    try:
        return replace(check_config(values), compression=config.compression)
    except ConfigError as error:
        cure = "the recipe of the run does not fit into so few epochs of fine-tuning; raise compression.epochs"
        raise ConfigError(*(f"compression.epochs={epochs}: {cure} ({finding})" for finding in error.findings)) from None


def _rescaled(group: str, name: str, node: Mapping[str, Any], epochs: int, new: int) -> dict[str, Any]:
    function = find(table_of(group), group, name)
    annotations = settings(function) if function else {}
    return {
        key: rescaled(annotations[key], value, epochs, new) if key in annotations else value
        for key, value in node.items()
    }
