"""Counts, p-values and verdicts in words."""

from collections.abc import Sequence

from cnnbench.analysis.statistics.levels import ALPHA


def listed(values: Sequence[int]) -> str:
    """`0 to 5`, or `0, 2, 7` where some between are missing."""
    ordered = sorted(set(values))
    if len(ordered) > 2 and ordered[-1] - ordered[0] == len(ordered) - 1:
        return f"{ordered[0]} to {ordered[-1]}"
    return ", ".join(map(str, ordered))


def listed_all(values: Sequence[object]) -> str:
    """`6`, `6 and 8`, `6, 8 and 10`."""
    *others, last = map(str, values)
    return f"{', '.join(others)} and {last}" if others else last


def plural(count: int, what: str) -> str:
    """`1 run`, `2 runs`."""
    return f"{count} {what}{'' if count == 1 else 's'}"


def ranges(values: Sequence[int]) -> str:
    """`0 to 3, 5, 7 to 9`."""
    found: list[list[int]] = []
    for value in sorted(set(values)):
        if found and value == found[-1][-1] + 1:
            found[-1].append(value)
        else:
            found.append([value])
    return ", ".join(listed(each) for each in found)


def write_p(p: float | None) -> str:
    """Two digits of a p-value: of one at 0.05 so many that it is seen on which side it lies; nothing of None."""
    if p is None:
        return ""
    return f"{p:.2g}" if (p <= ALPHA) == (float(f"{p:.2g}") <= ALPHA) else f"{p:.3g}"


def write_seeds_needed(needed: int, pairs: int) -> str:
    """`12`, or `a few more` where there are so many already, which decide it in most cases but not in this one."""
    return str(needed) if needed > pairs else "a few more"


def write_verdict(verdict: str, held: str | None, notes: Sequence[str]) -> str:
    """The verdict, why it says no more, and what is to be known beside it."""
    beside = [*([held] if held else []), *notes]
    return f"{verdict} ({'; '.join(beside)})" if beside else verdict
