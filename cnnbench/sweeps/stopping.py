"""A signal to a sweep's own process: the jobs save first, wherever they run."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from signal import raise_signal
from types import FrameType

from cnnbench.analysis.wording import plural
from cnnbench.console import note
from cnnbench.disk import is_locked
from cnnbench.runs.format import LOCK
from cnnbench.runs.signals import current_handlers, install, leave_at_the_next
from cnnbench.sweeps.isolation import SECONDS_TO_SAVE
from cnnbench.sweeps.marks import ask_to_stop

SECONDS_BETWEEN_LOOKS = 0.2


@contextmanager
def stopping_jobs_first(folder: Path, runs: Sequence[Path]) -> Iterator[None]:
    """Has a signal ask the `runs` of a sweep to save and leave, wait for those at work, and then do what it would have
    done. A second one does so at once."""
    before = current_handlers()

    def stop(number: int, frame: FrameType | None) -> None:
        leave_at_the_next()
        ask_to_stop(folder)
        wait_for(runs)
        install(before)
        handler = before[number]
        if callable(handler):
            handler(number, frame)
        else:
            raise_signal(number)

    install(dict.fromkeys(before, stop))
    try:
        yield
    finally:
        install(before)


def wait_for(runs: Sequence[Path]) -> None:
    """Until no process is at work on any of the runs, or has had the time to save."""
    deadline, is_said = time.monotonic() + SECONDS_TO_SAVE, False
    while (at_work := [run for run in runs if is_locked(run / LOCK)]) and time.monotonic() < deadline:
        if not is_said:
            note(f"stopping as soon as {plural(len(at_work), 'job')} saved; once more Ctrl-C kills at once")
            is_said = True
        time.sleep(SECONDS_BETWEEN_LOOKS)
