"""Files by which the processes of a sweep, wherever they run, tell one another: they share nothing but its folder."""

from contextlib import suppress
from pathlib import Path

from cnnbench.disk import disk_errors

PENDING = ".job"  # in the folder of a job that is still to be run; who has run it to its end takes it away
STOP = ".stop"  # in the folder of a sweep: no job begins, those at work save and leave; in that of a run: this one


def mark_pending(path: Path) -> None:
    """Has the job of this folder wait for who runs it; makes the folder."""
    with disk_errors(path):
        path.mkdir(exist_ok=True)
        (path / STOP).unlink(missing_ok=True)
        (path / PENDING).touch()


def is_pending(path: Path) -> bool:
    """Whether nobody has run the job to its end."""
    return (path / PENDING).exists()


def mark_done(path: Path) -> None:
    """Notes that the job was run, whatever came of it."""
    with suppress(OSError):  # on a full disk it may stay: the job is looked at again, and is done
        (path / PENDING).unlink(missing_ok=True)


def ask_to_stop(folder: Path) -> None:
    """Has the run of this folder, or all of a sweep's, save and leave."""
    with disk_errors(folder):
        (folder / STOP).touch()


def withdraw_stop(folder: Path) -> None:
    """Lets the runs of a sweep begin again."""
    with disk_errors(folder):
        (folder / STOP).unlink(missing_ok=True)


def is_stopped(folder: Path) -> bool:
    """Whether it was asked to."""
    return (folder / STOP).exists()
