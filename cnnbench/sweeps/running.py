"""The jobs of a sweep, run and watched, in a folder that no other process works in."""

import os
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from signal import SIGINT
from typing import Any

from cnnbench.console import note
from cnnbench.disk import OTHER_SWEEP_FOLDER, disk_errors, make_folder, take_lock
from cnnbench.errors import Interrupted, RunInUseError
from cnnbench.runs.format import LOCK
from cnnbench.sweeps.jobs import Job, is_done
from cnnbench.sweeps.launchers import Launch, run_jobs, side_by_side_line
from cnnbench.sweeps.watch import Outlook, watching


def run_watched(
    jobs: Sequence[Job], to_do: Sequence[Job], how: Launch, *, outlook: Outlook | None = None, **ordered: Any
) -> None:
    """Runs those of the jobs of a sweep that are to do, and shows how they do. `outlook` says what is to come besides;
    `ordered` are fields of each job's Order.

    Raises:
        Interrupted: a signal stopped the sweep; it says how to go on.
    """
    if (count := how.side_by_side(len(to_do))) > 1:
        note(side_by_side_line(count))  # before something live is shown
    try:
        with watching(how.folder, jobs, to_do, how.arguments, outlook):
            run_jobs(to_do, how, **ordered)
    except KeyboardInterrupt as stop:
        total = max(outlook.total if outlook else 0, len(jobs))
        left = sum(not is_done(how.folder, job) for job in jobs) + total - len(jobs)
        number = stop.signal_number if isinstance(stop, Interrupted) else SIGINT
        again = f"cnnbench resume {shlex.quote(str(how.folder))}"
        raise Interrupted(number, f"stopped; {left} of {total} jobs are to do, go on with: {again}") from None


@contextmanager
def held_sweep(folder: Path) -> Iterator[None]:
    """Holds the folder of a sweep, which is made where it is not there.

    Raises:
        RunInUseError: another process runs a sweep there.
    """
    make_folder(folder, OTHER_SWEEP_FOLDER)
    with disk_errors(folder, OTHER_SWEEP_FOLDER):
        try:
            lock = take_lock(folder / LOCK, wait=False)
        except BlockingIOError:
            raise RunInUseError(f"{folder}: another process runs this sweep; wait or choose another folder") from None
    try:
        yield
    finally:
        os.close(lock)
