"""SVG text to stand inside an HTML page: readable on white and on black, the same bytes every time.

Text and axes have the colour of the page's text. Every other colour is `var(--cRRGGBB, #RRGGBB)`: as given on white,
and on black what the page sets in its place, for which `ON_BLACK` is made. Text of unknown origin passes
`console.visible` and is never mathematics or markup.
"""

import hashlib
import html
import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias
from urllib.parse import quote, unquote

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
HOVER = "hover:"
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


def hover(text: str) -> str:
    """What matplotlib is to call a mark so that `text` shows where the pointer rests on it."""
    return HOVER + quote(visible(text), safe="")


def shorten(text: str, length: int) -> str:
    """`text` as it may be shown, cut in its middle where it is longer than `length`."""
    text = visible(text)
    if len(text) <= length:
        return text
    return f"{text[: length * 2 // 3]}…{text[-(length - length * 2 // 3 - 1) :]}"


@contextmanager
def drawing(width: int, height: int) -> Iterator[tuple[Figure, Axes]]:
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


def finished(figure: Figure) -> str:
    """The figure as an <svg> element without a size, ids of its own, or fonts."""
    buffer = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<style.*?</style>", "", text, count=1, flags=re.DOTALL)
    text = re.sub(rf'<g id="{HOVER}([^"]*)">', lambda mark: f"<g><title>{html.escape(unquote(mark[1]))}</title>", text)
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
