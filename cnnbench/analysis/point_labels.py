"""Where the names of points in a plot stand: not on another, on a point or outside; where nothing is free, nowhere."""

from collections.abc import Sequence

Box = tuple[float, float, float, float]  # left, bottom, right, top
RADIUS, AIR = 5.0, 2.0  # px: of a point, and around a name
REACHES = (0.0, 9.0, 18.0)  # px from the point, the nearest first


def place_labels(
    points: Sequence[tuple[float, float]], sizes: Sequence[tuple[float, float]], inside: Box
) -> list[tuple[float, float] | None]:
    """For each point, in the order of their importance, the lower left corner of a name of (width, height), in px.

    None where no place near the point is free.
    """
    taken = [(x - RADIUS, y - RADIUS, x + RADIUS, y + RADIUS) for x, y in points]
    places: list[tuple[float, float] | None] = []
    for point, size in zip(points, sizes, strict=True):
        boxes = ((x, y, x + size[0], y + size[1]) for x, y in corners(point, size))
        box = next((b for b in boxes if within(b, inside) and not any(overlap(b, other) for other in taken)), None)
        if box is not None:
            taken.append((box[0] - AIR, box[1] - AIR, box[2] + AIR, box[3] + AIR))
        places.append(box and (box[0], box[1]))
    return places


def corners(point: tuple[float, float], size: tuple[float, float]) -> list[tuple[float, float]]:
    """The lower left corners that a name may have: above right first, then around the point, then farther away."""
    (x, y), (width, height) = point, size
    found = []
    for reach in REACHES:
        near = RADIUS + 1 + reach
        right, left, above, below = x + near, x - near - width, y + near, y - near - height
        level, centred = y - height / 2, x - width / 2
        found += [(right, y + 1 + reach), (left, y + 1 + reach), (right, y - 1 - reach - height)]
        found += [(left, y - 1 - reach - height), (right, level), (left, level), (centred, above), (centred, below)]
    return found


def within(box: Box, outer: Box) -> bool:
    """Whether the box lies in the other."""
    return outer[0] <= box[0] and outer[1] <= box[1] and box[2] <= outer[2] and box[3] <= outer[3]


def overlap(first: Box, second: Box) -> bool:
    """Whether two boxes share more than an edge."""
    return first[0] < second[2] and second[0] < first[2] and first[1] < second[3] and second[1] < first[3]
