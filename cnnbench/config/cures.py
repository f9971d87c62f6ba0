"""What was meant by a key or a choice that is not there: looked for in all groups, by meaning, then by spelling.

Each message ends in whole overrides that can be pasted in the place of what is wrong; where the run does not have what
they set, they choose that too.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from cnnbench.config import places, synonyms
from cnnbench.config.catalogue import Catalogue, Place, override
from cnnbench.config.mistakes import another_name, same_name
from cnnbench.config.tables import LIST_GROUPS
from cnnbench.config.words import (
    SLIP,
    alike,
    has_all,
    is_short_for,
    likeness,
    nearest,
    plain,
    squeezed,
    words_of,
)

NEAR, SURE = 0.6, 0.75  # of 1, by difflib: in one's own place, anywhere
MOST = 3  # cures of equal merit
SHOW_ALL = "`cnnbench train --cfg job` shows all keys"
ChoiceOf = Callable[[str, str, Catalogue], str | None]
"""Which choice of a group is meant by a name, if any."""


def cure_of_key(key: str, value: str, catalogue: Catalogue) -> str:
    """The end of a message about an unknown key, with what to type instead."""
    key = key.replace("/", ".")
    head, _, last = key.rpartition(".")
    meant = synonyms.KEYS.get(plain(last), plain(last))
    if same := places.spelled_otherwise(key, catalogue):
        return _cure_by_places(key, same, value, catalogue)
    if meant.startswith("hydra."):
        return f"; write {override(meant, value or 'FOLDER')}"
    if meant in catalogue.groups and not any(alike(head.partition(".")[0], group) for group in catalogue.groups):
        return _cure_of_group(meant, value, catalogue)

    def by(found: Sequence[Place]) -> str:
        return _cure_by_places(key, found, value, catalogue)

    short = places.short_for(key, value, catalogue)
    ways = (
        lambda: _cure_by_switch(key, value, catalogue),
        lambda: by(_active(places.best_places(key, last, catalogue), value, catalogue)),
        lambda: by(places.beside(key, value, SLIP, catalogue)),
        lambda: by(_active(short, value, catalogue)) if head else "",
        lambda: _cure_by_name(key, last, value, catalogue) or _cure_by_name(key, meant, value, catalogue),
        lambda: by(short),
        lambda: _cure_by_group(key, value, catalogue),
        lambda: _cure_by_words(key, value, catalogue),
        lambda: by(places.by_last_words(key, value, catalogue)),
        lambda: by(places.beside(key, value, NEAR, catalogue)),
        lambda: _cure_by_spelling(key, value, catalogue),
        lambda: _cure_by_value(value, catalogue.groups, _choice_spelled, catalogue),
    )
    return next(filter(None, (way() for way in ways)), f"; {SHOW_ALL}")


def _active(found: Sequence[Place], value: str, catalogue: Catalogue) -> list[Place]:
    return [place for place in found if catalogue.is_active(place) and place.takes(value)]


def cure_of_choice(group: str, choice: str, catalogue: Catalogue) -> str:
    """The end of a message about a choice that a group does not have, with what to type instead."""
    choices, name = catalogue.groups[group], plain(choice)
    others = synonyms.CHOICES.get(group, {})
    if meant := same_name(choice, choices, others):
        return f"; did you mean {catalogue.choose(group, meant)}?"
    if cure := _known_case(group, choice, catalogue):
        return cure
    listed = f"Choose from {', '.join(choices)}"
    if slip := nearest(name, choices, SLIP):
        return f"; did you mean {slip[0]!r}? {listed}"
    elsewhere = [(g, n) for g, all_of in catalogue.groups.items() for n in all_of if squeezed(n) == squeezed(choice)]
    if elsewhere:
        chosen = " or ".join(catalogue.choose(*found) for found in elsewhere[:MOST])
        return f"; {elsewhere[0][1]} is in another group: {chosen}"
    if meant := another_name(choice, choices, others):
        return f"; did you mean {catalogue.choose(group, meant)}?"
    if found := places.best_places(choice, synonyms.KEYS.get(name, name), catalogue):
        return _cure_by_places(choice, found, "", catalogue, of=choice)
    if near := [known for known in choices if is_short_for(name, known)] or nearest(name, choices, NEAR):
        return f"; did you mean {near[0]!r}? {listed}"
    owners = Counter(other for all_of in catalogue.groups.values() for other in all_of)  # of `none` there are several
    homes = {other: home for home, all_of in catalogue.groups.items() for other in all_of if owners[other] == 1}
    if other := nearest(name, homes, SURE):
        return f"; did you mean {catalogue.choose(homes[other[0]], other[0])}?"
    return f"; {listed[0].lower()}{listed[1:]}"


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
        return f"; write {override(word, value)}"
    return cure_of_key(word, value, catalogue) if catalogue.ending_so(synonyms.KEYS.get(last, last)) else None


def cure_of_flag(name: str, value: str, catalogue: Catalogue) -> str:
    """The end of a message about a flag that stands for a setting."""
    key = synonyms.FLAGS.get(name, name)
    exact = places.spelled_otherwise(key, catalogue)
    if found := exact or places.best_places(key, synonyms.KEYS.get(plain(key), plain(key)), catalogue):
        return _cure_by_places(key, found, value, catalogue, of=name)
    return cure_of_key(key, value, catalogue)


def _cure_of_group(group: str, value: str, catalogue: Catalogue) -> str:
    """Of a key that is another word for a group: the group with its value where that is a choice of it."""
    if group == "device" and value.lower() in ("true", "1", "0", "gpu"):
        value = "cuda"
    if chosen := _chosen(group, value, _choice_meant, catalogue):
        return f"; write {chosen}"
    return cure_of_choice(group, value, catalogue) if value else f"; write {group}=CHOICE"


def _chosen(group: str, value: str, meant: ChoiceOf, catalogue: Catalogue) -> str | None:
    """The override that chooses what the value names, a choice or a list of them, where each is one to `meant`."""
    known = [meant(group, name.strip(), catalogue) for name in value.strip("[]").split(",")]
    return catalogue.choose(group, ",".join(map(str, known))) if all(known) else None


def _choice_spelled(group: str, name: str, catalogue: Catalogue) -> str | None:
    """The choice of the group that has this name, maybe in other letters."""
    return same_name(name, catalogue.groups[group], {})


def _choice_meant(group: str, name: str, catalogue: Catalogue) -> str | None:
    """The same, or the choice that is called so elsewhere, or the one whose name is within a longer one."""
    return another_name(name, catalogue.groups[group], synonyms.CHOICES.get(group, {}))


def _known_case(group: str, choice: str, catalogue: Catalogue) -> str | None:
    """What is told by the form of a choice: nothing, a path, a precision, a network with its depth or torchvision's."""
    if group in LIST_GROUPS and plain(choice) in ("none", "null", "false", "off"):
        return f"; write '{group}=[]'"
    if group == "data" and re.search(r"[/\\.~]", choice):
        return f"; write data=image_folder {override('data.root', choice)}"
    if group == "device" and (precision := synonyms.VALUES["precision"].get(plain(choice))):
        return f"; write device.precision={precision}"
    if group != "model":
        return None
    name, ways = squeezed(choice), []
    deep = re.fullmatch(r"(resnet|vgg)(\d+)(bn)?", name)
    if deep and int(deep[2]) in synonyms.DEPTHS[deep[1]]:
        ways.append(f"model={deep[1]} model.depth={deep[2]}")
    known = {squeezed(architecture): architecture for architecture in synonyms.TORCHVISIONS}
    family = [usual for begin, usual in synonyms.ARCHITECTURES.items() if name.startswith(begin)]
    if name not in catalogue.groups["model"]:
        is_told = family and name not in synonyms.ARCHITECTURES
        architectures = [known[name]] if name in known else nearest(name, known.values(), SURE) if is_told else []
        ways += [f"model=torchvision model.architecture={found}" for found in architectures or family]
    return f"; write {' or '.join(ways)}" if ways else None


def _cure_by_name(key: str, name: str, value: str, catalogue: Catalogue) -> str:
    """Where the last part of the key is a setting, as it is or by another word, or a choice."""
    found = places.best_places(key, name, catalogue)
    is_told = name == synonyms.KEYS.get(plain(key.rpartition(".")[2]))  # then whatever the value
    if fitting := found if is_told else [place for place in found if place.takes(value)]:
        return _cure_by_places(key, fitting, value, catalogue)
    groups = catalogue.groups_with(name)
    return _cure_by_choices(name, groups, value, catalogue) if groups else ""


def _cure_by_choices(name: str, groups: Sequence[str], value: str, catalogue: Catalogue) -> str:
    """Where a key is a choice: that choice and, where it has one setting and the value fits it, also that."""
    ways = []
    for group in groups[:MOST]:
        own = [place for place in catalogue.places if (place.group, place.choice) == (group, name)]
        fits = len(own) == 1 and value and own[0].takes(value) and isinstance(own[0].default, int | float)
        ways.append(" ".join([catalogue.choose(group, name), *([override(own[0].key, value)] if fits else [])]))
    return f"; {name} is a choice, write {' or '.join(ways)}"


def _cure_by_group(key: str, value: str, catalogue: Catalogue) -> str:
    """By a value that is a choice of a group that the key names in other words."""
    words = places.words_meant(key)
    return _cure_by_value(
        value, [group for group in catalogue.groups if has_all(words, [group])], _choice_meant, catalogue
    )


def _cure_by_value(value: str, groups: Iterable[str], meant: ChoiceOf, catalogue: Catalogue) -> str:
    """By a value that is a choice of one of these groups; `none` tells nothing."""
    ways = ((group, _chosen(group, value, meant, catalogue)) for group in groups)
    return next((f"; write {way}" for group, way in ways if way and way != catalogue.choose(group, "none")), "")


def _cure_by_words(key: str, value: str, catalogue: Catalogue) -> str:
    """By the words of the key: a setting, or a choice where that accounts for more of them."""
    used, found = places.by_words(key, value, catalogue)
    used_by_choice, chosen = places.choices_by_words(key, catalogue)
    if used_by_choice > used:
        return _cure_by_choices(chosen[0][1], [group for group, _ in chosen], value, catalogue)
    return _cure_by_places(key, found, value, catalogue)


def _cure_by_switch(key: str, value: str, catalogue: Catalogue) -> str:
    """Of `channels_last=true` or `use_amp=true`: the key of the run that has such a word for a value."""
    if value.lower() not in ("true", "yes", "on"):
        return ""
    words = set(words_of(key))
    found = [
        (len(phrase), override(place.key, meant))
        for setting, values in synonyms.VALUES.items()
        for phrase, meant in values.items()
        for place in catalogue.places
        if place.setting == setting and catalogue.is_active(place) and set(words_of(phrase)) <= words
    ]
    return f"; write {max(found)[1]}" if found else ""


def _cure_by_spelling(key: str, value: str, catalogue: Catalogue) -> str:
    """By a setting, a choice or another word for one of them, anywhere, that is spelled nearly so."""
    last = plain(key).rpartition(".")[2]
    everywhere = [*(place.setting.rpartition(".")[2] for place in catalogue.places)]
    everywhere += [*(choice for all_of in catalogue.groups.values() for choice in all_of), *synonyms.KEYS]
    for name in nearest(last, everywhere, SURE, most=2):
        meant = synonyms.KEYS.get(name, name)
        if meant in catalogue.groups:
            return _cure_of_group(meant, value, catalogue)
        if cure := _cure_by_name(key, meant, value, catalogue):
            return cure
    return ""


def _cure_by_places(key: str, found: Sequence[Place], value: str, catalogue: Catalogue, of: str | None = None) -> str:
    """Overrides that set the key in the places it has, and choose what it belongs to where the run has not; empty where
    there are no places."""
    found = [p for p in found if value in catalogue.groups.get(p.key, [value])] or found
    if not found:
        return ""
    what = f"; {of} is a setting, write" if of else "; write"
    active = [place for place in found if catalogue.is_active(place)]
    if active:
        nearest_first = sorted(active, key=lambda place: -likeness(key, place.key) if "." in key else 0)
        ways = list(dict.fromkeys(_setting(place, value, catalogue) for place in nearest_first))
        return f"{what} {' or '.join(ways[:MOST])}" if of else f"; did you mean {' or '.join(ways[:MOST])}?"
    by_choice = {(place.group, place.choice): place for place in found}
    choices = sorted(
        by_choice, key=lambda of: (-likeness(key, by_choice[of].key) if "." in key else 0, of[1] not in synonyms.USUAL)
    )
    ways = [f"{catalogue.choose(*of)} {_setting(by_choice[of], value, catalogue)}" for of in choices[:MOST]]
    own = sorted({place.group for place in found})
    chosen = next(iter(catalogue.chosen.get(own[0], ())), None) if len(own) == 1 else None
    if chosen and own[0] not in LIST_GROUPS:
        having = ", ".join(choice for _, choice in choices)
        return f"; {chosen} has no such setting, {having} {'has' if len(choices) == 1 else 'have'}: write {ways[0]}"
    return f"{what} {' or '.join(ways)}"


def _setting(place: Place, value: str, catalogue: Catalogue) -> str:
    """The override that gives the value to a place, in the form it has there."""
    if value in catalogue.groups.get(place.key, ()):
        return catalogue.choose(place.key, value)
    value = synonyms.VALUES.get(place.setting, {}).get(plain(value), value) or "VALUE"
    if isinstance(place.default, bool) and re.fullmatch(r"[\d.]+", value):
        value = "true" if float(value) else "false"
    if value != "VALUE" and not place.takes(value):
        value = str(place.default).replace(" ", "") if isinstance(place.default, list) else "VALUE"
    return override(place.key, value)
