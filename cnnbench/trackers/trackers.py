"""All trackers of a run as one."""

import importlib.util
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.config.settings import build
from cnnbench.console import note
from cnnbench.errors import DataError, UnavailableError
from cnnbench.progress import waiting
from cnnbench.runs.folder import RunFolder, how_it_ended
from cnnbench.runs.format import SUMMARY
from cnnbench.runs.identity import COMPUTES_NOTHING
from cnnbench.trackers import PACKAGES, TRACKERS
from cnnbench.trackers.follower import Follower
from cnnbench.trackers.tracker import Beginning, Tracker, numbers_of

SECONDS_TO_FINISH = 20.0  # that the end of a run waits for its trackers


def refuse_missing_packages(chosen: Mapping[str, Any]) -> None:
    """Looks for the packages that the trackers `chosen` import, without importing them.

    Raises:
        UnavailableError: with one line for each that is not installed.
    """
    missing = [name for name in chosen if name in PACKAGES and not _is_installed(name)]
    if missing:
        raise UnavailableError(*(f"logging.{name}: not installed; pip install {PACKAGES[name]}" for name in missing))


def _is_installed(package: str) -> bool:
    found = importlib.util.find_spec(package)
    return found is not None and found.origin is not None  # a folder so called, of runs, has no origin


class Trackers:
    """Tells all trackers of a run how it goes; a context manager around its work, which ends their records.

    None of them can end or slow the run: one that fails is left, with a note.

    Raises:
        UnavailableError: a tracker's package cannot be imported.
    """

    def __init__(self, chosen: Mapping[str, Mapping[str, Any]], run: RunFolder) -> None:
        self._run = run
        self._followers = {name: Follower(name, make(name, settings, run.path)) for name, settings in chosen.items()}
        self._has_started = False

    def __enter__(self) -> "Trackers":
        return self

    def start(self, config: Mapping[str, Any], images: NDArray[np.uint8], epochs: Sequence[Mapping[str, Any]]) -> None:
        """The training begins, or goes on after these epochs; `images` as a `Beginning` has them.

        Raises:
            DataError: the run's id could be that of something else.
        """
        run_id = self._run.summary["run_id"]
        if not isinstance(run_id, str) or not re.fullmatch(r"[0-9A-Za-z-]{1,64}", run_id):
            raise DataError(f"{self._run.path / SUMMARY}: run_id is not as cnnbench writes it; repeat the run")
        done = [numbers_of(line) for line in epochs]
        settings = {key: value for key, value in config.items() if key not in COMPUTES_NOTHING}
        beginning = Beginning(run_id, settings, dict(self._run.summary), images, done)
        self._has_started = True
        for follower in self._followers.values():
            follower.start(beginning)

    def log_epoch(self, metrics: Mapping[str, Any]) -> None:
        """An epoch is written to metrics.jsonl."""
        self._leave_failed()
        for follower in self._followers.values():
            follower.log_epoch(numbers_of(metrics))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._has_started or not self._followers:
            return
        finished = self._run.summary["status"] == "finished"
        ending = {} if error is None or finished else how_it_ended(error)
        for follower in self._followers.values():
            follower.finish(self._run.summary | ending)
        until = time.monotonic() + SECONDS_TO_FINISH
        with waiting("closing what the run is logged to"):
            slow = [name for name, each in self._followers.items() if not each.is_done_within(until - time.monotonic())]
        self._leave_failed()
        for name in slow:
            note(f"logging.{name}: still not done after {SECONDS_TO_FINISH:.0f} s; what it has not written is lost")

    def _leave_failed(self) -> None:
        for name, follower in list(self._followers.items()):
            if follower.error is not None:
                del self._followers[name]
                note(f"logging.{name}: stopped, the run goes on without it ({in_a_line(follower.error)})")


def make(name: str, settings: Mapping[str, Any], folder: Path) -> Tracker:
    """The tracker of that name for the run in `folder`.

    Raises:
        UnavailableError: its package cannot be imported.
    """
    try:
        tracker: Tracker = build(TRACKERS, "logging", {"name": name, **settings}, path=f"logging.{name}", folder=folder)
    except ImportError as error:
        raise UnavailableError(f"logging.{name}: cannot be imported ({in_a_line(error)}); reinstall it") from error
    return tracker


def in_a_line(error: BaseException) -> str:
    """The class of an error and the beginning of what it says."""
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0][:200]}".rstrip(": ")
