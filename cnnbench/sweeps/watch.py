"""What a sweep shows: a line for each job that has ended, whatever launcher runs it, and a table of all at the end.

The jobs themselves print nothing; what they would have said is in their train.log. The sweep's folder is looked at once
a second, for a launcher's processes may be anywhere.
"""

import shlex
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cnnbench.console import say, say_exactly, show_table
from cnnbench.errors import DataError
from cnnbench.progress import Wait, waiting
from cnnbench.runs.read import is_run, read_summary

SECONDS_BETWEEN_LOOKS = 1.0
ENDED = ("finished", "failed", "interrupted")
MOST_ROWS = 40


@contextmanager
def watching(folder: Path, jobs: Mapping[str, str]) -> Iterator[None]:
    """Shows how the jobs in `folder` end, as long as it lasts.

    `jobs` has what varies in each, by the pattern of its run folder's name.
    """
    with waiting(f"running {len(jobs)} jobs in {folder}", len(jobs), clock=False, long=True) as wait:
        watcher = _Watcher(folder, jobs, wait)
        thread = threading.Thread(target=watcher.watch, daemon=True)
        thread.start()
        try:
            yield
        finally:
            watcher.stopped.set()
            thread.join()
            watcher.look()  # what has ended since


class _Watcher:
    def __init__(self, folder: Path, jobs: Mapping[str, str], wait: Wait) -> None:
        self.folder = folder
        self.pending = dict(jobs)
        self.total = len(jobs)
        self.wait = wait
        self.stopped = threading.Event()
        self._started = time.monotonic()

    def watch(self) -> None:
        while not self.stopped.wait(SECONDS_BETWEEN_LOOKS):
            self.look()

    def look(self) -> None:
        """Says of each job that has ended meanwhile how it did; of the others that have begun, which they are."""
        begun = {pattern: summary for pattern in self.pending if (summary := self._summary(pattern))}
        ended = [pattern for pattern, summary in begun.items() if summary["status"] in ENDED]
        for pattern in ended:
            varying = self.pending.pop(pattern)
            self.wait.advance()
            left = self._time_left() if pattern == ended[-1] else []
            say("  ".join([self._position(), *job_parts(varying, begun[pattern]), *left]))
        running = [self.pending[pattern] for pattern in begun if pattern not in ended]
        if running:
            others = f" and {len(running) - 1} more" if len(running) > 1 else ""
            self.wait.show(f"{self._position()}: {running[0]}{others}", " ".join(self._time_left()))

    def _summary(self, pattern: str) -> dict[str, Any] | None:
        for path in self.folder.glob(pattern):
            try:
                return read_summary(path)
            except DataError:  # it has not begun to write it
                return None
        return None

    def _position(self) -> str:
        return f"{self.total - len(self.pending):>{len(str(self.total))}} of {self.total}"

    def _time_left(self) -> list[str]:
        done = self.total - len(self.pending)
        if not done or not self.pending:
            return []
        return [f"about {spell_seconds((time.monotonic() - self._started) / done * len(self.pending))} left"]


def job_parts(varying: str, summary: Mapping[str, Any]) -> list[str]:
    """What varies in a job and how it ended, in words."""
    if summary["status"] != "finished":
        why = "; ".join(str(summary.get("error") or "").splitlines())
        return [varying, f"{summary['status']}: {why}" if why else str(summary["status"])]
    shown = [f"{name} {value}" for name, value in accuracies(summary)]
    return [varying, *shown, spell_seconds(summary["total_seconds"])]


def accuracies(summary: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Those that the run has."""
    for name, key in (("test", "test_accuracy"), ("val", "best_val_accuracy")):
        if isinstance(summary.get(key), float):
            yield name, f"{100 * summary[key]:.2f} %"


def spell_seconds(seconds: float) -> str:
    """`8.4 s`, `42 s`, `3:05 min`, `2:10 h`."""
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    whole, unit = (int(seconds), "min") if seconds < 3600 else (int(seconds) // 60, "h")
    return f"{whole // 60}:{whole % 60:02d} {unit}"


def show_sweep(folder: Path, jobs: Mapping[str, str]) -> None:
    """A table of all jobs, the best first, and the command that compares them."""
    found = [(varying, read_summary(path)) for pattern, varying in jobs.items() for path in _runs(folder, pattern)]
    found.sort(key=lambda job: -rank(job[1]))
    rows = [row(varying, summary) for varying, summary in found[:MOST_ROWS]]
    say()
    show_table(("job", "test accuracy", "validation accuracy", "seconds", "status"), rows)
    if len(found) > MOST_ROWS:
        say(f"and {len(found) - MOST_ROWS} more")
    say(f"\n`cnnbench compare {shlex.quote(str(folder))}` says what made a difference")
    say_exactly(f"sweep: {folder}")


def _runs(folder: Path, pattern: str) -> Sequence[Path]:
    return [path for path in folder.glob(pattern) if is_run(path)]


def rank(summary: Mapping[str, Any]) -> float:
    """By which jobs are listed: test accuracy, else the best on the validation images; those without come last."""
    values = (summary.get("test_accuracy"), summary.get("best_val_accuracy"))
    return next((value for value in values if isinstance(value, float)), -1.0)


def row(varying: str, summary: Mapping[str, Any]) -> tuple[str, ...]:
    """A line of the table."""
    known = dict(accuracies(summary))
    seconds = summary.get("total_seconds")
    shown = f"{seconds:,.1f}" if isinstance(seconds, int | float) else ""
    return varying, known.get("test", ""), known.get("val", ""), shown, str(summary["status"])
