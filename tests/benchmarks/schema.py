"""Every key that there is with its annotation, from the signatures alone, and how an override is written."""

import random
from collections.abc import Callable
from typing import Any, Literal, get_args, get_origin

from cured import composed

from cnnbench.config.run_config import SECTIONS, RunConfig, types_of
from cnnbench.config.settings import accepts, settings, spell
from cnnbench.config.tables import GROUPS, LIST_GROUPS, OF_COMPRESSION, shared_settings, table_of

Dice = random.Random


class Schema:
    """Every key of every choice with its annotation, from the signatures alone."""

    def __init__(self) -> None:
        self.choices = {group: sorted(table_of(group)) for group in GROUPS}
        shape = types_of(RunConfig)
        others = (*GROUPS, *SECTIONS, *OF_COMPRESSION)
        top = {key: kind for key, kind in shape.items() if key not in others}
        for section, kind in SECTIONS.items():
            top |= {f"{section}.{key}": annotation for key, annotation in types_of(kind).items()}
        self.kinds: dict[tuple[str, str, str], Any] = {("", "", key): kind for key, kind in top.items()}
        for group, names in self.choices.items():
            shared = shared_settings(group)
            for name in names:
                keys = settings(table_of(group)[name]) | (settings(shared) if shared else {})
                inner = f"{group}.{name}" if group in LIST_GROUPS else group
                self.kinds |= {(group, name, f"{inner}.{key}"): kind for key, kind in keys.items()}
        self.keys = {key for _, _, key in self.kinds}
        self.plain = set(self.defaults())

    def defaults(self, *beside: str) -> dict[str, Any]:
        """The values beside these choices, `{"optimizer.lr": 0.1, ...}`."""
        config = composed(*beside)
        assert config, beside
        return flat(config)

    def draw(
        self, dice: Dice, among: Callable[[str, Any], bool] = lambda key, value: True
    ) -> tuple[list[str], str, Any]:
        """A choice that is not the default one, a key that a run then has, and another value than it has."""
        while True:
            group, name, key = dice.choice(sorted(self.kinds))
            beside = [] if key in self.plain or not group else [choosing(group, name)]
            value = self.other_value(beside, key, self.kinds[group, name, key], dice)
            if value is not None and among(key, value):
                return beside, key, value

    def other_value(self, beside: list[str], key: str, kind: Any, dice: Dice) -> Any:
        """A value that is right there and not the default; None where none is found."""
        now = self.defaults(*beside)[key]
        number = now if isinstance(now, int | float) else 4
        options = [
            not now,
            *named(kind),
            *(round(number * factor, 12) for factor in (2, 0.5)),
            number + 1,
            [32, 64, 64],
        ]
        options += ["photos"] if key.endswith(("root", ".train", ".val", ".test")) else []
        dice.shuffle(options)
        return next((value for value in options if value != now and accepts(kind, value)), None)

    def homes(self, key: str) -> list[str]:
        """The choices under which there is such a key, as overrides."""
        return [choosing(group, name) for group, name, other in self.kinds if other == key and group]


def flat(node: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """`{"optimizer.lr": 0.1, ...}`."""
    found: dict[str, Any] = {}
    for key, value in node.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return {key: value for key, value in found.items() if not key.endswith(".name")}


def named(kind: Any) -> list[str]:
    """The words that an annotation names one by one."""
    if get_origin(kind) is Literal:
        return [word for word in get_args(kind) if isinstance(word, str)]
    return [word for argument in get_args(kind) for word in named(argument)]


def written(value: Any) -> str:
    return f"[{','.join(map(written, value))}]" if isinstance(value, list) else spell(value)


def pair(key: str, value: Any) -> str:
    return f"{key}={written(value)}"


def choosing(group: str, *names: str) -> str:
    return f"{group}=[{','.join(names)}]" if group in LIST_GROUPS else f"{group}={names[0]}"
