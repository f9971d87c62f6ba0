"""Writing to a disk that may be full, read-only or about to lose power."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cnnbench.errors import DiskError


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turns an OSError on `path` into a DiskError that says what the disk still has."""
    try:
        yield
    except OSError as error:
        raise DiskError(f"{path}: {error.strerror or error}{_free_space(path)}") from error


def _free_space(path: Path) -> str:
    for folder in (path, *path.parents):
        if folder.is_dir():
            stat = os.statvfs(folder)
            return f" ({stat.f_bavail * stat.f_frsize:,} bytes free); choose another folder with hydra.run.dir=PATH"
    return ""


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
