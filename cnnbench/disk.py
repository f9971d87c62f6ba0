"""Files on a disk that may be full, read-only or about to lose power, and that others have filled."""

import errno
import fcntl
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from cnnbench.console import note
from cnnbench.errors import ConfigError, DiskError

OTHER_RUN_FOLDER = "choose another folder with hydra.run.dir=PATH"
OTHER_SWEEP_FOLDER = "choose another folder with hydra.sweep.dir=PATH"
NO_LOCKS = (errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.ENOLCK, errno.EINVAL)


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
            disk = os.statvfs(folder)
            return f" ({disk.f_bavail * disk.f_frsize:,} bytes free)"
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


def make_folder(folder: Path, cure: str = OTHER_RUN_FOLDER) -> None:
    """Makes `folder` and those above it, where they are not there.

    Raises:
        DiskError: it cannot be made.
    """
    with disk_errors(folder, cure):
        folder.mkdir(parents=True, exist_ok=True)


def take_lock(file: Path, *, wait: bool) -> int:
    """A descriptor that holds the lock on `file` until it is closed, by this process or by its end.

    On a file system that has no locks, as some on a network, it holds none, which is said in a note.

    Raises:
        BlockingIOError: another process holds it, and `wait` is false.
        OSError: the file cannot be made, or is a link.
    """
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError as error:
        if error.errno not in NO_LOCKS:
            os.close(descriptor)
            raise
        note(f"{file.parent}: has no locks ({error.strerror}); see to it that no second process works in this folder")
    return descriptor


def is_locked(file: Path) -> bool | None:
    """Whether a process holds the lock on `file`; None where the file system has no locks, or it cannot be opened.

    Nothing is written, and who looks at the same time sees no lock of ours.
    """
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return False
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return None
    finally:
        os.close(descriptor)
    return False


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


class NoRegularFile(ValueError):
    """A pipe, a device or a folder where a file should be."""

    def __init__(self) -> None:
        super().__init__("is no regular file")


def open_regular(path: str | os.PathLike[str]) -> BinaryIO:
    """A file opened for reading, and nothing else: a pipe or a terminal would be waited for, without an end.

    Raises:
        OSError: it cannot be opened.
        NoRegularFile: it is none.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # else a pipe waits for its writer here
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise NoRegularFile
    return os.fdopen(descriptor, "rb")


def read_regular(path: str | os.PathLike[str]) -> bytes:
    """What a regular file holds.

    Raises:
        OSError, NoRegularFile: as `open_regular`.
    """
    with open_regular(path) as file:
        return file.read()


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
    """The folder `root`; where it is null `$XDG_CACHE_HOME/cnnbench`, else `~/.cache/cnnbench`.

    Who has no home folder, as in some containers, has the cache in the folder of temporary files.

    Raises:
        ConfigError: `root` is in a home folder, and there is none.
    """
    if root is not None:
        return expand_home(root)
    if cache := os.environ.get("XDG_CACHE_HOME"):
        return Path(cache) / "cnnbench"
    try:
        return Path.home() / ".cache" / "cnnbench"
    except RuntimeError:
        return Path(tempfile.gettempdir()) / f"cnnbench-{os.getuid()}"


def expand_home(root: str) -> Path:
    """`root` with the home folder in the place of `~`.

    Raises:
        ConfigError: there is no such home folder.
    """
    try:
        return Path(root).expanduser()
    except RuntimeError:
        raise ConfigError(f"data.root={root}: there is no such home folder; give the path without ~") from None
