"""Fetching the files of a public data set: verified, atomic, once."""

import contextlib
import hashlib
import os
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import IO, Any

from cnnbench.disk import disk_errors, locked
from cnnbench.errors import DataError
from cnnbench.progress import waiting

TIMEOUT_SECONDS = 30
CHUNK_BYTES = 1 << 20
CURE = "free some space, or choose another data.root"


@dataclass(frozen=True)
class Remote:
    """A file on the web, with the size and the SHA-256 it must have."""

    url: str
    bytes: int
    sha256: str

    @property
    def name(self) -> str:
        return self.url.rsplit("/", 1)[-1]


def obtain(remote: Remote, folder: Path, download: bool) -> Path:
    """The path of `remote` in `folder`, downloaded if it is not there and `download` allows it.

    Of two processes that want the same file, one downloads while the other waits. A file that is there is
    taken as it is.

    Raises:
        DataError: it is not there and may not or cannot be fetched, or what came is not the expected file.
        DiskError: it cannot be written.
    """
    target = folder / remote.name
    if target.exists():
        return target
    if not download:
        raise DataError(
            f"{target}: not there; set data.download=true, or fetch {remote.url} and put it there, "
            "or point data.root at the folder that has it"
        )
    with disk_errors(target, CURE):
        folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / ".cnnbench.lock", CURE):
        if not target.exists():
            _download(remote, target)
    return target


def _download(remote: Remote, target: Path) -> None:
    """Writes `remote` to a temporary beside `target`, verifies it and renames it. Call it under the lock."""
    temporary = target.with_name(f".{remote.name}.part")  # one name: under the lock, an old one is just rest
    flags = os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_NOFOLLOW
    try:
        with disk_errors(target, CURE), os.fdopen(os.open(temporary, flags, 0o666), "wb") as file:
            _copy(remote, target, file)
            file.flush()
            os.fsync(file.fileno())
        with disk_errors(target, CURE):
            temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def _copy(remote: Remote, target: Path, file: IO[bytes]) -> None:
    """Streams `remote` into `file`; DataError where it is not the expected bytes."""
    digest, received = hashlib.sha256(), 0
    with _fetching(remote, target):
        response = open_url(remote.url)
    with contextlib.closing(response), waiting(f"downloading {remote.name}", remote.bytes) as wait:
        while chunk := _next_chunk(response, remote, target):
            received += len(chunk)
            if received > remote.bytes:
                break
            digest.update(chunk)
            wait.advance(len(chunk))
            file.write(chunk)
    if received != remote.bytes:
        relation = "more than" if received > remote.bytes else f"{received} of"
        raise DataError(f"{remote.url}: sent {relation} the expected {remote.bytes} bytes; nothing was kept, try again")
    if digest.hexdigest() != remote.sha256:
        raise DataError(
            f"{remote.url}: sha256 is {digest.hexdigest()}, expected {remote.sha256}; nothing was kept: "
            f"fetch the file elsewhere and put it at {target}"
        )


def _next_chunk(response: Any, remote: Remote, target: Path) -> bytes:
    with _fetching(remote, target):
        return response.read(CHUNK_BYTES)


@contextlib.contextmanager
def _fetching(remote: Remote, target: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, HTTPException) as error:  # URLError, timeouts and TLS failures are OSErrors
        reason = getattr(error, "reason", None) or error
        raise DataError(
            f"{remote.url}: cannot be fetched ({reason}); fetch it on another machine and put it at {target}"
        ) from error


class _HttpsOnly(urllib.request.HTTPRedirectHandler):
    """Follows redirects to https and refuses all others."""

    def redirect_request(self, req: Any, fp: Any, code: Any, msg: Any, headers: Any, newurl: str) -> Any:
        if not newurl.startswith("https://"):
            raise urllib.error.URLError(f"redirected to {newurl}, which is not https")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _open(url: str) -> IO[bytes]:
    if not url.startswith("https://"):
        raise urllib.error.URLError("only https is allowed")
    request = urllib.request.Request(url, headers={"User-Agent": "cnnbench"})
    return urllib.request.build_opener(_HttpsOnly).open(request, timeout=TIMEOUT_SECONDS)


open_url: Callable[[str], IO[bytes]] = _open
"""Opens an https address; the tests put a local file in its place."""
