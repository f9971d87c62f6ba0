"""What was meant by a key or a choice that is not there: looked for in all groups, by meaning, then by spelling."""

import difflib
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cnnbench.config import synonyms
from cnnbench.config.plain_yaml import UNREADABLE, read_yaml
from cnnbench.config.tables import GROUPS, LIST_GROUPS, conf_folder

NEAR, SURE = 0.6, 0.75  # of 1, by difflib: in one's own place, anywhere
MOST = 3  # cures of equal merit
SHOW_ALL = "`cnnbench train --cfg job` shows all keys"
PRECISIONS = ("fp32", "tf32", "bf16", "fp16")


@dataclass(frozen=True)
class Place:
    """Where a key is: at the top (`group` empty), or a setting of a choice."""

    group: str
    choice: str
    setting: str

    @property
    def key(self) -> str:
        """As it is typed."""
        parts = [self.group, self.choice if self.group in LIST_GROUPS else "", self.setting]
        return ".".join(filter(None, parts))


class Catalogue:
    """Everything that can be typed: the keys at the top, the choices of each group, the settings of each choice.

    `groups` has the choices, `chosen` those of the run at hand, which the cures start from.
    """

    def __init__(
        self, groups: Mapping[str, Sequence[str]], chosen: Mapping[str, Collection[str]], config_dir: str | None = None
    ) -> None:
        self.groups = {group: choices for group, choices in groups.items() if group in (*GROUPS, "experiment")}
        self.chosen = chosen
        self.places = [*_top_places(), *self._settings(config_dir)]

    def _settings(self, config_dir: str | None) -> Iterator[Place]:
        for group in GROUPS:
            for choice in self.groups.get(group, ()):
                node = _read(_file_of(group, choice, config_dir))
                node = node.get(choice) or {} if group in LIST_GROUPS else node
                yield from (Place(group, choice, key) for key in _flat(node) if key != "name")

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
            return f"{group}={choice}"
        names = [name for name in self.chosen.get(group, ()) if name not in ("none", choice)]
        return f"'{group}=[{','.join([*names, choice])}]'"


def cure_of_key(key: str, value: str, catalogue: Catalogue) -> str:
    """The end of a message about an unknown key, with what to type instead."""
    last = key.rpartition(".")[2]
    meant = synonyms.KEYS.get(_plain(last), last)
    if meant.startswith("hydra."):
        return f"; write {meant}={value or 'FOLDER'}"
    if meant in catalogue.groups and "." not in key:
        return _cure_of_group(meant, value, catalogue)
    for name in (last, meant, *_near_settings(meant, key, catalogue)):
        if places := _best_places(key, name, catalogue):
            return _cure_by_places(places, value, catalogue)
        if groups := catalogue.groups_with(name):
            chosen = " or ".join(catalogue.choose(group, name) for group in groups[:MOST])
            return f"; {name} is a choice, write {chosen}"
    return f"; {SHOW_ALL}"


def cure_of_choice(group: str, choice: str, catalogue: Catalogue) -> str:
    """The end of a message about a choice that a group does not have, with what to type instead."""
    choices = catalogue.groups[group]
    words = {_squeezed(known): known for known in choices}
    plain = _plain(choice)
    if meant := words.get(_squeezed(choice)) or synonyms.CHOICES.get(group, {}).get(plain):
        return f"; did you mean {catalogue.choose(group, meant)}?"
    if group in LIST_GROUPS and plain in ("none", "null", "false", "off"):
        return f"; write '{group}=[]'"
    if cure := _known_case(group, choice, catalogue):
        return cure
    if elsewhere := [other for other in catalogue.groups_with(plain) if other != group]:
        return f"; {plain} is in another group: {' or '.join(catalogue.choose(o, plain) for o in elsewhere[:MOST])}"
    if places := _best_places(choice, synonyms.KEYS.get(plain, plain), catalogue):
        return _cure_by_places(places, "", catalogue, of=choice)
    if near := difflib.get_close_matches(plain, choices, n=1, cutoff=NEAR):
        return f"; did you mean {near[0]!r}? Choose from {', '.join(choices)}"
    others = {other: name for name, all_of in catalogue.groups.items() for other in all_of}
    if near := difflib.get_close_matches(plain, list(others), n=1, cutoff=SURE):
        return f"; did you mean {catalogue.choose(others[near[0]], near[0])}?"
    return f"; choose from {', '.join(choices)}"


def cure_of_word(word: str, catalogue: Catalogue) -> str:
    """The end of a message about a word alone where KEY=VALUE should stand."""
    if word in catalogue.groups:
        return f"; write {word}=CHOICE, of {', '.join(catalogue.groups[word])}"
    if groups := catalogue.groups_with(word):
        return f"; write {' or '.join(catalogue.choose(group, word) for group in groups[:MOST])}"
    return "; write KEY=VALUE, as epochs=5"


def cure_of_pair(word: str, value: str, catalogue: Catalogue) -> str | None:
    """The end of a message about a key and a value without `=` between them; None where the word is no key."""
    last = word.rpartition(".")[2]
    if value in catalogue.groups.get(word, ()):
        return f"; write {catalogue.choose(word, value)}"
    if any(place.key == word for place in catalogue.places):
        return f"; write {word}={value}"
    return cure_of_key(word, value, catalogue) if catalogue.ending_so(synonyms.KEYS.get(last, last)) else None


def cure_of_flag(name: str, value: str, catalogue: Catalogue) -> str:
    """The end of a message about a flag that stands for a setting."""
    key = synonyms.FLAGS.get(name, name)
    if places := _best_places(key, synonyms.KEYS.get(_plain(key), _plain(key)), catalogue):
        return _cure_by_places(places, value, catalogue, of=name)
    return cure_of_key(key, value, catalogue)


def _known_case(group: str, choice: str, catalogue: Catalogue) -> str | None:
    """What is told by the form of a choice: a path, a precision, a family of networks, a name with its depth."""
    if group == "data" and re.search(r"[/\\.~]", choice):
        return f"; write data=image_folder data.root={choice}"
    if group == "device" and _plain(choice) in PRECISIONS:
        return f"; write device.precision={_plain(choice)}"
    if group == "model":
        squeezed, ways = _squeezed(choice), []
        if deep := re.fullmatch(r"(resnet|vgg)(\d+)(bn)?", squeezed):
            if int(deep[2]) in synonyms.DEPTHS[deep[1]]:
                ways.append(f"model={deep[1]} model.depth={deep[2]}")
            if squeezed in synonyms.TORCHVISIONS:
                ways.append(f"model=torchvision model.architecture={squeezed}")
        for family, architecture in synonyms.ARCHITECTURES.items():
            if squeezed.startswith(family):
                named = _plain(choice) if re.search(r"\d", choice) else architecture
                ways.append(f"model=torchvision model.architecture={named}")
        return f"; write {' or '.join(ways)}" if ways else None
    return None


def _cure_of_group(group: str, value: str, catalogue: Catalogue) -> str:
    """Of a key that is another word for a group: the group with its value where that is a choice of it."""
    if group == "device" and value.lower() in ("true", "1", "0", "gpu"):
        value = "cuda"
    names = [name.strip() for name in value.strip("[]").split(",")]
    names = [synonyms.CHOICES.get(group, {}).get(_plain(name), name) for name in names]
    if all(name in catalogue.groups[group] for name in names):
        return f"; write {catalogue.choose(group, ','.join(names))}"
    return cure_of_choice(group, value, catalogue) if value else f"; write {group}=CHOICE"


def _best_places(key: str, setting: str, catalogue: Catalogue) -> list[Place]:
    """Of the keys that end so those likeliest meant: of the run at hand, else of the same group, else all."""
    places = catalogue.ending_so(setting)
    group, _, rest = key.partition(".")
    named = [place for place in places if place.group == group and place.choice == rest.partition(".")[0]]
    same_group = [place for place in places if place.group == group]
    for found in (named, same_group, places):
        if active := [place for place in found if catalogue.is_active(place)]:
            return active
        if found:
            return found
    return []


def _cure_by_places(places: Sequence[Place], value: str, catalogue: Catalogue, of: str | None = None) -> str:
    """Overrides that set the key in the places it has, and choose what it belongs to where the run has not."""
    value = value or "VALUE"
    keys = list(dict.fromkeys(place.key for place in places))
    what = f"; {of} is a setting, " if of else "; "
    if all(catalogue.is_active(place) for place in places):
        if not of:
            return f"; did you mean {' or '.join(as_override(key, value, catalogue) for key in keys[:MOST])}?"
        return f"{what}write {' or '.join(as_override(key, value, catalogue) for key in keys[:MOST])}"
    keys_of = {(place.group, place.choice): place.key for place in places if place.group}
    choices = sorted(keys_of, key=lambda place: place[1] not in synonyms.USUAL)
    ways = [f"{catalogue.choose(*choice)} {keys_of[choice]}={value}" for choice in choices[:MOST]]
    own = sorted({place.group for place in places})
    chosen = next(iter(catalogue.chosen.get(own[0], ())), None) if len(own) == 1 else None
    if chosen and own[0] not in LIST_GROUPS:
        having = ", ".join(choice for _, choice in choices)
        return f"; {own[0]}={chosen} has no such setting, {having} {'has' if len(choices) == 1 else 'have'}: {ways[0]}"
    return f"{what}write {' or '.join(ways)}"


def as_override(key: str, value: str, catalogue: Catalogue) -> str:
    """`KEY=VALUE`; of a group that takes a list the list with what it has already."""
    return catalogue.choose(key, value) if value in catalogue.groups.get(key, ()) else f"{key}={value}"


def _near_settings(setting: str, key: str, catalogue: Catalogue) -> list[str]:
    """Names of settings and choices spelled like this one; those that the run has in the place typed come first."""
    parent = key.rpartition(".")[0]
    beside = [
        p.setting.rpartition(".")[2]
        for p in catalogue.places
        if catalogue.is_active(p) and p.key.rpartition(".")[0] == parent
    ]
    here = difflib.get_close_matches(setting, beside, n=1, cutoff=NEAR)
    everywhere = [
        *(p.setting.rpartition(".")[2] for p in catalogue.places),
        *(c for all_of in catalogue.groups.values() for c in all_of),
    ]
    everywhere += [*synonyms.KEYS]
    found = difflib.get_close_matches(setting, list(dict.fromkeys(everywhere)), n=2, cutoff=SURE)
    return [*here, *(synonyms.KEYS.get(name, name) for name in found)]


def _file_of(group: str, choice: str, config_dir: str | None) -> Path:
    """The file of the user's own folder, else ours."""
    own = Path(config_dir or conf_folder(), group, f"{choice}.yaml")
    return own if own.exists() else conf_folder() / group / f"{choice}.yaml"


def _top_places() -> Iterator[Place]:
    config = _read(conf_folder() / "config.yaml")
    yield from (
        Place("", "", key) for key in _flat({k: v for k, v in config.items() if k not in ("defaults", "hydra")})
    )
    yield from (Place("", "", group) for group in GROUPS)


def _flat(node: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in node.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


def _read(file: Path) -> dict[str, Any]:
    try:
        node = read_yaml(file)
    except UNREADABLE:  # a file of the user's, of which Hydra's loader says what is wrong
        return {}
    return node if isinstance(node, dict) else {}


def _plain(word: str) -> str:
    """`Fashion-MNIST` as `fashion_mnist`, `batchSize` as `batch_size`."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", word.strip()).replace("-", "_").replace(" ", "_").lower()


def _squeezed(word: str) -> str:
    return re.sub(r"[^a-z0-9]", "", word.lower())
