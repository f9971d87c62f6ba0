"""A run folder held for writing."""

import errno
import hashlib
import json
import os
import signal
import traceback
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from shlex import quote
from types import TracebackType
from typing import Any

import yaml

from cnnbench.disk import disk_errors, read_regular, take_lock, write_atomically
from cnnbench.errors import CnnbenchError, DataError, DiskError, Interrupted, RunInUseError
from cnnbench.runs.format import (
    CHECKPOINTS,
    CONFIG,
    CRASH_LOG,
    ENVIRONMENT,
    HASHED,
    LOCK,
    LOG,
    MANIFEST,
    METRICS,
    SUMMARY,
    _finite,
    summary_sha256,
    to_json,
    unknown_run,
)
from cnnbench.runs.identity import config_hash, group_hash
from cnnbench.runs.read import is_run, read_summary
from cnnbench.runs.signals import held
from cnnbench.runs.teacher import with_teacher


class RunFolder:
    """A run folder held for writing by this process; use as a context manager.

    Leaving it by an exception records how the run ended: a CnnbenchError with its exit code, anything else
    with 1 and a traceback in crash.log. An interruption leaves it with the command that goes on.
    """

    def __init__(self, path: Path, *, resume: bool = False) -> None:
        self.path = path
        self.summary: dict[str, Any] = {}
        with disk_errors(path):
            path.mkdir(parents=True, exist_ok=True)
            try:
                self._lock = take_lock(path / LOCK, wait=False)
            except BlockingIOError:
                raise RunInUseError(
                    f"{path}: another process is working in this run folder; wait or choose another"
                ) from None
        try:
            if resume:
                self.summary = unknown_run() | read_summary(path)
            elif any((path / name).exists() for name in (SUMMARY, METRICS, CHECKPOINTS)):
                raise DataError(
                    f"{path}: holds a run already; continue it with `cnnbench resume {quote(str(path))}` "
                    "or choose another"
                )
            self._drop_leftovers()
        except CnnbenchError:
            os.close(self._lock)
            raise

    def _drop_leftovers(self) -> None:
        """Deletes what a killed process was about to write; this one holds the lock."""
        with disk_errors(self.path):
            for path in self.path.glob(".tmp-*"):
                if not path.is_dir():
                    path.unlink()

    @property
    def checkpoints(self) -> Path:
        """The folder of the checkpoints; made when first asked for."""
        folder = self.path / CHECKPOINTS
        with disk_errors(folder):
            folder.mkdir(exist_ok=True)
        return folder

    def __enter__(self) -> "RunFolder":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        stop = self._stop(error) if isinstance(error, KeyboardInterrupt) else None
        try:
            if error is not None:
                with held(), suppress(DiskError):  # what ended the run is worth more than where it cannot be noted
                    self._record_ending(stop or error)
        finally:
            os.close(self._lock)
        if stop is not None:
            raise stop from None

    def _stop(self, error: KeyboardInterrupt) -> Interrupted:
        """The interruption, saying what has become of the run."""
        number = error.signal_number if isinstance(error, Interrupted) else signal.SIGINT
        if not self.summary:
            return Interrupted(number, f"stopped; nothing has begun in {self.path}")
        if self.summary["status"] == "finished":
            return Interrupted(number, f"stopped; the run in {self.path} is finished")
        saved = " and saved" if (self.path / CHECKPOINTS / MANIFEST).exists() else ""
        return Interrupted(number, f"stopped{saved}; go on with: cnnbench resume {quote(str(self.path))}")

    def _record_ending(self, error: BaseException) -> None:
        if isinstance(error, Interrupted) and not self.summary:
            return  # the folder is as it was, and can be given again
        if self.summary.get("status") == "finished":
            self.update_summary()  # once more: it may have been cut off while it was written
            return
        ending = how_it_ended(error)
        self.log(f"error: {ending['error']}")
        if not isinstance(error, CnnbenchError | Interrupted):
            trace = "".join(traceback.format_exception(error))
            write_atomically(self.path / CRASH_LOG, trace.encode("utf-8", "backslashreplace"))
        if not self.summary:  # it ended before `start`
            self.summary = unknown_run()
        self.update_summary(**ending)

    def start(self, config: Mapping[str, Any], environment: Mapping[str, Any], **summary: Any) -> None:
        """Writes config.yaml, environment.json and a first summary.json with the status "running"."""
        text = yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True)
        write_atomically(self.path / CONFIG, text.encode())
        self.write_environment(environment)
        hashes = {
            "config_hash": config_hash(config),
            "group_hash": group_hash(with_teacher(config, summary)),
            "seed": config["seed"],
        }
        self.summary = unknown_run() | hashes
        self.update_summary(status="running", **summary)

    def write_environment(self, environment: Mapping[str, Any]) -> None:
        """Replaces environment.json."""
        write_atomically(self.path / ENVIRONMENT, (json.dumps(_finite(environment), indent=2) + "\n").encode())

    def update_summary(self, **values: Any) -> None:
        """Sets keys of summary.json and replaces the file."""
        self.summary |= values
        self.summary["files"] = (self.summary["files"] or {}) | {SUMMARY: summary_sha256(self.summary)}
        text = json.dumps(_finite(self.summary), indent=2, allow_nan=False) + "\n"
        write_atomically(self.path / SUMMARY, text.encode())

    def log(self, line: str) -> None:
        """Appends a line with its time (UTC) to train.log."""
        stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        self._append(self.path / LOG, f"{stamp} {line}\n".encode("utf-8", "backslashreplace"))

    def append_metrics(self, line: Mapping[str, Any]) -> None:
        """Appends one epoch to metrics.jsonl in one write; the disk has it before a checkpoint counts it."""
        self._append(self.path / METRICS, (to_json(line) + "\n").encode(), sync=True)

    def count_test_read(self, fingerprint: str, reader: str) -> int:
        """Notes that the test images, which are these by content, were read once more; gives back how often by now."""
        reads = (self.summary["test_reads"] or 0) + 1
        known = (self.summary["data_fingerprints"] or {}) | {"test": fingerprint}
        self.update_summary(test_reads=reads, data_fingerprints=known)
        self.log(f"test split read ({reads}) by {reader}")
        return reads

    def cut_metrics(self, length: int) -> None:
        """Cuts metrics.jsonl back to `length` bytes: what a checkpoint has seen."""
        path = self.path / METRICS
        if path.exists():
            with disk_errors(path):
                os.truncate(path, min(length, path.stat().st_size))

    def metrics_length(self) -> int:
        """The bytes metrics.jsonl has now."""
        path = self.path / METRICS
        return path.stat().st_size if path.exists() else 0

    def file_hashes(self) -> dict[str, str]:
        """The SHA-256 of each of HASHED that the run has, as `files` of its summary."""
        return {name: file_sha256(self.path / name) for name in HASHED if (self.path / name).exists()}

    @staticmethod
    def _append(path: Path, content: bytes, *, sync: bool = False) -> None:
        with disk_errors(path):
            descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o644)
            try:
                if os.write(descriptor, content) < len(content):  # what a filling disk does before it fails
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                if sync:
                    os.fsync(descriptor)
            finally:
                os.close(descriptor)


def file_sha256(path: Path) -> str:
    """SHA-256 of what a file holds.

    Raises:
        DataError: it cannot be read.
    """
    try:
        return hashlib.sha256(read_regular(path)).hexdigest()
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from None


def how_it_ended(error: BaseException) -> dict[str, Any]:
    """`status`, `error` and `exit_code` of a run that this exception ended."""
    exit_code = getattr(error, "exit_code", 130 if isinstance(error, KeyboardInterrupt) else 1)
    text = (
        str(error)
        if isinstance(error, CnnbenchError | Interrupted)
        else f"{type(error).__name__}: {error}".rstrip(": ")
    )
    return {"status": "interrupted" if exit_code > 128 else "failed", "error": text, "exit_code": exit_code}


def record_ending(path: Path, *, error: str, exit_code: int) -> None:
    """Notes in `path` how the process of a run ended that could not do so itself; nothing where it has."""
    ending = {"status": "failed", "error": error, "exit_code": exit_code}
    if not is_run(path):
        _write_ending(path, ending)
        return
    with RunFolder(path, resume=True) as run:
        if run.summary["status"] == "running":
            run.log(f"error: {error}")
            run.update_summary(**ending)


def record_failure(path: Path, error: BaseException) -> None:
    """Notes in `path` how a job ended that may not have come as far as to make its run folder."""
    if not is_run(path):
        _write_ending(path, how_it_ended(error))


def _write_ending(path: Path, ending: Mapping[str, Any]) -> None:
    with disk_errors(path):
        path.mkdir(parents=True, exist_ok=True)
    write_atomically(path / SUMMARY, (to_json(unknown_run() | dict(ending)) + "\n").encode())
