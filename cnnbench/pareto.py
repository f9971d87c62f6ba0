"""Which choices are beaten by another that is at least as good and costs no more."""

from collections.abc import Sequence


def dominated(points: Sequence[tuple[float, float]]) -> list[bool]:
    """For each (quality, cost), higher quality and lower cost being better: whether another point beats it.

    To beat is to be no worse in both and better in one; equal points do not beat each other.
    """
    return [
        any(other != point and other[0] >= point[0] and other[1] <= point[1] for other in points) for point in points
    ]
