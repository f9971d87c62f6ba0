"""Which keys were meant by one that is not there: those of the same name elsewhere, or like it in letters or words."""

from collections.abc import Sequence

from cnnbench.config import synonyms
from cnnbench.config.catalogue import Catalogue, Place
from cnnbench.config.words import SLIP, alike, has_all, is_short_for, nearest, plain, replaced, squeezed, words_of

PHRASES = [(words, meant) for words, meant in synonyms.KEYS.items() if not meant.startswith("hydra.")]
TURNING = {"no", "not", "without", "disable", "min", "minimum"}  # words that make another thing of a key


def words_meant(key: str) -> list[str]:
    """The words of a key, those of other programs said as here."""
    return replaced(words_of(key), PHRASES)


def spelled_otherwise(key: str, catalogue: Catalogue) -> list[Place]:
    """The key in other letters or with other separators: `Model.PoolSize`, `model_pool/size`."""
    return [place for place in catalogue.places if squeezed(place.key) == squeezed(key)]


def best_places(key: str, setting: str, catalogue: Catalogue) -> list[Place]:
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


def beside(key: str, value: str, cutoff: float, catalogue: Catalogue) -> list[Place]:
    """The key of the run that is spelled most like this one in the same place, of those that take the value; where it
    need not be all but the same, else of all."""
    head, _, last = plain(key).rpartition(".")
    places = [p for p in catalogue.places if catalogue.is_active(p) and p.key.rpartition(".")[0] == head]
    fitting = [place for place in places if place.takes(value)]
    for among in (fitting, places if cutoff < SLIP else []):
        if near := nearest(last, [place.key.rpartition(".")[2] for place in among], cutoff):
            return [place for place in among if place.key.rpartition(".")[2] == near[0]]
    return []


def short_for(key: str, value: str, catalogue: Catalogue) -> list[Place]:
    """The keys of which this is an abbreviation: of the run at hand, else of all."""
    short = [p for p in catalogue.places if is_short_for(key, p.key) or is_short_for(key, p.setting)]
    fitting = [place for place in short if place.takes(value)]
    return [place for place in fitting if catalogue.is_active(place)] or fitting


def by_words(key: str, value: str, catalogue: Catalogue) -> tuple[int, list[Place]]:
    """The settings all of whose words are among those of the key, with most of their choice's and group's; and how many
    words of the key they account for. A group that the key begins with is no word: `model.` means no `mode`."""
    head, _, rest = key.partition(".")
    words = words_meant(rest if head in catalogue.groups and rest else key)
    places = [(_score(words, place, catalogue), place) for place in catalogue.places if place.takes(value)]
    best = max((score for score, _ in places), default=(0,))
    return best[0], [place for score, place in places if score == best and best[0]]


def by_last_words(key: str, value: str, catalogue: Catalogue) -> list[Place]:
    """The settings that end in the words of the key and say more: `size` of `image_size`; first those of the run."""
    words = words_of(key.rpartition(".")[2])
    found = [
        place for place in catalogue.places if place.takes(value) and words_of(place.setting)[-len(words) :] == words
    ]
    return [place for place in found if catalogue.is_active(place)] or found


def choices_by_words(key: str, catalogue: Catalogue) -> tuple[int, list[tuple[str, str]]]:
    """The longest choice all of whose words are among those of the key, with each group that has it; and how many words
    of the key it accounts for."""
    words = words_meant(key)
    if set(words) & TURNING:
        return 0, []
    homes = [(group, name) for group, choices in catalogue.groups.items() for name in choices if name != "none"]
    said = [(g, name) for g, name in homes if has_all(words, words_of(name)) or squeezed(name) in words]
    used = {name: sum(any(alike(word, own) for own in words_of(name)) for word in words) for _, name in said}
    longest = max(used, key=lambda name: (used[name], len(name)), default="")
    return used.get(longest, 0), [(group, name) for group, name in said if name == longest]


def _score(words: Sequence[str], place: Place, catalogue: Catalogue) -> tuple[int, ...]:
    """How well the words of a key name the place, by the number of those that do first; zero where they do not."""
    own, choice = words_of(place.setting), words_of(place.choice)
    if place.setting in catalogue.groups or not has_all(words, own) or set(words) & TURNING - set(own):
        return (0,)
    known = [*own, *choice, *words_of(place.group)]
    used = sum(any(alike(word, other) for other in known) for word in words)
    head = any(alike(words[-1], other) for other in own)
    return (used, has_all(words, choice), head, sum(word in own for word in words), catalogue.is_active(place))
