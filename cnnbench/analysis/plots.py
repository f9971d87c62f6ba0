"""Figures as SVG text to stand inside an HTML page: readable on white and on black, the same bytes every time.

Text and axes have the colour of the page's text. Every other colour is `var(--cRRGGBB, #RRGGBB)`: as given on white,
and on black what the page sets in its place, for which `ON_BLACK` is made. All figures are drawn narrow enough for a
telephone; text of unknown origin passes `console.visible` and is never mathematics or markup.
"""

import hashlib
import io
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from cnnbench.analysis.curves import Curve
from cnnbench.console import visible

Axes: TypeAlias = Any  # matplotlib's, which is imported only where a figure is made
Figure: TypeAlias = Any

INK = "#010203"  # becomes the colour of the page's text
GREY, BLUE, VERMILLION = "#6b6b6b", "#0072b2", "#d55e00"
SERIES = (BLUE, VERMILLION, "#00855f", "#a8508a", "#8a6a00", "#3c3c3c", "#5b7fbf", "#c0392b")  # after Okabe and Ito
DASHES = ("", "5 1.5", "1.2 1.2", "5 1.5 1.2 1.5")  # in widths of the line
ON_BLACK = dict(
    zip(
        (GREY, *SERIES),
        ("#a3a3a3", "#56b4e9", "#f0854a", "#3cc79b", "#de9bc6", "#e3b93a", "#d8d8d8", "#9db8ea", "#ff8f80"),
        strict=True,
    )
)
VERDICT_MARKS = {"helps": "✓", "hurts": "✗", "no practical effect": "≈", "undecided": "?"}
VERDICT_COLOURS = {"helps": BLUE, "hurts": VERMILLION}
WIDE, NARROW = 420, 380  # px
NAME_HEIGHT = 0.06  # of the plot's height
MOST_DRAWN_CLASSES, MOST_COUNTED_CLASSES = 30, 12
STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "cnnbench",
    "text.parse_math": False,
    "font.size": 12,
    "axes.labelsize": 12,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "lines.linewidth": 1.6,
} | dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), INK)


class ForestRow(NamedTuple):
    """A difference, in the unit of the axis; `mean` is not a number where there is none."""

    label: str
    mean: float
    interval: tuple[float, float] | None
    verdict: str


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


def forest(rows: Sequence[ForestRow], *, margin: float, xlabel: str) -> str:
    """Differences with their intervals, a line at zero, and the margin within which they have no effect shaded."""
    with _figure(WIDE, 60 + 38 * len(rows)) as (figure, axes):
        axes.axvspan(-margin, margin, color=GREY, alpha=0.2, linewidth=0)
        axes.axvline(0, color=INK, linewidth=0.8)
        for y, row in enumerate(rows):
            colour = VERDICT_COLOURS.get(row.verdict, GREY)
            if row.interval:
                axes.plot(row.interval, (y, y), color=colour, solid_capstyle="butt", linewidth=2)
                axes.plot(row.interval, (y, y), "|", color=colour, markersize=9)
            if row.mean == row.mean:
                axes.plot(row.mean, y, "o", color=colour, markersize=7)
            _row_text(axes, y, row.label, f"{VERDICT_MARKS.get(row.verdict, '')} {row.verdict}", colour)
        ends = [abs(end) for row in rows for end in (row.mean, *(row.interval or ())) if end == end]
        reach = 1.1 * max([margin, *ends]) or 1.0
        axes.set_xlim(-reach, reach)
        _finish_rows(axes, len(rows), xlabel)
        return _svg(figure)


def learning_curves(series: Sequence[Series], *, ylabel: str, scale: float = 1.0) -> str:
    """Mean curves, each with a band of one standard deviation; place i has the colour SERIES[i] and dash_of(i).

    The height fits what comes after the first fifth of the epochs, which would press the rest flat.
    """
    from matplotlib.ticker import MaxNLocator

    shown: list[float] = []
    with _figure(NARROW, 280) as (figure, axes):
        for place, _, curve in series:
            colour, dash = SERIES[place], dash_of(place)
            pattern: Any = (0, tuple(map(float, dash.split()))) if dash else "-"
            mean, spread = curve.mean * scale, 0.0 if curve.sd is None else curve.sd * scale
            lone = "o" if len(mean) == 1 else None
            axes.plot(curve.epochs, mean, color=colour, linestyle=pattern, marker=lone)
            axes.fill_between(curve.epochs, mean - spread, mean + spread, color=colour, alpha=0.16, linewidth=0)
            later = slice(len(mean) // 5, None)
            shown += [(mean - spread)[later].min(), (mean + spread)[later].max()]
        room = 0.05 * (max(shown) - min(shown)) or 0.5
        axes.set(xlabel="epoch", ylabel=visible(ylabel), ylim=(min(shown) - room, max(shown) + room))
        axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True, min_n_ticks=1))
        axes.grid(color=GREY, alpha=0.3, linewidth=0.5)
        _name_ends(axes, [(each, each.curve.mean[-1] * scale) for each in series])
        return _svg(figure)


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


def pareto(points: Sequence[Point], *, xlabel: str, ylabel: str) -> str:
    """Quality against cost, and the front of the points that nothing beats as steps; a dominated one is hollow."""
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    with _figure(NARROW, 290) as (figure, axes):
        costs = [point.cost for point in points]
        if min(costs) > 0 and max(costs) > 8 * min(costs):
            axes.set_xscale("log")
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if max(costs) < 200 * min(costs) else (1,)))
            axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
            axes.xaxis.set_minor_formatter(NullFormatter())
        front = sorted((point.cost, point.quality) for point in points if not point.dominated)
        axes.plot(*zip(*front, strict=True), drawstyle="steps-post", color=GREY, linewidth=1, linestyle=(0, (4, 2)))
        for point in points:
            colour, face, alpha = (GREY, "none", 0.55) if point.dominated else (BLUE, BLUE, 1.0)
            style: dict[str, Any] = {"fmt": "o", "color": colour, "mfc": face, "elinewidth": 1, "alpha": alpha}
            x, y = point.cost, point.quality
            axes.errorbar(x, y, xerr=_bar(x, point.cost_interval), yerr=_bar(y, point.quality_interval), **style)
            axes.annotate(visible(point.name), (x, y), (6, 5), textcoords="offset points", color=colour)
        axes.margins(0.12)
        axes.set(xlabel=visible(xlabel), ylabel=visible(ylabel))
        axes.grid(color=GREY, alpha=0.3, linewidth=0.5)
        return _svg(figure)


def _bar(value: float, interval: tuple[float, float] | None) -> Any:
    return None if interval is None else [[max(0.0, value - interval[0])], [max(0.0, interval[1] - value)]]


def gap(rows: Sequence[tuple[str, Sequence[float]]], *, xlabel: str) -> str:
    """A dot for every run and a bar at the mean, a row for each label."""
    with _figure(WIDE, 60 + 34 * len(rows)) as (figure, axes):
        axes.axvline(0, color=INK, linewidth=0.8)
        for y, (label, values) in enumerate(rows):
            axes.plot(values, [y] * len(values), "o", color=BLUE, alpha=0.5, markersize=6, markeredgewidth=0)
            mean = float(np.mean(values))
            axes.plot(mean, y, "|", color=INK, markersize=13, markeredgewidth=2)
            _row_text(axes, y, label, f"{mean:+.2f}".replace("-", "−"), INK)
        axes.margins(x=0.06)
        _finish_rows(axes, len(rows), xlabel)
        return _svg(figure)


def confusion(counts: NDArray[np.int64]) -> str:
    """Counts (K, K) in squares, blue where right, red where wrong: the larger its share of the row, the stronger."""
    from matplotlib.patches import Rectangle

    num_classes = len(counts)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    right = np.eye(num_classes, dtype=bool)
    strengths = np.where(right, 0.6 * shares, 0.15 + 0.5 * shares / max(shares[~right].max(initial=0), 1e-9))
    with _figure(NARROW, NARROW) as (figure, axes):
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
        return _svg(figure)


def _row_text(axes: Axes, y: int, left: str, right: str, colour: str) -> None:
    """A line of text above row `y`: what it is, and what came out."""
    transform = axes.get_yaxis_transform()
    axes.text(0, y - 0.42, shorten(left, 48 - len(right)), transform=transform, va="center")
    axes.text(1, y - 0.42, right, transform=transform, va="center", ha="right", color=colour, weight="bold")


def _finish_rows(axes: Axes, count: int, xlabel: str) -> None:
    axes.set(ylim=(count - 0.5, -0.75), yticks=(), xlabel=visible(xlabel))
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x", color=GREY, alpha=0.3, linewidth=0.5)


def shorten(text: str, length: int) -> str:
    """`text` as it may be shown, cut in its middle where it is longer than `length`."""
    text = visible(text)
    if len(text) <= length:
        return text
    return f"{text[: length * 2 // 3]}…{text[-(length - length * 2 // 3 - 1) :]}"


@contextmanager
def _figure(width: int, height: int) -> Iterator[tuple[Figure, Axes]]:
    """A figure of so many px with one plot, drawn in our style whatever the user's matplotlibrc says."""
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with matplotlib.rc_context(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph", UserWarning)  # the browser has its own fonts
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        figure = Figure(figsize=(width / 72, height / 72), layout="constrained")
        FigureCanvasSVG(figure)
        yield figure, figure.add_subplot()


def standalone(svg: str) -> str:
    """A figure as a file of its own: with a font and a background, light or dark as whoever looks at it prefers."""
    dark = " ".join(f"--c{light[1:]}: {colour};" for light, colour in ON_BLACK.items())
    style = (
        "svg { font-family: system-ui, sans-serif; color: #1a1a1a; background: #fff; } "
        f"@media (prefers-color-scheme: dark) {{ svg {{ color: #e8e8e8; background: #16181c; {dark} }} }}"
    )
    opening, rest = svg.split(">", 1)
    return f"{opening}><style>{style}</style>{rest}\n"


def _svg(figure: Figure) -> str:
    """The figure as an <svg> element without a size, ids of its own, or fonts."""
    buffer = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<style.*?</style>", "", text, count=1, flags=re.DOTALL)
    key = hashlib.sha256(text.encode()).hexdigest()[:6]  # ids are the page's: two figures must not share one
    text = re.sub(r"<[^<>]*>", lambda tag: _change_tag(tag[0], key), text)
    return re.sub(r">\s+<", "><", text).strip()


TAG_CHANGES = (
    (r'^(<svg .*?) width="[^"]*" height="[^"]*"', r"\1"),
    (r' id="(?![a-z][0-9a-f]{10}")[^"]*"', ""),  # matplotlib's names of parts, which other figures have as well
    (r"font-family: [^;\"]*;? ?", ""),
    (rf"(fill|stroke): {INK}", r"\1: currentColor"),
    (r"(fill|stroke): #([0-9a-f]{6})", r"\1: var(--c\2, #\2)"),
    (r"\s+", " "),
)


def _change_tag(tag: str, key: str) -> str:
    for pattern, replacement in TAG_CHANGES:
        tag = re.sub(pattern, replacement, tag)
    return re.sub(r'(id="|href="#|url\(#)', rf"\1f{key}-", tag)
