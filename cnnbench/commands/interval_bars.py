"""Intervals drawn in characters, on one scale with zero marked."""

from collections.abc import Sequence

WIDTH = 21

Interval = tuple[float, float]


def draw_intervals(
    means: Sequence[float | None], intervals: Sequence[Interval | None], width: int = WIDTH
) -> list[str]:
    """A line of `width` characters for each: the interval, a dot at the mean, a bar at zero; no dot without a mean.

    All lines have one scale, with zero in it.
    """
    ends = [end for interval in intervals if interval for end in interval] + [m for m in means if m is not None]
    low, high = min([0.0, *ends]), max([0.0, *ends])
    span = (high - low) or 1.0

    def place(value: float) -> int:
        return round((value - low) / span * (width - 1))

    lines = []
    for mean, interval in zip(means, intervals, strict=True):
        line = [" "] * width
        if interval and mean is not None:
            first, last = place(interval[0]), place(interval[1])
            line[first : last + 1] = "─" * (last + 1 - first)
        line[place(0.0)] = "│"
        if mean is not None:
            line[place(mean)] = "●"
        lines.append("".join(line))
    return lines
