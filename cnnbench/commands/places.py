"""Where data sets are, as a table."""

from collections.abc import Mapping, Sequence
from typing import Any

PLACES = ("data", "images", "place")


def place_rows(report: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """What `locate_all` found as rows under PLACES; of a problem, what is wrong without the cure."""
    return [
        (row["data"], row["image_shape"] or "-", row["found"] or row["problem"].partition(";")[0]) for row in report
    ]
