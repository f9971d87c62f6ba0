"""The state of an optimizer as a checkpoint holds it, compared with what this optimizer would have saved."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from cnnbench.runs.alike import LARGEST_COUNT, refuse_unlike, unlike

IMPLEMENTATION = ("fused", "foreach", "capturable", "differentiable")  # how, not what it computes: the device's affair
NAME = "optimizer.state"


def load_optimizer(optimizer: Optimizer, saved: Any, path: Path) -> None:
    """Puts a fresh `optimizer` into the `saved` state; its parameters are changed, load them afterwards.

    An optimizer has no state before its first step, so a step with made-up gradients shows what its state is made of.
    Settings come from the config and have to be the saved ones; of the groups only what steps change is loaded.

    Raises:
        CheckpointError: the state is not one of this optimizer.
    """
    settings = optimizer.state_dict()["param_groups"]
    template = _state_after_a_step(optimizer)
    if not isinstance(saved, dict) or set(saved) != {"state", "param_groups"}:
        raise unlike(path, NAME, "is not the state of an optimizer")
    groups = saved["param_groups"]
    if not isinstance(groups, list) or len(groups) != len(settings):
        raise unlike(path, f"{NAME}.param_groups", f"is not a list of {len(settings)} groups")
    stepped = [
        _settings_of_group(theirs, ours, after, f"{NAME}.param_groups[{index}]", path)
        for index, (theirs, ours, after) in enumerate(zip(groups, settings, template["param_groups"], strict=True))
    ]
    state = _checked_state(saved["state"], template["state"], path)
    optimizer.load_state_dict({"state": state, "param_groups": stepped})


def _state_after_a_step(optimizer: Optimizer) -> dict[str, Any]:
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            parameter.grad = torch.full_like(parameter, 1e-3)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return optimizer.state_dict()


def _settings_of_group(
    theirs: Any, ours: dict[str, Any], after: dict[str, Any], name: str, path: Path
) -> dict[str, Any]:
    """`ours` with what steps have changed in `theirs`; the schedule sets `lr` anew before every step."""
    if not isinstance(theirs, dict):
        raise unlike(path, name, "is not a mapping")
    changing = {key for key in ours if ours[key] != after[key]}
    for key in ours:
        if key not in theirs and key in (*changing, "params"):
            raise unlike(path, f"{name}.{key}", "is missing")
        if key in IMPLEMENTATION and type(theirs.get(key)) not in (bool, type(None)):
            raise unlike(path, f"{name}.{key}", "is not true or false")
        if key in IMPLEMENTATION or key not in theirs:
            continue
        refuse_unlike(theirs[key], ours[key], f"{name}.{key}", path)
        if key != "lr" and key not in changing and theirs[key] != ours[key]:
            raise unlike(path, f"{name}.{key}", "is not the one of the config")
    return ours | {key: theirs[key] for key in changing}


def _checked_state(theirs: Any, template: dict[int, dict[str, Any]], path: Path) -> dict[int, dict[str, Any]]:
    """Laid out in memory as the template: fused kernels go through all tensors in the same order.

    A parameter that never had a gradient has no state, so it may be missing.
    """
    if not isinstance(theirs, dict):
        raise unlike(path, f"{NAME}.state", "is not a mapping")
    for index in theirs:
        if type(index) is not int or index not in template:
            raise unlike(path, f"{NAME}.state", "has an entry for a parameter that is not here")
    return {index: _checked_entry(entry, template[index], index, path) for index, entry in theirs.items()}


def _checked_entry(entry: Any, template: dict[str, Any], index: int, path: Path) -> dict[str, Any]:
    name = f"{NAME}.state.{index}"
    refuse_unlike(entry, template, name, path)
    for key, value in entry.items():
        if key == "step" and not 0 <= float(value) <= LARGEST_COUNT:
            raise unlike(path, f"{name}.{key}", "is not a count of steps")
    return {
        key: torch.empty_like(ours).copy_(entry[key]) if isinstance(ours, Tensor) else entry[key]
        for key, ours in template.items()
    }
