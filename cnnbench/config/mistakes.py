"""Names that are not known, and which were meant."""

from collections.abc import Collection, Iterable, Mapping

from cnnbench.config.words import nearest, squeezed, words_of

LONG = 5  # letters that are no accident within a longer name


def did_you_mean(given: str, known: Iterable[str]) -> str:
    """`"; did you mean 'deep'?"`, or an empty string where nothing known is close to `given`."""
    close = nearest(given, known, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else ""


def suggest(given: str, known: Collection[str]) -> str:
    """The end of a message about a name that is not known: the nearest one, then all that are."""
    near, listed = did_you_mean(given, known), ", ".join(known) or "nothing"
    return f"{near} Choose from {listed}" if near else f"; choose from {listed}"


def same_name(given: str, known: Iterable[str], others: Mapping[str, str]) -> str | None:
    """Which of `known` is meant by `given`: one in other letters, as `Leaky-ReLU`, or by one of its `others`."""
    named = {squeezed(other): meant for other, meant in others.items()} | {squeezed(name): name for name in known}
    return named.get(squeezed(given))


def another_name(given: str, known: Collection[str], others: Mapping[str, str]) -> str | None:
    """The same, or the longest that is within `given`: `CosineAnnealingLR` is cosine."""
    within = [name for name in (*others, *known) if is_within(name, given)]
    return same_name(given, known, others) or same_name(max(within, key=len, default=""), known, others)


def is_within(name: str, longer: str) -> bool:
    """Whether the longer name says this one and more."""
    short = squeezed(name)
    return (len(short) >= LONG and short in squeezed(longer)) or set(words_of(name)) <= set(words_of(longer))
