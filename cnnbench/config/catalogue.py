"""Everything that can be typed, read from the YAML files alone: keys, choices, and the settings of each choice."""

import re
import shlex
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cnnbench.config.plain_yaml import UNREADABLE, read_yaml
from cnnbench.config.tables import GROUPS, LIST_GROUPS, OF_COMPRESSION, OF_SWEEPS, conf_folder


@dataclass(frozen=True)
class Place:
    """Where a key is: at the top (`group` empty), or a setting of a choice; with the value it has there."""

    group: str
    choice: str
    setting: str
    default: Any = None

    @property
    def key(self) -> str:
        """As it is typed."""
        parts = [self.group, self.choice if self.group in LIST_GROUPS else "", self.setting]
        return ".".join(filter(None, parts))

    def takes(self, value: str) -> bool:
        """Whether a value of this form can stand there: a list, a switch, a number or a text, as the default is one."""
        form, own = _form(value), _form(self.default)
        return not value or own in ("null", form) or (own, form) in FITTING


FITTING = {("text", "switch"), ("text", "number"), ("text", "null"), ("number", "null"), ("switch", "number")}
"""By what a key has, what it may take beside it: `compile: auto` also true, a switch a probability."""


class Catalogue:
    """The keys at the top, the choices of each group, the settings of each choice.

    `groups` has the choices, `chosen` those of the run at hand, which the cures start from.
    """

    def __init__(
        self, groups: Mapping[str, Sequence[str]], chosen: Mapping[str, Collection[str]], config_dir: str | None = None
    ) -> None:
        known = (*GROUPS, *OF_COMPRESSION, *OF_SWEEPS, "experiment")
        self.groups = {group: choices for group, choices in groups.items() if group in known}
        self.chosen = chosen
        self.places = [*_top_places(), *self._settings(config_dir)]

    def _settings(self, config_dir: str | None) -> Iterator[Place]:
        for group in (*GROUPS, *OF_COMPRESSION):
            for choice in self.groups.get(group, ()):
                node = _read(_file_of(group, choice, config_dir))
                node = node.get(choice) or {} if group in LIST_GROUPS else node
                yield from (Place(group, choice, key, value) for key, value in _flat(node) if key != "name")

    def is_active(self, place: Place) -> bool:
        """Whether the run at hand has it."""
        return not place.group or place.choice in self.chosen.get(place.group, ())

    def ending_so(self, setting: str) -> list[Place]:
        """The places of all keys that end in `setting`."""
        return [place for place in self.places if place.setting == setting or place.setting.endswith(f".{setting}")]

    def groups_with(self, choice: str) -> list[str]:
        """The groups that have such a choice."""
        return [group for group, choices in self.groups.items() if choice in choices]

    def choose(self, group: str, choice: str) -> str:
        """The override that chooses it, beside what a list has already."""
        if group not in LIST_GROUPS:
            return override(group, choice)
        names = [name for name in self.chosen.get(group, ()) if name not in ("none", choice)]
        return override(group, f"[{','.join([*names, choice])}]")


def override(key: str, value: str) -> str:
    """`KEY=VALUE` as any shell takes it."""
    return shlex.quote(f"{key}={value}") if re.search(r"[^\w@%+=:,./-]", value) else f"{key}={value}"


def _form(value: Any) -> str:
    text = str(value).strip()
    if isinstance(value, list) or text.startswith("["):
        return "list"
    first = text.partition(",")[0].lower()  # of a sweep
    if first in ("none", "null"):
        return "null"
    if first in ("true", "false", "yes", "no", "on", "off"):
        return "switch"
    return "number" if re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?%?", first) else "text"


def _file_of(group: str, choice: str, config_dir: str | None) -> Path:
    """The file of the user's own folder, else ours."""
    own = Path(config_dir or conf_folder(), group, f"{choice}.yaml")
    return own if own.exists() else conf_folder() / group / f"{choice}.yaml"


def _top_places() -> Iterator[Place]:
    config = _read(conf_folder() / "config.yaml")
    own = {key: value for key, value in config.items() if key not in ("defaults", "hydra")}
    yield from (Place("", "", key, value) for key, value in _flat(own))
    yield from (Place("", "", group) for group in (*GROUPS, *OF_COMPRESSION))


def _flat(node: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in node.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _read(file: Path) -> dict[str, Any]:
    try:
        node = read_yaml(file)
    except UNREADABLE:  # a file of the user's, of which Hydra's loader says what is wrong
        return {}
    return node if isinstance(node, dict) else {}
