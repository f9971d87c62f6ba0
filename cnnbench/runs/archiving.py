"""Run folders moved elsewhere or deleted: only what is sure to be a run, and none in which a process works."""

import os
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from cnnbench.disk import disk_errors, is_locked, make_folder, take_lock
from cnnbench.errors import ConfigError, DataError, DiskError, RunInUseError
from cnnbench.runs.format import ENVIRONMENT, LOCK, METRICS, SUMMARY
from cnnbench.runs.read import is_run, read_summary

BUSY = "a process works in this run; wait, or stop it"


def plan_moves(runs: Mapping[Path, Path], folder: Path) -> dict[Path, Path]:
    """Where each run is moved: to its relative path, which `runs` has, in `folder`. Those that lie there stay.

    Raises:
        ConfigError, DataError, RunInUseError: with one line for each run that cannot be moved.
    """
    if (inside := next((above for above in (folder, *folder.absolute().parents) if is_run(above)), None)) is not None:
        raise ConfigError(f"--archive {folder}: lies in the run {inside}; name another folder")
    place = folder.resolve()
    moves = {run: folder / below for run, below in runs.items() if not run.resolve().is_relative_to(place)}
    times = Counter(moves.values())
    findings = list(refusals(moves))
    for run, target in moves.items():
        if os.path.lexists(target):
            findings.append(f"{run}: {target} is there already; name another folder, or move that away")
        elif times[target] > 1:
            findings.append(f"{run}: another run would become {target} too; move them one after the other")
        elif run.stat().st_dev != _device(folder):
            findings.append(f"{run}: lies on another file system than {folder}; name a folder on the same one")
    _raise(findings)
    return moves


def _device(folder: Path) -> int:
    return next(above.stat().st_dev for above in (folder, *folder.absolute().parents) if above.exists())


def refuse_deleting(runs: Iterable[Path]) -> None:
    """Looks whether these runs can be deleted.

    Raises:
        DataError, RunInUseError: with one line for each that cannot.
    """
    runs = list(runs)
    inner = [(run, found) for run in runs if (found := _run_within(run)) is not None]
    _raise([*refusals(runs), *(f"{run}: holds the run {found} too; move that away first" for run, found in inner)])


def refusals(runs: Iterable[Path]) -> Iterator[str]:
    """One line for each folder that must not be touched: a link, perhaps no run, or one in which a process works."""
    for run in runs:
        if run.is_symlink():
            yield f"{run}: is a link; give the folder that it leads to"
        elif not _is_ours(run):
            yield f"{run}: may be no run, for it has no {LOCK} and no readable {SUMMARY}; see to it by hand"
        elif is_locked(run / LOCK):
            yield f"{run}: {BUSY}"


def _is_ours(run: Path) -> bool:
    if (run / LOCK).is_file():
        return True
    try:
        return bool(read_summary(run))
    except DataError:
        return False


def _run_within(run: Path) -> str | None:
    for folder, _, files in os.walk(run):
        if Path(folder) != run and {SUMMARY, METRICS, ENVIRONMENT} & set(files):
            return folder
    return None


def _raise(findings: list[str]) -> None:
    if findings:
        raise (RunInUseError if all(BUSY in finding for finding in findings) else DataError)(*findings)


def size_of(run: Path) -> int:
    """The bytes of the files in a run folder."""
    return sum(
        (Path(folder) / name).lstat().st_size for folder, _, files in os.walk(run) for name in files
    )  # fmt: skip


def move_run(run: Path, target: Path) -> None:
    """Moves a run to its new place, on the same file system.

    Raises:
        RunInUseError: a process has begun to work in it.
        DiskError: it cannot be moved, or something has appeared at the new place.
    """
    with _held(run):
        make_folder(target.parent)
        if os.path.lexists(target):
            raise DiskError(f"{run}: {target} is there already; name another folder, or move that away")
        with disk_errors(target, "name another folder"):
            os.rename(run.resolve(), target)


def delete_run(run: Path) -> None:
    """Deletes a run folder; a link within it is deleted, not what it leads to.

    Raises:
        RunInUseError: a process has begun to work in it.
        DiskError: not all of it can be deleted.
    """
    with _held(run), disk_errors(run, "see who may write there"):
        shutil.rmtree(run.resolve())


@contextmanager
def _held(run: Path) -> Iterator[None]:
    """Holds the lock of a run, so that nobody goes on with it meanwhile."""
    with disk_errors(run, "see who may write there"):
        try:
            lock = take_lock(run / LOCK, wait=False)
        except BlockingIOError:
            raise RunInUseError(f"{run}: {BUSY}") from None
    try:
        yield
    finally:
        os.close(lock)
