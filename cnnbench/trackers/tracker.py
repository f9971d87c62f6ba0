"""What a tracker is, and in which form it is told of a run."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from cnnbench.errors import DiskError

Numbers = dict[str, float]
"""Numbers by name, `gradient_norms/features.0.weight` where they are nested."""


@dataclass(frozen=True)
class Beginning:
    """A run as it begins, or goes on.

    Attributes:
        run_id: what no other run is called; the same when it goes on.
        config: its checked config, as plain values; without what no result depends on.
        summary: summary.json as far as it is known.
        images: some training images as the network sees them, but not normalised: (N, H, W, C) uint8.
        epochs: those that it has already, in the order of metrics.jsonl; more were perhaps told, and are trained anew.
    """

    run_id: str
    config: Mapping[str, Any]
    summary: Mapping[str, Any]
    images: NDArray[np.uint8]
    epochs: Sequence[Numbers]


class Tracker(Protocol):
    """Writes a run into the record of a tool.

    A tracker's constructor imports the tool's package, and does no more. Its methods are called one after the other in
    a thread of the tracker's own. What they raise ends the tracker, and not the run.
    """

    def start(self, beginning: Beginning) -> None:
        """Begins the record of a run, or finds that of a run that goes on and brings it to these epochs."""

    def log_epoch(self, numbers: Numbers) -> None:
        """Adds an epoch: the numbers of its line in metrics.jsonl."""

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Closes the record; `status`, `error` and `exit_code` of the summary say how the run has ended."""


def flat(values: Mapping[str, Any], separator: str = "/") -> dict[str, Any]:
    """Nested mappings as one, the names on the way joined by `separator`."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        inner = flat(value, separator) if isinstance(value, Mapping) else None
        found |= {name: value} if inner is None else {f"{name}{separator}{key}": item for key, item in inner.items()}
    return found


def numbers_of(values: Mapping[str, Any]) -> Numbers:
    """The finite numbers among nested values."""
    return {
        name: value
        for name, value in flat(values).items()
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    }


def results_of(summary: Mapping[str, Any]) -> Numbers:
    """The numbers that a finished run came to, under `summary/`: some have the name of an epoch's; of another none."""
    kept = {key: value for key, value in summary.items() if key not in ("format", "exit_code", "seed", "lengthened")}
    return numbers_of({"summary": kept}) if summary["status"] == "finished" else {}


def own_folder(run: Path, name: str) -> Path:
    """The folder of a tool in a run folder, maybe not there yet.

    Raises:
        DiskError: the run folder, which may come from elsewhere, sends what is written there to another place.
    """
    folder = run / name
    if folder.is_symlink():
        raise DiskError(f"{folder}: is a link; remove it")
    return folder
