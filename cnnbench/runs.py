"""The run folder: where a run writes what happened, and how others read it. The format lives here.

Nothing here imports torch: reading five thousand runs must not wait for it.
"""

import errno
import fcntl
import hashlib
import json
import os
import secrets
import traceback
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

import yaml

from cnnbench.disk import disk_errors, write_atomically
from cnnbench.errors import CnnbenchError, DataError, DiskError, RunInUseError

FORMAT = 1
SUMMARY, METRICS, CONFIG, ENVIRONMENT = "summary.json", "metrics.jsonl", "config.yaml", "environment.json"
PREDICTIONS, LOG, CRASH_LOG, LOCK, CHECKPOINTS = "predictions.npz", "train.log", "crash.log", ".lock", "checkpoints"
MAX_CONFIG_BYTES, MAX_CONFIG_DEPTH = 1_000_000, 32
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # in C, ten times as fast, where PyYAML was built with it


def config_hash(config: Mapping[str, Any]) -> str:
    """16 hex digits that two configs share exactly when they are equal."""
    canonical = json.dumps(config, sort_keys=True, allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def group_hash(config: Mapping[str, Any]) -> str:
    """`config_hash` of everything but the seed: runs that repeat one another share it."""
    return config_hash({key: value for key, value in config.items() if key != "seed"})


def to_json(document: Any) -> str:
    """JSON in which a float that is not finite is null, as in every file of a run."""
    return json.dumps(_finite(document), allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if abs(value) < float("inf") else None
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value


class RunFolder:
    """A run folder held for writing by this process; use as a context manager.

    Leaving it by an exception records how the run ended: a CnnbenchError with its exit code, anything else
    with 1 and a traceback in crash.log.
    """

    def __init__(self, path: Path, *, resume: bool = False) -> None:
        self.path = path
        self.summary: dict[str, Any] = {}
        with disk_errors(path):
            path.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(path / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            raise RunInUseError(
                f"{path}: another process is working in this run folder; wait or choose another"
            ) from None
        try:
            if resume:
                self.summary = read_summary(path)
            elif (path / SUMMARY).exists():
                raise DataError(
                    f"{path}: holds a run already; continue it with `cnnbench resume {path}` or choose another"
                )
        except DataError:
            os.close(self._lock)
            raise

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
        if error is not None:
            with suppress(DiskError):  # what ended the run is worth more than where it could not be noted
                self._record_failure(error)
        os.close(self._lock)

    def _record_failure(self, error: BaseException) -> None:
        ending = how_it_ended(error)
        self.log(f"error: {ending['error']}")
        if not isinstance(error, CnnbenchError | KeyboardInterrupt):
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
            "group_hash": group_hash(config),
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
        text = json.dumps(_finite(self.summary), indent=2, allow_nan=False) + "\n"
        write_atomically(self.path / SUMMARY, text.encode())

    def log(self, line: str) -> None:
        """Appends a line with its time (UTC) to train.log."""
        stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        self._append(self.path / LOG, f"{stamp} {line}\n".encode("utf-8", "backslashreplace"))

    def append_metrics(self, line: Mapping[str, Any]) -> None:
        """Appends one epoch to metrics.jsonl in one write."""
        self._append(self.path / METRICS, (to_json(line) + "\n").encode())

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

    @staticmethod
    def _append(path: Path, content: bytes) -> None:
        with disk_errors(path):
            descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o644)
            try:
                if os.write(descriptor, content) < len(content):  # what a filling disk does before it fails
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            finally:
                os.close(descriptor)


def how_it_ended(error: BaseException) -> dict[str, Any]:
    """`status`, `error` and `exit_code` of a run that this exception ended."""
    exit_code = 130 if isinstance(error, KeyboardInterrupt) else getattr(error, "exit_code", 1)
    text = str(error) if isinstance(error, CnnbenchError) else f"{type(error).__name__}: {error}".rstrip(": ")
    return {"status": "interrupted" if exit_code > 128 else "failed", "error": text, "exit_code": exit_code}


def record_failure(path: Path, error: BaseException) -> None:
    """Notes in `path` how a job ended that may not have come as far as to make its run folder."""
    if not is_run(path):
        with disk_errors(path):
            path.mkdir(parents=True, exist_ok=True)
        write_atomically(path / SUMMARY, (to_json(unknown_run() | how_it_ended(error)) + "\n").encode())


def unknown_run() -> dict[str, Any]:
    """summary.json of a run of which nothing is known yet: every key, null where there is no value."""
    return dict.fromkeys(SUMMARY_KEYS) | {"format": FORMAT, "run_id": new_run_id(), "test_reads": 0}


def failed_runs(sweep: Path) -> list[str]:
    """One line `<folder>: <error>` for each run directly in `sweep` that failed or whose summary cannot be read."""
    failures: list[str] = []
    for path in filter(is_run, sorted(sweep.iterdir()) if sweep.exists() else []):
        try:
            summary = read_summary(path)
        except DataError as error:
            failures += error.findings
            continue
        if summary.get("status") == "failed":
            failures.append(f"{path}: {'; '.join(str(summary.get('error')).splitlines())}")
    return failures


SUMMARY_KEYS = (
    "format", "status", "error", "exit_code", "run_id", "config_hash", "group_hash", "seed", "model", "data",
    "epochs", "steps", "best_epoch", "best_val_accuracy", "test_accuracy", "test_top5_accuracy", "test_loss",
    "test_reads", "objective", "train_seconds", "total_seconds", "images_per_second", "parameters",
    "nonzero_parameters", "macs", "model_bytes", "peak_memory_bytes", "weights_sha256", "device", "precision",
    "memory_format", "compile", "threads", "target", "time_to_target",
    "selected_epoch", "train_accuracy", "train_val_gap", "latency_ms",
)  # fmt: skip


def new_run_id() -> str:
    """A name no other run has: the time (UTC) and 8 random hex digits."""
    return datetime.now(UTC).strftime("%Y%m%dT%H%M%S-") + secrets.token_hex(4)


def is_run(path: Path) -> bool:
    """Whether `path` is a folder with a summary.json."""
    return (path / SUMMARY).is_file()


def read_summary(path: Path) -> dict[str, Any]:
    """summary.json of a run.

    Raises:
        DataError: there is none, it is not JSON, or a newer cnnbench wrote it.
    """
    try:
        summary = json.loads((path / SUMMARY).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{path}: not a run folder (no {SUMMARY}); give the path that `train` printed") from None
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path / SUMMARY}: cannot be read ({error}); the run has to be repeated") from None
    if not isinstance(summary, dict) or not isinstance(summary.get("format"), int):
        raise DataError(f"{path / SUMMARY}: is not a summary of a run; the run has to be repeated")
    if summary["format"] > FORMAT:
        raise DataError(f"{path}: has format {summary['format']}, this cnnbench reads up to {FORMAT}; update cnnbench")
    return summary


def read_config(path: Path) -> dict[str, Any]:
    """config.yaml of a run, as plain values; refuses aliases, more than 1 MB and more than 32 levels.

    Raises:
        DataError: there is none, or it is not what cnnbench writes.
    """
    file = path / CONFIG
    try:
        if file.stat().st_size > MAX_CONFIG_BYTES:
            raise DataError(f"{file}: larger than {MAX_CONFIG_BYTES:,} bytes; this is not a config of cnnbench")
        text = file.read_text(encoding="utf-8")
        _refuse_bombs(file, text)
        config = LOADER(text).get_single_data()
    except FileNotFoundError:
        raise DataError(f"{path}: not a run folder (no {CONFIG}); give the path that `train` printed") from None
    except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:
        raise DataError(f"{file}: cannot be read ({str(error).splitlines()[0]})") from None
    if not isinstance(config, dict):
        raise DataError(f"{file}: is not a mapping; this is not a config of cnnbench")
    return config


def _refuse_bombs(file: Path, text: str) -> None:
    depth = 0
    for event in yaml.parse(text, Loader=LOADER):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if isinstance(event, yaml.AliasEvent) or depth > MAX_CONFIG_DEPTH:
            raise DataError(
                f"{file}: has aliases or more than {MAX_CONFIG_DEPTH} levels; this is not a config of cnnbench"
            )


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The epochs in metrics.jsonl; a torn last line is left out.

    Raises:
        DataError: a whole line is not JSON.
    """
    file = path / METRICS
    if not file.exists():
        return []
    try:
        whole = file.read_bytes().rpartition(b"\n")[0]
        return [json.loads(line) for line in whole.splitlines()]
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{file}: cannot be read ({error}); the run has to be repeated") from None


def slug(text: str) -> str:
    """`text` as part of a folder name: letters, digits, `-`, `_` and `.` inside, at most 60 characters."""
    kept = "".join(char if char.isascii() and (char.isalnum() or char in "-_.") else "-" for char in text)
    return kept.strip("-.")[:60] or "run"
