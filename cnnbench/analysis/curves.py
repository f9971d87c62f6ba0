"""How a metric went over the epochs: the mean over the seeds of a group, and its spread."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.analysis.metrics import finite_number

MOST_POINTS = 200  # of a curve; a longer one is thinned evenly


@dataclass(frozen=True)
class Curve:
    """`mean` and `sd` (E,) at `epochs` (E,); `sd` is None for one run."""

    epochs: NDArray[np.int64]
    mean: NDArray[np.float64]
    sd: NDArray[np.float64] | None


def mean_curve(runs: Sequence[Sequence[Any]], key: str) -> Curve | None:
    """The curve of `key` over runs, each the lines of its metrics.jsonl, as far as all of them have numbers.

    Runs without a single number do not count; None where no run has one.
    """
    rows = [row for lines in runs if (row := _numbers(lines, key))]
    if not rows:
        return None
    length = min(map(len, rows))
    values = np.array([row[:length] for row in rows])  # (runs, E)
    kept = np.unique(np.linspace(0, length - 1, min(length, MOST_POINTS)).round().astype(int))
    sd = values.std(axis=0, ddof=1)[kept] if len(rows) > 1 else None
    return Curve(kept + 1, values.mean(axis=0)[kept], sd)


def _numbers(lines: Sequence[Any], key: str) -> list[float]:
    """The values of the first epochs, up to the first that has none."""
    numbers: list[float] = []
    for line in lines:
        value = finite_number(line.get(key)) if isinstance(line, dict) else None
        if value is None:
            break
        numbers.append(value)
    return numbers
