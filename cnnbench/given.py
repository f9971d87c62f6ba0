"""The parts of a run that are given from Python as objects, and what its config says in their place."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from torch import nn

from cnnbench.config.run_config import FROM_PYTHON, RunConfig
from cnnbench.data import Source
from cnnbench.data.find import SPLITTING
from cnnbench.data.from_python import fingerprints
from cnnbench.errors import ConfigError
from cnnbench.runs.identity import architecture_hash, content_hash
from cnnbench.techniques.callback import Callback

ARGUMENTS = {"model": "model=", "data": "dataset=", "regularization": "callbacks="}


def with_given(
    config: RunConfig, model: nn.Module | None, source: Source | None, callbacks: Sequence[Callback]
) -> RunConfig:
    """The config of a run with these parts: what can be said of them takes the place of the settings."""
    if model is not None:
        config = with_given_model(config, model)
    if source is not None:
        splitting = {key: config.data[key] for key in SPLITTING}
        node = {"name": FROM_PYTHON, "class": source.name, "content": content_hash(fingerprints(source))}
        config = replace(config, data=node | splitting)
    if callbacks:
        own = {name: settings for name, settings in config.regularization.items() if name != FROM_PYTHON}
        own[FROM_PYTHON] = {"classes": [type(callback).__qualname__ for callback in callbacks]}
        config = replace(config, regularization={name: own[name] for name in sorted(own)})
    return config


def with_given_model(config: RunConfig, model: nn.Module) -> RunConfig:
    """The config of a run whose network is `model`."""
    node = {"name": FROM_PYTHON, "class": type(model).__qualname__, "architecture": architecture_hash(model)}
    return replace(config, model=node)


def refuse_misfits(model: Any, callbacks: Sequence[Any]) -> None:
    """Looks whether what was given is of the kind it should be.

    Raises:
        ConfigError: with one line for each that is not.
    """
    findings = []
    if model is not None and not isinstance(model, nn.Module):
        findings.append(f"model=: {_misfit(model, 'a torch.nn.Module')}")
    others = [callback for callback in callbacks if not isinstance(callback, Callback)]
    findings += [f"callbacks=: {_misfit(callback, 'objects derived from cnnbench.Callback')}" for callback in others]
    if findings:
        raise ConfigError(*findings)


def _misfit(given: Any, wanted: str) -> str:
    if isinstance(given, type):
        return f"{given.__name__} is a class; give {given.__name__}(...)"
    return f"is of type {type(given).__name__}; give {wanted}"


def refuse_other_parts(config: RunConfig, recorded: RunConfig, callbacks: Sequence[Callback]) -> None:
    """Compares the config of a run with that of the run that it is to continue.

    Raises:
        ConfigError: with one line for each part that is another one, or callbacks that are not given again.
    """
    findings = []
    known = recorded.regularization.get(FROM_PYTHON)
    if known and not callbacks:
        names = ", ".join(known["classes"])
        findings.append(f"callbacks=: those of this run, {names}, were given from Python; give them there again")
    for group, argument in ARGUMENTS.items():
        ours, theirs = getattr(config, group), getattr(recorded, group)
        if ours != theirs:
            findings.append(f"{argument}: the run was trained with {_said(group, theirs)}, not {_said(group, ours)}")
    if findings:
        raise ConfigError(*findings)


def _said(group: str, node: dict[str, Any]) -> str:
    if group == "regularization":
        return ", ".join(node.get(FROM_PYTHON, {}).get("classes", [])) or "none"
    if node["name"] != FROM_PYTHON:
        return f"{group}={node['name']}"
    return f"{node['class']} ({node['architecture' if group == 'model' else 'content']})"
