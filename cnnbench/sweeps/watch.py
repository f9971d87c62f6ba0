"""What a sweep shows while it runs, whatever launcher runs it: a line for each job that has ended, and those at work.

The jobs themselves print nothing; what they would have said is in their train.log. Their folders are looked at once a
second, for a launcher's processes may be anywhere; what is seen is written to sweep.json.
"""

import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cnnbench.analysis.wording import plural
from cnnbench.console import say
from cnnbench.errors import DataError, DiskError
from cnnbench.progress import Wait, waiting
from cnnbench.runs.read import read_metrics, summary_of
from cnnbench.runs.sweep_record import SweepRecord, write_record
from cnnbench.sweeps.jobs import Job, record_of
from cnnbench.sweeps.marks import is_pending

SECONDS_BETWEEN_LOOKS = 1.0
MOST_LINES = 8  # of jobs at work


@dataclass(frozen=True)
class Outlook:
    """What is known of the jobs to come: how many there will be in all, how many were done when this began, and when by
    time.monotonic that was."""

    total: int
    done: int
    began: float


@contextmanager
def watching(
    folder: Path, jobs: Sequence[Job], to_do: Sequence[Job], arguments: Sequence[str], outlook: Outlook | None = None
) -> Iterator[None]:
    """Shows how those of the `jobs` that are `to_do` run and end, as long as it lasts, and keeps sweep.json."""
    done = len(jobs) - len(to_do)
    outlook = outlook or Outlook(len(jobs), done, time.monotonic())
    first = done == outlook.done  # of several rounds, of which the lines of the jobs say enough
    with waiting(plural(len(to_do), "job"), outlook.total, done, clock=False, long=True, line=first) as wait:
        watcher = _Watcher(folder, jobs, to_do, arguments, wait, outlook)
        thread = threading.Thread(target=watcher.watch, daemon=True)
        thread.start()
        try:
            yield
        finally:
            watcher.stopped.set()
            thread.join()
            watcher.look()  # what has ended since
            watcher.close()


class _Watcher:
    def __init__(
        self,
        folder: Path,
        jobs: Sequence[Job],
        to_do: Sequence[Job],
        arguments: Sequence[str],
        wait: Wait,
        outlook: Outlook,
    ) -> None:
        self.folder = folder
        self.jobs = {job.folder: record_of(folder, job) for job in jobs}
        self.pending = {job.folder: job for job in to_do}
        self.arguments = list(arguments)
        self.wait = wait
        self.outlook = outlook
        self.stopped = threading.Event()
        done = [job for job in jobs if job.folder not in self.pending]
        ranked = [(rank(summary_of(folder / job.folder)), job.varying) for job in done]
        self.best = max(ranked, default=(-1.0, ""))
        self._lines: dict[str, tuple[ExitStack, Wait]] = {}
        self._counts = Counter(finished=len(jobs) - len(to_do))
        self._write()

    def watch(self) -> None:
        while not self.stopped.wait(SECONDS_BETWEEN_LOOKS):
            self.look()

    def look(self) -> None:
        """Says of each job that has ended meanwhile how it did; shows the others that have begun."""
        before = dict(self.jobs)
        at_work: dict[str, dict[str, Any]] = {}
        for name, job in list(self.pending.items()):
            path = self.folder / name
            summary = summary_of(path)
            if not summary:
                continue
            if is_pending(path):
                if summary["status"] == "running":
                    at_work[name] = summary
                    self.jobs[name] = record_of(self.folder, job)
                continue
            del self.pending[name]
            self.jobs[name] = record_of(self.folder, job)
            self._tell(job, summary)
        self._show(at_work)
        if self.jobs != before:
            self._write()

    def close(self) -> None:
        """Takes away the lines of the jobs at work, and notes how those stand that did not end."""
        for stack, _ in self._lines.values():
            stack.close()
        self.jobs |= {name: record_of(self.folder, job) for name, job in self.pending.items()}
        self._write()

    def _tell(self, job: Job, summary: Mapping[str, Any]) -> None:
        self._counts[summary["status"]] += 1
        self.wait.advance()
        self.best = max(self.best, (rank(summary), job.varying))
        total = self.outlook.total
        position = f"{len(self.jobs) - len(self.pending):>{len(str(total))}} of {total}"
        parts = job_parts(job.varying, summary)
        if summary["status"] == "interrupted":
            parts = [job.varying, f"stopped after {progress_of(self.folder / job.folder)[1]}"]
        say("  ".join([position, *parts, *self._time_left()]))

    def _show(self, at_work: Mapping[str, Mapping[str, Any]]) -> None:
        counts = [f"{count} {status}" for status, count in (self._counts | Counter(running=len(at_work))).items()]
        best = [f"best {100 * self.best[0]:.2f} % {self.best[1]}"] if self.best[0] >= 0 else []
        self.wait.show(", ".join(counts), "  ".join([*best, *self._time_left()]))
        if not self.wait.live:
            return
        for name in [name for name in self._lines if name not in at_work]:
            self._lines.pop(name)[0].close()
        for name in list(at_work)[:MOST_LINES]:
            epochs = self.pending[name].config.epochs
            if name not in self._lines:
                stack = ExitStack()
                self._lines[name] = stack, stack.enter_context(waiting("", epochs, clock=False, long=True))
            done, beside = progress_of(self.folder / name)
            self._lines[name][1].reach(done)
            self._lines[name][1].show(f"  {self.pending[name].varying}", beside)

    def _time_left(self) -> list[str]:
        ended = len(self.jobs) - len(self.pending)
        ours, left = ended - self.outlook.done, self.outlook.total - ended
        if ours < 1 or left < 1:
            return []
        return [f"about {spell_seconds((time.monotonic() - self.outlook.began) / ours * left)} left"]

    def _write(self) -> None:
        with suppress(DiskError):  # the runs are the truth, and who fills the disk says so
            write_record(self.folder, SweepRecord(self.arguments, list(self.jobs.values())))


def progress_of(path: Path) -> tuple[int, str]:
    """How many epochs a run at work has behind it, and in words how it does."""
    try:
        lines = read_metrics(path)
    except DataError:
        return 0, ""
    if not lines:
        return 0, ""
    value = lines[-1].get("val_accuracy")
    return len(lines), f"epoch {len(lines)}" + (f"  val {100 * value:.2f} %" if isinstance(value, float) else "")


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


def rank(summary: Mapping[str, Any]) -> float:
    """By which jobs are listed: test accuracy, else the best on the validation images; -1 without one."""
    values = (summary.get("test_accuracy"), summary.get("best_val_accuracy"))
    return next((value for value in values if isinstance(value, float)), -1.0)
