"""Figures as SVG text. All are drawn narrow enough for a telephone."""

import math
import re
import textwrap
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cnnbench.analysis.curves import Curve
from cnnbench.analysis.point_labels import place_labels
from cnnbench.analysis.svg import BLUE, GREY, INK, SERIES, VERMILLION, Axes, Figure, drawing, finished, hover, shorten
from cnnbench.console import visible

DASHES = ("", "5 1.5", "1.2 1.2", "5 1.5 1.2 1.5")  # in widths of the line
VERDICT_MARKS = {"helps": "✓", "hurts": "✗", "no practical effect": "≈", "undecided": "?"}
VERDICT_COLOURS = {"helps": BLUE, "hurts": VERMILLION}
WIDE, NARROW, ROW = 420, 380, 32  # px
CHARACTER, TEXT_HEIGHT = 7.0, 13.0  # px, of a name in a plot: at most
LONGEST_POINT, LONGEST_LINE = 18, 24  # characters
BREAK = "\0"  # no text that is shown has one
NAME_HEIGHT = 0.06  # of the plot's height
MOST_DRAWN_CLASSES, MOST_COUNTED_CLASSES = 30, 12


class ForestRow(NamedTuple):
    """A difference, in the unit of the axis; `mean` is not a number where there is none. `is_close`: it was decided by
    little, at a p above 0.01."""

    label: str
    mean: float
    interval: tuple[float, float] | None
    verdict: str
    is_close: bool = False


class Series(NamedTuple):
    """A curve, its place among SERIES, and the short name that stands at its end."""

    place: int
    name: str
    curve: Curve


class Point(NamedTuple):
    """What a group costs and gives, each with its interval where one is known; `name` is short."""

    name: str
    cost: float
    cost_interval: tuple[float, float] | None
    quality: float
    quality_interval: tuple[float, float] | None
    dominated: bool
    on_front: bool = True


def forest(rows: Sequence[ForestRow], *, margin: float, xlabel: str) -> str:
    """Differences with their intervals, a line at zero, and the margin within which they have no effect shaded.

    A name stands left of its interval, the mean and the mark of its verdict right of it. What was decided by little has
    a ring in the place of a dot.
    """
    ends = [abs(end) for row in rows for end in (row.mean, *(row.interval or ())) if abs(end) < math.inf]
    reach = 1.1 * max([margin, *ends]) or 1.0
    digits = 0 if reach >= 100 else max(2, 1 - math.floor(math.log10(reach)))
    with drawing(WIDE, 56 + ROW * len(rows)) as (figure, axes):
        axes.axvspan(-margin, margin, color=GREY, alpha=0.2, linewidth=0)
        axes.axvline(0, color=INK, linewidth=0.8)
        for y, row in enumerate(rows):
            colour = VERDICT_COLOURS.get(row.verdict, GREY)
            style: dict[str, Any] = {"color": colour, "gid": hover(_spell_difference(row, digits))}
            if row.interval:
                axes.plot(row.interval, (y, y), solid_capstyle="butt", linewidth=2, marker="|", markersize=9, **style)
            if row.mean == row.mean:
                axes.plot(row.mean, y, "o", markersize=7, fillstyle="none" if row.is_close else "full", **style)
            axes.text(1.02, y, _spell_mean(row, digits), color=colour, weight="bold", **BESIDE | _beside(axes))
        axes.set_xlim(-reach, reach)
        _finish_rows(axes, [row.label for row in rows], xlabel)
        return finished(figure)


def _spell_mean(row: ForestRow, digits: int) -> str:
    mark = VERDICT_MARKS.get(row.verdict, "")
    return f"{mark} {_signed(row.mean, digits)}" if abs(row.mean) < math.inf else mark


def _spell_difference(row: ForestRow, digits: int) -> str:
    found = f"{row.label}: {row.verdict}"
    if abs(row.mean) < math.inf:
        found += f", {_signed(row.mean, digits)}"
    if row.interval:
        found += f", 95 % interval {' to '.join(_signed(end, digits) for end in row.interval)}"
    return found


def _signed(value: float, digits: int) -> str:
    return f"{value:+,.{digits}f}".replace("-", "−")


def learning_curves(series: Sequence[Series], *, ylabel: str, scale: float = 1.0, highest: float = math.inf) -> str:
    """Mean curves, each with a band of one standard deviation; place i has the colour SERIES[i] and dash_of(i).

    Of several, the height fits what comes after the first fifth of the epochs, which would press the rest flat; a lone
    one is shown whole. No value is above `highest`.
    """
    from matplotlib.ticker import MaxNLocator

    shown: list[float] = []
    with drawing(NARROW, 280) as (figure, axes):
        for place, name, curve in series:
            colour, dash = SERIES[place], dash_of(place)
            pattern: Any = (0, tuple(map(float, dash.split()))) if dash else "-"
            mean, spread = curve.mean * scale, 0.0 if curve.sd is None else curve.sd * scale
            lone = "o" if len(mean) == 1 else None
            said = hover(f"{name}: {mean[-1]:.4g} in epoch {curve.epochs[-1]}")
            axes.plot(curve.epochs, mean, color=colour, linestyle=pattern, marker=lone, gid=said)
            low, high = mean - spread, np.minimum(mean + spread, highest)
            axes.fill_between(curve.epochs, low, high, color=colour, alpha=0.16, linewidth=0)
            later = slice(len(mean) // 5 if len(series) > 1 else 0, None)
            shown += [low[later].min(), high[later].max()]
        room = 0.05 * (max(shown) - min(shown)) or 0.5
        axes.set(xlabel="epoch", ylabel=visible(ylabel), ylim=(min(shown) - room, min(max(shown) + room, highest)))
        axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True, min_n_ticks=1))
        axes.grid(color=GREY, alpha=0.3, linewidth=0.5)
        _name_ends(axes, [(each, each.curve.mean[-1] * scale) for each in series])
        return finished(figure)


def dash_of(place: int) -> str:
    """The dashes of a series as in SVG's stroke-dasharray, in widths of its line; empty for a whole line."""
    return DASHES[place % len(DASHES)]


def _name_ends(axes: Axes, ends: Sequence[tuple[Series, float]]) -> None:
    """Writes each name beside the end of its curve, moved where it would cover another or leave the plot."""
    low, high = axes.get_ylim()
    ordered = sorted(ends, key=lambda end: end[1])
    heights = [(y - low) / (high - low) for _, y in ordered]
    for i in range(1, len(heights)):
        heights[i] = max(heights[i], heights[i - 1] + NAME_HEIGHT)
    heights[-1] = min(heights[-1], 1.0)
    for i in reversed(range(len(heights) - 1)):
        heights[i] = min(heights[i], heights[i + 1] - NAME_HEIGHT)
    for (series, _), height in zip(ordered, heights, strict=True):
        style: dict[str, Any] = {"color": SERIES[series.place], "va": "center", "weight": "bold"}
        axes.text(1.01, height, visible(series.name), transform=axes.transAxes, **style)


def pareto(points: Sequence[Point], *, xlabel: str, ylabel: str, limits: tuple[float, float] | None = None) -> str:
    """Quality against cost, and the front of the points that nothing beats as steps; a dominated one is hollow.

    `limits` are the least and the greatest quality there can be. A name for which there is no room is left out.
    """
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    low, high = limits or (-math.inf, math.inf)
    with drawing(NARROW, 290) as (figure, axes):
        costs = [point.cost for point in points]
        if min(costs) > 0 and max(costs) > 8 * min(costs):
            axes.set_xscale("log")
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if max(costs) < 200 * min(costs) else (1,)))
            axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
            axes.xaxis.set_minor_formatter(NullFormatter())
        front = sorted((point.cost, point.quality) for point in points if point.on_front)
        axes.plot(*zip(*front, strict=True), drawstyle="steps-post", color=GREY, linewidth=1, linestyle=(0, (4, 2)))
        for point in points:
            colour, face, alpha = (GREY, "none", 0.55) if point.dominated else (BLUE, BLUE, 1.0)
            style: dict[str, Any] = {"color": colour, "alpha": alpha, "clip_on": False}
            x, y, interval = point.cost, point.quality, point.quality_interval
            inside = interval and (max(low, interval[0]), min(high, interval[1]))
            axes.errorbar(x, y, _bar(y, inside), _bar(x, point.cost_interval), fmt="none", elinewidth=1, **style)
            axes.plot(x, y, "o", mfc=face, gid=hover(f"{point.name}: {y:.4g} for {x:.4g}"), **style)
        axes.margins(0.12)
        axes.set(xlabel=visible(xlabel), ylabel=visible(ylabel))
        bottom, top = axes.get_ylim()
        axes.set_ylim(max(low, bottom), min(high, top))
        axes.grid(color=GREY, alpha=0.3, linewidth=0.5)
        _name_points(figure, axes, points)
        return finished(figure)


def _name_points(figure: Figure, axes: Axes, points: Sequence[Point]) -> None:
    """Writes the names beside the points, those of the front first."""
    figure.draw_without_rendering()  # only then it is known where a point is
    figure.set_layout_engine("none")  # and it stays there
    ordered = sorted(points, key=lambda point: point.dominated)
    pixels = [tuple(axes.transData.transform((point.cost, point.quality))) for point in ordered]
    names = [shorten(point.name, LONGEST_POINT) for point in ordered]
    box = axes.get_window_extent()
    sizes = [(CHARACTER * len(name), TEXT_HEIGHT) for name in names]
    for point, name, place in zip(
        ordered, names, place_labels(pixels, sizes, (box.x0, box.y0, figure.bbox.x1, figure.bbox.y1)), strict=True
    ):
        if place is not None:
            colour = GREY if point.dominated else BLUE
            axes.text(*axes.transData.inverted().transform(place), name, color=colour, va="bottom", size=11)


def _bar(value: float, interval: tuple[float, float] | None) -> Any:
    return None if interval is None else [[max(0.0, value - interval[0])], [max(0.0, interval[1] - value)]]


def gap(rows: Sequence[tuple[str, Sequence[float]]], *, xlabel: str) -> str:
    """A dot for every run and a bar at the mean, a row for each label."""
    with drawing(WIDE, 56 + ROW * len(rows)) as (figure, axes):
        axes.axvline(0, color=INK, linewidth=0.8)
        for y, (label, values) in enumerate(rows):
            mean = float(np.mean(values))
            shown = _signed(mean, 2)
            said = hover(f"{label}: mean {shown}, {len(values)} runs from {min(values):.2f} to {max(values):.2f}")
            axes.plot(values, [y] * len(values), "o", color=BLUE, alpha=0.5, markersize=6, markeredgewidth=0, gid=said)
            axes.plot(mean, y, "|", color=INK, markersize=13, markeredgewidth=2)
            axes.text(1.02, y, shown, color=INK, **BESIDE | _beside(axes))
        axes.margins(x=0.06)
        _finish_rows(axes, [label for label, _ in rows], xlabel)
        return finished(figure)


def confusion(counts: NDArray[np.int64]) -> str:
    """Counts (K, K) in squares, blue where right, red where wrong: the larger its share of the row, the stronger."""
    from matplotlib.patches import Rectangle

    num_classes = len(counts)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    right = np.eye(num_classes, dtype=bool)
    strengths = np.where(right, 0.6 * shares, 0.15 + 0.5 * shares / max(shares[~right].max(initial=0), 1e-9))
    with drawing(NARROW, NARROW) as (figure, axes):
        for true, answer in np.argwhere(counts):
            style = {"color": BLUE if true == answer else VERMILLION, "alpha": strengths[true, answer]}
            axes.add_patch(Rectangle((answer - 0.5, true - 0.5), 1, 1, linewidth=0, **style))
            if num_classes <= MOST_COUNTED_CLASSES:
                axes.text(answer, true, f"{counts[true, answer]}", ha="center", va="center", size=9)
        axes.set(xlim=(-0.5, num_classes - 0.5), ylim=(num_classes - 0.5, -0.5), aspect="equal")
        axes.set(xlabel="answer", ylabel="true class")
        ticks = range(0, num_classes, 1 if num_classes <= MOST_COUNTED_CLASSES else 5)
        axes.set(xticks=ticks, yticks=ticks)
        axes.tick_params(length=0)
        return finished(figure)


BESIDE: Any = {"va": "center", "ha": "left"}


def _beside(axes: Axes) -> Any:
    """Places text by a share of the plot's width, and by the row."""
    return {"transform": axes.get_yaxis_transform()}


def _finish_rows(axes: Axes, labels: Sequence[str], xlabel: str) -> None:
    """Rows from the top down, each with its label on the left, in at most two lines."""
    axes.set(ylim=(len(labels) - 0.5, -0.75), xlabel=visible(xlabel))
    axes.set_yticks(range(len(labels)), [_two_lines(label) for label in labels], size=11)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x", color=GREY, alpha=0.3, linewidth=0.5)


def _two_lines(label: str) -> str:
    """A label broken where it is long, and cut in its middle where it is longer than two lines."""
    breakable = re.sub(r"(?<=[._=])(?=\w)", BREAK, shorten(label, 2 * LONGEST_LINE - 6)).replace(" ", f" {BREAK}")
    lines = [""]
    for part in breakable.split(BREAK):
        for piece in textwrap.wrap(part, LONGEST_LINE, drop_whitespace=False) or [part]:
            lines = [*lines, ""] if len(lines[-1] + piece.rstrip()) > LONGEST_LINE else lines
            lines[-1] += piece
    rest = shorten("".join(lines[1:]), LONGEST_LINE)
    return f"{lines[0].rstrip()}\n{rest}" if rest else lines[0]
