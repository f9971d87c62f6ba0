"""Short names for configs: the keys in which they differ, as one would write them on the command line."""

import json
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from cnnbench.config.tables import BY_NAME, OF_COMPRESSION
from cnnbench.runs.identity import COMPUTES_NOTHING

Settings = dict[str, tuple[str, Any]]  # by key: where it applies (the choice its part of the config has), and its value
ABSENT = "(absent)"


def label_configs(configs: Mapping[str, Mapping[str, Any] | None]) -> dict[str, str]:
    """A label for each config: `optimizer=adam optimizer.lr=0.01`, of the keys that differ among them.

    Where two choose different models, the settings that only follow from the choice are left out: a setting is shown
    where it differs between configs of the same choice. Without a config the label is the name under which it is given.
    """
    known = {name: settings_of(config) for name, config in configs.items() if config is not None}
    differing = differing_keys(known)
    labels = {name: name for name in configs}
    for name, settings in known.items():
        parts = [
            f"{key}={write_value(settings[key][1]) if key in settings else ABSENT}"
            for key, scope in differing
            if scope_of(key, settings) == scope
        ]
        labels[name] = " ".join(parts) or whole_label(configs[name] or {})
    return labels


def label_against(label: str, baseline: str) -> str:
    """The parts of a label that the baseline's has not."""
    known = baseline.split(" ")
    return " ".join(part for part in label.split(" ") if part not in known) or label


def whole_label(config: Mapping[str, Any]) -> str:
    """What a config without anything to differ from is called: its model and data."""
    names = [choice_of(node) for key in ("model", "data") if isinstance(node := config.get(key), Mapping)]
    return " on ".join(str(name) for name in names if name) or "the only config"


def settings_of(config: Mapping[str, Any]) -> Settings:
    """The config flattened: `optimizer` (its name), `optimizer.lr`, `regularization` (a list of names), ...

    Without what no result depends on.
    """
    settings: Settings = {}
    for key, value in ({name: {} for name in OF_COMPRESSION} | dict(config)).items():
        if key in COMPUTES_NOTHING:
            continue
        if not isinstance(value, Mapping):
            settings[key] = ("", value)
        elif key in BY_NAME:
            settings[key] = ("", list(value))
            for choice, node in value.items():
                flatten(f"{key}.{choice}", node, f"{key}.{choice}", settings)
        else:
            if "name" in value:
                settings[key] = ("", choice_of(value))
            flatten(key, {k: v for k, v in value.items() if k != "name"}, f"{key}={choice_of(value)}", settings)
    return settings


def choice_of(node: Mapping[str, Any]) -> Any:
    """What a part of a config has chosen: a name or, of an object given from Python, its class."""
    return node.get("class", node.get("name"))


def flatten(prefix: str, node: Any, scope: str, settings: Settings) -> None:
    """Adds the settings below `prefix`, all of which apply where `scope` does."""
    if not isinstance(node, Mapping):
        settings[prefix] = (scope, node)
        return
    for key, value in node.items():
        flatten(f"{prefix}.{key}", value, scope, settings)


def scope_of(key: str, settings: Settings) -> str | None:
    """Where `key` applies in this config; None where the config has chosen something that has no such key."""
    if key in settings:
        return settings[key][0]
    section, _, rest = key.partition(".")
    if not rest:
        return ""
    if section in BY_NAME:
        choice = rest.partition(".")[0]
        return f"{section}.{choice}" if choice in settings.get(section, ("", []))[1] else None
    return f"{section}={settings[section][1]}" if section in settings else None


def differing_keys(known: Mapping[str, Settings]) -> list[tuple[str, str]]:
    """The keys, each with a scope in which not all configs agree on it; in the order of the configs."""
    keys = dict.fromkeys((key, scope) for settings in known.values() for key, (scope, _) in settings.items())
    values: dict[tuple[str, str], set[str]] = defaultdict(set)
    for settings in known.values():
        for key, scope in keys:
            if key in settings:
                if settings[key][0] == scope:
                    values[key, scope].add(write_value(settings[key][1]))
            elif scope_of(key, settings) == scope:
                values[key, scope].add(ABSENT)
    return [key for key in keys if len(values[key]) > 1]


def write_value(value: Any) -> str:
    """As on the command line: `[32,64]`, `true`, `null`, `0.01`."""
    if isinstance(value, str):
        return value
    if isinstance(value, list | tuple):
        return f"[{','.join(map(write_value, value))}]"
    return json.dumps(value, default=str)
