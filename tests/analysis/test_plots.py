"""Figures: what is in the SVG, that text stays text, and that nothing depends on the day or the page."""

import math
import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from cnnbench.analysis import plots
from cnnbench.analysis import svg as figures
from cnnbench.analysis.curves import Curve
from cnnbench.analysis.layer_map import LayerRow, layer_map

HOSTILE = [
    "</script><img src=x onerror=alert(1)>",
    "$\\frac{1}{0}$ & $x",
    "\x1b[31m\u202e",
    'a" onload="b',
    "]]><!-- -->",
]
CURVE = Curve(np.arange(1, 4), np.array([0.5, 0.7, 0.8]), np.array([0.1, 0.1, 0.1]))
POINT = plots.Point("1", 10.0, (9.0, 11.0), 90.0, (89.0, 91.0), False)


def forest(*labels):
    return plots.forest(
        [plots.ForestRow(label, 0.5, (0.1, 0.9), "helps") for label in labels], margin=0.2, xlabel="points"
    )


FIGURES = {
    "forest": lambda text: forest(text),
    "gap": lambda text: plots.gap([(text, [1.0, 2.0])], xlabel=text),
    "learning_curves": lambda text: plots.learning_curves([plots.Series(0, text, CURVE)], ylabel=text),
    "pareto": lambda text: plots.pareto([POINT._replace(name=text)], xlabel=text, ylabel=text),
    "layer_map": lambda text: layer_map(
        [LayerRow(text, [0.5], [-0.7, None]), LayerRow("b", [0.5], [0.2, 0.0])],
        shares=["share"],
        ways=["a", "b"],
        title=[text],
    ),
    "confusion": lambda text: plots.confusion(np.array([[3, 1], [0, 4]])),
}


def texts(svg):
    """The text elements, as a parser reads them."""
    return [element.text for element in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]


def titles(svg):
    """What a browser shows where the pointer rests on a mark."""
    return [element.text for element in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}title")]


def shape(svg):
    """The elements and attributes, without their values."""
    return [(element.tag, sorted(element.attrib)) for element in ElementTree.fromstring(svg).iter()]


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("figure", FIGURES.values(), ids=FIGURES)
def test_text_of_unknown_origin_makes_no_element_and_no_attribute(figure, text):
    plain = shape(figure("plain")) + shape(figure("plain text that is broken into two lines"))
    assert set(map(str, shape(figure(text)))) <= set(map(str, plain))


def test_text_is_shown_as_it_is_and_what_cannot_be_seen_is_spelled_out():
    assert "1 $x$ <b>" in texts(forest("1 $x$ <b>"))
    assert "1 \\x1b[31m \\u202ea" in texts(forest("1 \x1b[31m \u202ea"))


@pytest.mark.parametrize("figure", FIGURES.values(), ids=FIGURES)
def test_a_figure_is_the_same_bytes_every_time(figure):
    assert figure("a") == figure("a")


def test_a_figure_does_not_depend_on_the_users_settings(monkeypatch):
    import matplotlib

    expected = forest("a")
    with matplotlib.rc_context({"text.usetex": True, "font.size": 40, "axes.facecolor": "red"}):
        assert forest("a") == expected


def test_two_figures_of_a_page_share_no_id():
    first, second = (set(re.findall(r' id="([^"]*)"', forest(text))) for text in "ab")
    assert first
    assert first & second == set()


@pytest.mark.parametrize("figure", FIGURES.values(), ids=FIGURES)
def test_every_reference_has_its_target(figure):
    svg = figure("a")
    used = set(re.findall(r'href="#([^"]*)"', svg)) | set(re.findall(r"url\(#([^)]*)\)", svg))
    assert used <= set(re.findall(r' id="([^"]*)"', svg))


@pytest.mark.parametrize("figure", FIGURES.values(), ids=FIGURES)
def test_every_colour_has_one_for_a_black_page(figure):
    svg = figure("a")
    assert "currentColor" in svg
    assert figures.INK not in svg
    assert set(re.findall(r"#[0-9a-f]{6}\b", svg)) <= set(figures.ON_BLACK)


def luminance(colour):
    """Relative luminance as WCAG 2 defines it."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize(("light", "dark"), figures.ON_BLACK.items())
def test_colours_stand_out_from_their_page(light, dark):
    assert 1.05 / (luminance(light) + 0.05) > 3  # WCAG 2: 3 to 1 for graphics
    assert (luminance(dark) + 0.05) / (luminance("#161616") + 0.05) > 3


def test_a_forest_says_each_verdict_in_words_and_leaves_out_what_is_not_known():
    rows = [plots.ForestRow("a", 0.5, (0.1, 0.9), "helps"), plots.ForestRow("b", math.nan, None, "undecided")]
    svg = plots.forest(rows, margin=0.2, xlabel="points")
    assert {"a", "b", "✓ +0.50", "?", "points"} <= set(texts(svg))
    assert "a: helps, +0.50, 95 % interval +0.10 to +0.90" in titles(svg)
    assert "nan" not in svg.lower()


def test_a_long_label_is_cut_in_its_middle():
    assert figures.shorten("abcdefghijkl", 6) == "abcd…l"
    assert figures.shorten("abc", 3) == "abc"
    assert max(len(text) for text in texts(forest("x" * 200))) < 48


def test_names_of_curves_that_end_together_do_not_cover_each_other():
    series = [plots.Series(place, f"n{place}", CURVE) for place in range(8)]
    svg = plots.learning_curves(series, ylabel="accuracy")
    heights = sorted(float(y) for y in re.findall(r'<text[^>]* y="([^"]*)"[^>]*>n\d<', svg))
    assert len(heights) == 8
    assert min(np.diff(heights)) > 10  # px, of a text of 12
    assert heights[0] > 0


def test_the_cost_axis_has_plain_numbers_where_it_is_logarithmic():
    svg = plots.pareto([POINT._replace(cost=cost, cost_interval=None) for cost in (1.0, 100.0)], xlabel="s", ylabel="%")
    assert "math" not in svg
    assert {"1", "10", "100"} <= set(texts(svg))


def test_a_confusion_matrix_has_a_number_for_each_count_that_is_not_zero():
    counts = np.array([[31, 7], [0, 44]])
    found = texts(plots.confusion(counts))
    assert {"31", "7", "44"} <= set(found)
    assert found.count("0") == 2  # the ticks


def test_a_figure_in_a_file_of_its_own_has_a_font_and_a_background_for_light_and_dark():
    svg = plots.forest([plots.ForestRow("a", 0.5, (0.2, 0.8), "helps")], margin=0.2, xlabel="points")
    alone = figures.standalone(svg)
    ElementTree.fromstring(alone)
    assert alone.replace(alone[alone.index("<style>") : alone.index("</style>") + 8], "", 1) == svg + "\n"
    style = alone.partition("</style>")[0]
    assert "font-family" in style
    assert "prefers-color-scheme: dark" in style
    assert all(f"--c{light[1:]}: {dark};" in style for light, dark in figures.ON_BLACK.items())


def ticks(svg, low):
    """The numbers on the axes from `low` on."""
    return [float(text) for text in texts(svg) if text and re.fullmatch(r"[\d.]+", text) and float(text) >= low]


def test_an_accuracy_never_goes_beyond_a_hundred():
    high = POINT._replace(cost=1.0, quality=99.8, quality_interval=(98.0, 101.6))
    svg = plots.pareto([high, high._replace(cost=2.0, name="other")], xlabel="s", ylabel="%", limits=(0.0, 100.0))
    assert max(ticks(svg, 90)) <= 100
    curve = Curve(np.arange(1, 4), np.array([0.98, 0.99, 1.0]), np.array([0.1, 0.1, 0.1]))
    svg = plots.learning_curves([plots.Series(0, "a", curve)], ylabel="%", scale=100.0, highest=100.0)
    assert max(ticks(svg, 80)) <= 100


def test_every_point_says_what_it_is_where_the_pointer_rests_on_it():
    points = [POINT._replace(name=f"<{n}>", cost=10.0 + n) for n in range(3)]
    assert {"<0>: 90 for 10", "<1>: 90 for 11", "<2>: 90 for 12"} <= set(
        titles(plots.pareto(points, xlabel="s", ylabel="%"))
    )


@pytest.mark.parametrize(("count", "begins_at_the_first"), [(1, True), (2, False)])
def test_a_single_curve_is_shown_from_its_first_epoch(count, begins_at_the_first):
    curve = Curve(np.arange(1, 11), np.linspace(0.1, 1.0, 10), None)
    drawn = plots.learning_curves([plots.Series(i, str(i), curve) for i in range(count)], ylabel="accuracy")
    ticks = [float(tick) for tick in re.findall(r">(0\.\d+)<", drawn)]
    assert (min(ticks) <= 0.2) == begins_at_the_first


def test_the_more_a_layer_loses_the_stronger_its_square_and_each_says_its_number():
    rows = [LayerRow("first", [0.25], [-0.5, None]), LayerRow("second", [0.75], [-12.5, 2.0])]
    svg = layer_map(rows, shares=["share"], ways=["filters\n−25 %", "int8"], title=["run"])
    assert titles(svg) == ["first, filters −25 %: −0.50", "second, filters −25 %: −12.50", "second, int8: +2.00"]
    assert {"first", "second", "25.0 %", "75.0 %", "−0.50", "−12.50", "+2.00", "–", "int8", "run"} <= set(texts(svg))
    opacities = [float(value) for value in re.findall(r"fill: var\(--c[^;]*; opacity: ([0-9.]+)", svg)]
    assert opacities == pytest.approx([0.65 * math.sqrt(points / 50) for points in (0.5, 12.5, 2.0)])
