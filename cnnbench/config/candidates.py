"""What a GROUP=CHOICE or KEY=VALUE that is being typed can become."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from cnnbench.config.tables import conf_folder

FOLDERS = ("data.root", "hydra.run.dir", "hydra.sweep.dir")
"""The keys whose value is a folder."""


def choices(config_dir: str | None = None) -> dict[str, list[str]]:
    """The choices of every group, with those in the user's own folder."""
    folders = (conf_folder(), *([Path(config_dir)] if config_dir else []))
    groups: dict[str, set[str]] = {}
    for path in (path for folder in folders for path in folder.glob("*/*.yaml")):
        groups.setdefault(path.parent.name, set()).add(path.stem)
    return {group: sorted(names) for group, names in groups.items()}


def candidates(word: str, others: Sequence[str], config_dir: str | None = None) -> list[str]:
    """The words that begin with `word`, beside the overrides `others`: choices of groups, keys with `=` or, where more
    of the key follows, with `.`; after a key's `=` the value that it has."""
    groups, sign = choices(config_dir), word[: len(word) - len(word.lstrip("+~"))]
    key, equals, value = word.lstrip("+~").partition("=")
    if equals and key in groups:
        begun = re.split(r"[\[,]", value)[-1]  # of several, the last
        found = [f"{word[: len(word) - len(begun)]}{name}" for name in groups[key] if name.startswith(begun)]
        within_list = "[" in value and len(found) == 1
        return [f"{found[0]}{end}" for end in ",]"] if within_list else found  # two: no shell then ends the word
    composed = _compose(others, config_dir)
    if equals:
        return [f"{sign}{key}={text}" for text in _values(composed, key) if text.startswith(value)]
    keys = {f"{group}=" for group in groups} | {f"{folder}=" for folder in FOLDERS if key.startswith("h")}
    return sorted(f"{sign}{text}" for text in {*keys, *_keys(composed, key)} if text.startswith(key))


def _compose(overrides: Sequence[str], config_dir: str | None) -> Mapping[str, Any]:
    """The config of these overrides, or without them where they are not right; nothing where no config is."""
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    from cnnbench.config.composition import compose_overrides
    from cnnbench.errors import ConfigError

    for texts in (overrides, []):
        with suppress(HydraException, OmegaConfBaseException, ConfigError):  # nobody reads a message in a word's midst
            composed = OmegaConf.to_container(compose_overrides(texts, config_dir))
            assert isinstance(composed, dict)
            return {str(name): value for name, value in composed.items()}
    return {}


def _keys(node: Mapping[str, Any], key: str, path: str = "") -> Iterator[str]:
    """The keys below `node` that begin with `key`, down to the next dot."""
    first, dot, rest = key.partition(".")
    if dot:
        if isinstance(node.get(first), Mapping):
            yield from _keys(node[first], rest, f"{path}{first}.")
        return
    for name, value in node.items():
        if name.startswith(first) and name != "name":
            yield f"{path}{name}." if isinstance(value, Mapping) else f"{path}{name}="


def _values(node: Any, key: str) -> list[str]:
    """The value that the key has; of a switch both."""
    for part in key.split("."):
        node = node.get(part) if isinstance(node, Mapping) else None
    if isinstance(node, bool):
        return ["true", "false"]
    return [] if node is None or isinstance(node, Mapping | list) else [str(node)]
