"""Names of points in a plot: none covers another or leaves the plot."""

import random

import pytest

from cnnbench.analysis.point_labels import RADIUS, overlap, place_labels, within

PLOT = (0.0, 0.0, 340.0, 220.0)


@pytest.mark.parametrize("count", [2, 6, 17, 100])
def test_names_cover_neither_each_other_nor_a_point_and_stay_inside(count):
    draw = random.Random(count)
    points = [(draw.uniform(10, 330), draw.uniform(10, 210)) for _ in range(count)]
    sizes = [(draw.uniform(7, 110), 13.0) for _ in points]
    places = place_labels(points, sizes, PLOT)
    boxes = [(x, y, x + w, y + h) for (x, y), (w, h) in [(p, s) for p, s in zip(places, sizes, strict=True) if p]]
    dots = [(x - RADIUS, y - RADIUS, x + RADIUS, y + RADIUS) for x, y in points]
    assert all(within(box, PLOT) for box in boxes)
    assert not any(overlap(a, b) for i, a in enumerate(boxes) for b in boxes[:i])
    assert not any(overlap(box, dot) for box in boxes for dot in dots)
    assert len(boxes) >= min(count, 6)


def test_the_first_point_has_its_name_where_there_is_room_for_one_only():
    places = place_labels([(10.0, 10.0)] * 2, [(40.0, 13.0)] * 2, (0.0, 0.0, 70.0, 28.0))
    assert places[0] is not None
    assert places[1] is None
