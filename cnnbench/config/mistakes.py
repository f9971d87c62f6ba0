"""Names that are not known, and which were meant."""

import difflib
from collections.abc import Collection, Iterable


def did_you_mean(given: str, known: Iterable[str]) -> str:
    """`"; did you mean 'deep'?"`, or an empty string where nothing known is close to `given`."""
    close = difflib.get_close_matches(given, list(known), n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else ""


def suggest(given: str, known: Collection[str]) -> str:
    """The end of a message about a name that is not known: the nearest one, then all that are."""
    near, listed = did_you_mean(given, known), ", ".join(known) or "nothing"
    return f"{near} Choose from {listed}" if near else f"; choose from {listed}"
