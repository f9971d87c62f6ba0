"""One job of a sweep, in a child of this process's worker: whatever happens to it, its folder says how it ended."""

import functools
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from types import FrameType
from typing import Any

from cnnbench.disk import disk_errors
from cnnbench.errors import ConfigError, DataError, DivergedError, RunInUseError
from cnnbench.runs.folder import RunFolder, record_ending
from cnnbench.runs.format import CONFIG, OUTPUT, SUMMARY
from cnnbench.runs.read import is_run, read_metrics, summary_of
from cnnbench.runs.signals import current_handlers, held, install, leave_at_the_next
from cnnbench.sweeps.marks import ask_to_stop, is_stopped, mark_done

SECONDS_BETWEEN_LOOKS = 0.2
SECONDS_TO_BEGIN = 900.0  # for who loads torch and reads the images
SECONDS_TO_SAVE = 60.0  # for who was asked to stop
SECONDS_TO_GIVE_WAY = 1.0  # between looks at a folder in which another process works
TIMED_OUT = 124  # as timeout(1) has it
AGAIN_IN_VAIN = tuple(error.exit_code for error in (ConfigError, DivergedError, DataError))
"""Exit codes of failures that another try would repeat."""


@dataclass(frozen=True)
class Order:
    """What a job is: a checked config as plain values, the folder of its run, and how it is to be run.

    Attributes:
        cwd: the folder that relative paths of the config start from.
        arguments: the command line that it is part of.
        threads: those that torch takes where the config leaves it open; None for its own number.
        timeout: the seconds after which a try is killed.
        retries: how often a job that failed is tried again.
        stops_others: whether its failure ends the sweep.
        child_of: the sweep's process, where it starts those that run the jobs: they end when it does.
        test, pause_after: as `run_experiment` has them.
    """

    config: dict[str, Any]
    path: str
    cwd: str
    arguments: list[str]
    threads: int | None = None
    timeout: float | None = None
    retries: int = 0
    stops_others: bool = False
    child_of: int | None = None
    test: bool = True
    pause_after: int | None = None


def run_order(text: str) -> None:
    """Runs the job of an order written as JSON, in whatever process a launcher does so."""
    run_isolated(Order(**json.loads(text)))


def run_isolated(order: Order) -> None:
    """Runs a job to its end, trying it again as the order allows; not at all where the sweep has been stopped."""
    if order.child_of not in (None, os.getpid()):
        end_with(order.child_of)
    path = Path(order.path)
    for _ in range(1 + order.retries):
        if is_stopping(path):
            break
        attempt(order, path)
        summary = summary_of(path)
        if summary.get("status") != "failed" or summary.get("exit_code") in AGAIN_IN_VAIN:
            break
    if has_ended(order, path):
        mark_done(path)
        if order.stops_others and summary_of(path).get("status") == "failed":
            ask_to_stop(path.parent)


def is_stopping(path: Path) -> bool:
    """Whether the run of this folder, or the whole sweep, was asked to stop."""
    return is_stopped(path) or is_stopped(path.parent)


def has_ended(order: Order, path: Path) -> bool:
    """Whether the run has come as far as it was to come: to an end of its own, or to where it was asked to stop."""
    status = summary_of(path).get("status")
    is_paused = order.pause_after is not None and len(read_metrics(path)) >= order.pause_after
    return status in ("finished", "failed") or (status == "interrupted" and (is_paused or is_stopped(path)))


def attempt(order: Order, path: Path) -> None:
    """Runs the job once, from its last checkpoint where it has one; waits for another process that is at work on it."""
    with disk_errors(path):
        path.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    while (resume := is_begun(path)) is None:
        if is_stopping(path) or (order.timeout and time.monotonic() - began > order.timeout):
            return
        time.sleep(SECONDS_TO_GIVE_WAY)
    if resume and is_complete(order, summary_of(path)):
        return
    worker = worker_of_this_process(order.threads)
    with passing_signals_on(worker):
        worker.start(asdict(order) | {"resume": resume})
        status, why = supervise(worker, order.timeout, path)
    if summary_of(path).get("status") == "interrupted" and not has_ended(order, path) and not is_stopping(path):
        wait_for_slurm()
    record_ending(path, **ending(status, why))
    with suppress(OSError):
        if not (path / OUTPUT).stat().st_size:
            (path / OUTPUT).unlink()


def is_complete(order: Order, summary: Mapping[str, Any]) -> bool:
    """Whether the run has finished, and lacks nothing that is ordered."""
    return summary.get("status") == "finished" and (not order.test or bool(summary.get("test_reads")))


def is_begun(path: Path) -> bool | None:
    """Whether there is a run to go on with; None where another process is at work on it.

    What a job left that failed before it made its run folder is taken away.
    """
    if not is_run(path):
        return False
    try:
        with RunFolder(path, resume=True):
            if not (path / CONFIG).exists():
                (path / SUMMARY).unlink()
                return False
            return True
    except RunInUseError:
        return None


@functools.cache
def end_with(parent: int) -> None:
    """Has this process end, and by that its worker and the job, once the one that started it is no more: what joblib
    would still do, or wait for, is for nobody."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(SECONDS_BETWEEN_LOOKS)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def supervise(worker: "Worker", timeout: float | None, path: Path) -> tuple[int, str]:
    """Waits for the child: how it ended, and why where it was made to."""
    ordered, asked, why = time.monotonic(), 0.0, ""
    while (status := worker.wait(SECONDS_BETWEEN_LOOKS)) is None:
        now = time.monotonic()
        if worker.began is None:
            if now - ordered > SECONDS_TO_BEGIN:
                why = f"did not begin within {SECONDS_TO_BEGIN:g} s; killed"
                worker.kill()
        elif timeout and now - worker.began > timeout:
            why = f"still at work after {timeout:g} s (sweep.job_timeout); killed"
            worker.kill()
        elif asked and now - asked > SECONDS_TO_SAVE:
            why = f"did not stop within {SECONDS_TO_SAVE:g} s when asked to; killed"
            worker.kill()
        elif not asked and is_stopping(path):
            worker.stop()
            asked = now
    return status, why


def ending(status: int, why: str) -> dict[str, Any]:
    """What the summary of a run says that a process has left without a word."""
    if why:
        return {"error": why, "exit_code": TIMED_OUT}
    if status < 0:
        number = signal.Signals(-status)
        hint = ", perhaps for want of memory" if number == signal.SIGKILL else ""
        return {"error": f"killed by {number.name} ({signal.strsignal(number)}{hint})", "exit_code": 128 + number}
    return {"error": f"its process left with exit code {status}, without a word", "exit_code": status or 1}


def wait_for_slurm() -> None:
    """After SIGTERM SLURM kills a job soon, to begin it again where it was preempted; if it returned before, what waits
    for its result would take it for done."""
    if "SLURM_JOB_ID" in os.environ:
        time.sleep(SECONDS_TO_SAVE)


@contextmanager
def passing_signals_on(worker: "Worker") -> Iterator[None]:
    """Has a signal that stops this process stop its job first, and waits for it; then does what the signal would have
    done. A second one does so at once."""
    before = current_handlers()

    def pass_on(number: int, frame: FrameType | None) -> None:
        leave_at_the_next()
        worker.stop()
        deadline = time.monotonic() + SECONDS_TO_SAVE
        while worker.wait(SECONDS_BETWEEN_LOOKS) is None and time.monotonic() < deadline:
            pass
        install(before)
        handler = before[number]
        if callable(handler):
            handler(number, frame)
        else:
            signal.raise_signal(number)

    install(dict.fromkeys(before, pass_on))
    try:
        yield
    finally:
        install(before)


class Worker:
    """A process of `cnnbench.sweeps.worker`, made when it is first needed and again where it has died."""

    def __init__(self, threads: int | None) -> None:
        self._threads = threads
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None
        self._status: int | None = None
        self.began: float | None = None  # by time.monotonic

    def begin(self) -> None:
        """Has the process load what jobs need, where there is none."""
        if self._process is None or self._process.poll() is not None:
            ours, theirs = socket.socketpair()
            with theirs:
                command = [sys.executable, "-m", "cnnbench.sweeps.worker"]
                self._process = subprocess.Popen(command, stdin=theirs.fileno(), env=environment(self._threads))
            self._connection = Connection(ours.detach())

    def start(self, order: dict[str, Any]) -> None:
        """Begins a job; the one before has ended."""
        self.begin()
        self._status = self.began = None
        self._send({"run": order, "variables": dict(os.environ)})

    def wait(self, seconds: float) -> int | None:
        """How the job ended, as `os.waitstatus_to_exitcode` has it; None where it has not within so many seconds."""
        assert self._connection
        assert self._process
        with held():  # or a signal would come between the answer and its note
            if self._status is None:
                try:
                    if self._connection.poll(seconds):
                        self._status = json.loads(self._connection.recv_bytes())["status"]
                        self.began = self.began or time.monotonic()
                except (EOFError, ConnectionError):  # the worker itself has ended
                    self._status = self._process.wait()
                    self._connection.close()
        return self._status

    def stop(self) -> None:
        """Asks the job to save and leave."""
        self._send({"stop": True})

    def kill(self) -> None:
        """Ends the job at once, or the whole process where that has not begun it."""
        if self.began is None and self._process is not None:
            self._process.kill()
        self._send({"kill": True})

    def _send(self, message: dict[str, Any]) -> None:
        assert self._connection
        with suppress(OSError):  # a worker that has ended; `wait` tells
            self._connection.send_bytes(json.dumps(message).encode())


@functools.cache
def worker_of_this_process(threads: int | None) -> Worker:
    """The worker whose jobs take so many threads: one for all jobs that a launcher gives to this process."""
    return Worker(threads)


def environment(threads: int | None) -> dict[str, str]:
    """The variables of a worker: from the number of threads follows what torch takes."""
    count = threads or os.environ.get("OMP_NUM_THREADS") or os.environ.get("SLURM_CPUS_PER_TASK")
    return os.environ | ({"OMP_NUM_THREADS": str(count)} if count else {})
