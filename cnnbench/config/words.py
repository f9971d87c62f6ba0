"""Names taken apart: as words, in one spelling, and how like one is to another."""

import difflib
import re
from collections.abc import Iterable, Sequence

PREFIX, STEM = 3, 5  # letters by which a word stands for a longer one, or for one of another ending
SLIP = 0.78  # of 1, by difflib: one slip of a finger in a word of four letters or more


def plain(name: str) -> str:
    """`Fashion-MNIST` as `fashion_mnist`, `batchSize` as `batch_size`."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z]{2})", "_", name.strip())
    return re.sub(r"[-\s]+", "_", spaced).lower()


def squeezed(name: str) -> str:
    """Its letters and digits alone."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def words_of(name: str) -> list[str]:
    """`optimizer.initLR` as `optimizer`, `init`, `lr`."""
    return [word for word in re.split(r"[^a-z0-9]+", plain(name.replace(".", "_"))) if word]


def alike(word: str, known: str) -> bool:
    """Whether `word` is `known` in another number, short for it or of its stem: `opt`, `optimizers`, `optimise`."""
    if word == known or word.rstrip("s") == known.rstrip("s"):
        return True
    shorter, longer = sorted((word, known), key=len)
    if len(shorter) >= PREFIX and longer.startswith(shorter):
        return True
    return len(shorter) > STEM and shorter[:STEM] == longer[:STEM]


def has_all(words: Sequence[str], wanted: Sequence[str]) -> bool:
    """Whether each of the words wanted, of which there are some, has one that is `alike`."""
    return bool(wanted) and all(any(alike(word, other) for word in words) for other in wanted)


def is_short_for(name: str, known: str) -> bool:
    """Whether each part of the dotted `name` is the beginning of that part of `known`."""
    parts, whole = plain(name).split("."), known.split(".")
    return len(parts) == len(whole) and all(
        part == other or (len(part) >= PREFIX and other.startswith(part))
        for part, other in zip(parts, whole, strict=True)
    )


def likeness(name: str, known: str) -> float:
    """From 0 to 1."""
    return difflib.SequenceMatcher(a=name, b=known).ratio()


def nearest(name: str, known: Iterable[str], cutoff: float, most: int = 1) -> list[str]:
    """Those of `known` that are spelled most like `name`, of equal ones first those of the same letters."""
    close = difflib.get_close_matches(name, list(dict.fromkeys(known)), n=most + 2, cutoff=cutoff)
    return sorted(close, key=lambda other: (-likeness(name, other), sorted(name) != sorted(other)))[:most]


def replaced(words: list[str], phrases: Iterable[tuple[str, str]]) -> list[str]:
    """The words with each of the `phrases` that is among them said otherwise, the longest first."""
    for phrase, meant in sorted(phrases, key=lambda pair: -len(words_of(pair[0]))):
        wanted = words_of(phrase)
        for at in range(len(words) - len(wanted) + 1):
            if words[at : at + len(wanted)] == wanted and words_of(meant) != wanted:
                return [*words[:at], *words_of(meant), *replaced(words[at + len(wanted) :], phrases)]
    return words
