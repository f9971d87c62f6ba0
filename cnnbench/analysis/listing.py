"""Run folders as a list, each in whatever state it is. They may come from elsewhere: nothing is trusted."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cnnbench.analysis.groups import find_runs
from cnnbench.analysis.metrics import METRICS, finite_number
from cnnbench.disk import is_locked
from cnnbench.errors import DataError
from cnnbench.runs.format import LOCK
from cnnbench.runs.read import read_summary
from cnnbench.runs.tags import read_tags

ENDINGS = ("finished", "failed", "interrupted")
BROKEN, NEWER, RUNNING, KILLED = "broken", "newer", "running", "killed"
TIME = re.compile(r"(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)\b", re.ASCII)
COLUMNS = (
    "path", "status", "seed", "label", "config_hash", "group_hash", "tags", "error", "started", "model", "data",
    *METRICS,
)  # fmt: skip
"""Of a run in JSON and CSV; programs read them, so they are only added to."""


@dataclass(frozen=True, eq=False)
class Listed:
    """A run folder.

    Attributes:
        path: where it lies.
        summary: what summary.json says; empty where it cannot be read.
        status: that of the summary, but "killed" of a run that no process works on, "broken" where the summary cannot
            be read, "newer" where a newer cnnbench wrote it.
        error: why it failed or cannot be read.
        tags: sorted.
    """

    path: Path
    summary: Mapping[str, Any]
    status: str
    error: str | None
    tags: tuple[str, ...]

    @property
    def started(self) -> str | None:
        """When it was started, as `2026-01-31T23:59:59Z`; its id begins with it."""
        found = TIME.match(str(self.summary.get("run_id")))
        return "{}-{}-{}T{}:{}:{}Z".format(*found.groups()) if found else None

    def text(self, key: str) -> str | None:
        """A text of the summary."""
        value = self.summary.get(key)
        return value if isinstance(value, str) else None

    @property
    def seed(self) -> int | None:
        """Its seed."""
        value = self.summary.get("seed")
        return value if type(value) is int else None


def list_runs(folders: Sequence[Path]) -> list[Listed]:
    """Every run folder in and below `folders`, in the order of their start; what cannot be read comes last.

    Raises:
        DataError: a folder is not there, or there is no run folder.
    """
    found = [read_listed(path) for path in find_runs(folders)]
    if not found:
        where = " ".join(map(str, folders))
        raise DataError(f"{where}: no run folder; give folders that `cnnbench train` wrote")
    return sorted(found, key=lambda run: (not run.started, run.text("run_id") or "", str(run.path)))


def place_below(path: Path, folders: Iterable[Path]) -> Path:
    """The path of a run relative to the first of the folders that it lies in; its name where it is one of them."""
    for folder in folders:
        if path == folder:
            return Path(path.resolve().name)
        if path.is_relative_to(folder) and ".." not in (below := path.relative_to(folder)).parts:
            return below
    return Path(path.resolve().name)


def read_listed(path: Path) -> Listed:
    """The run in a folder, in whatever state it is."""
    try:
        tags, why = read_tags(path), None
    except DataError as error:
        tags, why = (), str(error)
    try:
        summary = read_summary(path)
    except DataError as error:
        return Listed(path, {}, NEWER if "has format" in str(error) else BROKEN, str(error), tags)
    status, reason = summary.get("status"), summary.get("error")
    if status == RUNNING:
        status = KILLED if is_locked(path / LOCK) is False else RUNNING
    elif status not in ENDINGS:
        status, reason = BROKEN, f"{path}: its summary has no status; the run has to be repeated"
    return Listed(path, summary, status, why if reason is None else str(reason), tags)


def describe(run: Listed, label: str) -> dict[str, Any]:
    """A run as JSON; null where something is not known."""
    hashes, parts = (map(run.text, keys) for keys in (("config_hash", "group_hash"), ("model", "data")))
    numbers = (value if finite_number(value := run.summary.get(key)) is not None else None for key in METRICS)
    facts = (str(run.path), run.status, run.seed, label, *hashes, list(run.tags), run.error, run.started)
    return dict(zip(COLUMNS, (*facts, *parts, *numbers), strict=True))
