"""What each layer costs in accuracy in each of several ways, as squares: the more is lost, the stronger the colour."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from cnnbench.analysis.svg import BLUE, GREY, VERMILLION, Axes, drawing, finished, hover, shorten
from cnnbench.console import visible

CELL, ROW, AROUND = 56, 25, 150  # px; the last for what stands above and below the rows
CHARACTER, LONGEST = 6.5, 60  # px and characters, of a layer's name
STRONGEST = 50.0  # points, up to which the colours grow, with the square root
GAP = 0.35  # of a row, before the last


class LayerRow(NamedTuple):
    """A layer, what share of the network it is (0 to 1), and what each way costs, in points: below zero, what is lost;
    None where it cannot be done."""

    name: str
    shares: Sequence[float]
    differences: Sequence[float | None]


def layer_map(rows: Sequence[LayerRow], *, shares: Sequence[str], ways: Sequence[str], title: Sequence[str]) -> str:
    """A row for each layer, the last of all together; a column for each share, then one for each way.

    Losses are orange and gains blue, and the number is written in every square. Names of columns may have two lines.
    """
    columns = [*shares, *ways]
    longest = max(len(shorten(row.name, LONGEST)) for row in rows)
    width = round(30 + CHARACTER * longest + CELL * len(columns))
    with drawing(width, AROUND + ROW * len(rows)) as (figure, axes):
        places = [y + (GAP if y == len(rows) - 1 else 0.0) for y in range(len(rows))]
        for y, row in zip(places, rows, strict=True):
            for x, share in enumerate(row.shares):
                axes.text(x, y, f"{100 * share:.1f} %", color=GREY, **CENTRED)
            for x, (way, points) in enumerate(zip(ways, row.differences, strict=True), start=len(shares)):
                _draw_cell(axes, x, y, f"{row.name}, {' '.join(way.split())}", points)
        axes.set(xlim=(-0.5, len(columns) - 0.5), ylim=(places[-1] + 0.5, -0.5))
        axes.set_yticks(places, [shorten(row.name, LONGEST) for row in rows], size=10)
        axes.set_xticks(range(len(columns)), columns, size=10)
        axes.tick_params(length=0, top=True, labeltop=True, labelbottom=False)
        axes.spines[:].set_visible(False)
        figure.suptitle("\n".join(map(visible, title)), x=0.01, ha="left", size=11)
        return finished(figure)


CENTRED: Any = {"ha": "center", "va": "center", "size": 9.5}


def _draw_cell(axes: Axes, x: float, y: float, what: str, points: float | None) -> None:
    from matplotlib.patches import Rectangle

    if points is None:
        axes.text(x, y, "–", color=GREY, **CENTRED)
        return
    shown = f"{points:+.2f}".replace("-", "−") if round(points, 2) else "0.00"
    style: dict[str, Any] = {"color": BLUE if points > 0 else VERMILLION, "alpha": 0.65 * _strength(points)}
    axes.add_patch(Rectangle((x - 0.48, y - 0.46), 0.96, 0.92, linewidth=0, gid=hover(f"{what}: {shown}"), **style))
    axes.text(x, y, shown, **CENTRED)


def _strength(points: float) -> float:
    """From 0 to 1."""
    return math.sqrt(min(1.0, abs(points) / STRONGEST))
