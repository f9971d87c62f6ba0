"""Writing to a disk that may be full, read-only or about to lose power."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cnnbench.errors import DiskError

OTHER_RUN_FOLDER = "choose another folder with hydra.run.dir=PATH"


@contextmanager
def disk_errors(path: Path, cure: str = OTHER_RUN_FOLDER) -> Iterator[None]:
    """Turns an OSError on `path` into a DiskError that says what the disk still has, and the cure."""
    try:
        yield
    except OSError as error:
        raise DiskError(f"{path}: {error.strerror or error}{_free_space(path)}; {cure}") from error


def _free_space(path: Path) -> str:
    for folder in (path, *path.parents):
        if folder.is_dir():
            stat = os.statvfs(folder)
            return f" ({stat.f_bavail * stat.f_frsize:,} bytes free)"
    return ""


def require_room(folder: Path, needed: int) -> None:
    """Looks whether the disk of `folder` has room for so many bytes, before hours are spent on what cannot be written.

    Raises:
        DiskError: it has not.
    """
    with disk_errors(folder):
        stat = os.statvfs(folder)
    free = stat.f_bavail * stat.f_frsize
    if stat.f_blocks and free < needed:  # some network file systems tell nothing
        raise DiskError(f"{folder}: needs about {needed:,} bytes, {free:,} are free; {OTHER_RUN_FOLDER}")


def make_folder(folder: Path) -> None:
    """Makes `folder` and those above it, where they are not there.

    Raises:
        DiskError: it cannot be made.
    """
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)


def take_lock(file: Path, *, wait: bool) -> int:
    """A descriptor that holds the lock on `file` until it is closed, by this process or by its end.

    Raises:
        BlockingIOError: another process holds it, and `wait` is false.
        OSError: the file cannot be made, or is a link.
    """
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


@contextmanager
def locked(file: Path, cure: str) -> Iterator[None]:
    """Holds the lock on `file`, waiting while another process does.

    Raises:
        DiskError: the file cannot be made.
    """
    with disk_errors(file, cure):
        descriptor = take_lock(file, wait=True)
    try:
        yield
    finally:
        os.close(descriptor)


def write_atomically(path: Path, content: bytes) -> None:
    """Replaces `path` by `content`, so that after a crash either the old or the new file is there, whole.

    Raises:
        DiskError: the old file is then untouched.
    """
    aside = path.with_name(f".tmp-{path.name}-{os.getpid()}")
    with disk_errors(path):
        try:
            aside.unlink(missing_ok=True)
            descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(aside, path)
            _sync_folder(path.parent)
        finally:
            aside.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def data_root(root: str | None) -> Path:
    """The folder `root`; where it is null `$XDG_CACHE_HOME/cnnbench`, else `~/.cache/cnnbench`."""
    if root is not None:
        return Path(root).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cnnbench"
