"""sweep.json, in the folder of a sweep: the command line, and the jobs in their order, each with its state.

The runs themselves are the truth; this says which belong together, for who looks from outside and for `resume`.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from cnnbench.config.settings import accepts
from cnnbench.disk import read_regular, write_atomically
from cnnbench.errors import DataError

RECORD = "sweep.json"
FORMAT = 1
State = Literal["waiting", "running", "finished", "failed", "interrupted"]


@dataclass(frozen=True)
class JobRecord:
    """A job: the name of its run folder, what varies in it, its `config_hash`, and how it stands."""

    folder: str
    varying: str
    config_hash: str
    state: State
    error: str | None


@dataclass(frozen=True)
class SweepRecord:
    """What sweep.json says. `arguments` are those of the command line that began it, the verb first."""

    arguments: list[str]
    jobs: list[JobRecord]


def write_record(folder: Path, record: SweepRecord) -> None:
    """Replaces sweep.json."""
    counts: dict[str, int] = {}
    for job in record.jobs:
        counts[job.state] = counts.get(job.state, 0) + 1
    document = {"format": FORMAT, "arguments": record.arguments, "counts": counts}
    document["jobs"] = [asdict(job) for job in record.jobs]
    write_atomically(folder / RECORD, (json.dumps(document, indent=2) + "\n").encode())


def is_sweep(folder: Path) -> bool:
    """Whether it is a folder with a sweep.json."""
    return (folder / RECORD).is_file()


def read_record(folder: Path) -> SweepRecord:
    """What sweep.json says; it may come from elsewhere.

    Raises:
        DataError: there is none, or it is not what cnnbench writes.
    """
    file = folder / RECORD
    try:
        document = json.loads(read_regular(file))
    except FileNotFoundError:
        raise DataError(f"{folder}: no folder of a sweep (no {RECORD}); give the one that `train -m` named") from None
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{file}: cannot be read ({error}); repeat the sweep's command") from None
    if not isinstance(document, Mapping) or document.get("format") != FORMAT:
        raise DataError(f"{file}: is not a record of a sweep that this cnnbench reads; update cnnbench")
    jobs = document.get("jobs")
    try:
        if not accepts(list[str], document.get("arguments")) or not isinstance(jobs, Sequence):
            raise TypeError
        return SweepRecord(document["arguments"], [_job(node) for node in jobs])
    except (TypeError, KeyError):
        raise DataError(f"{file}: is not a record of a sweep; repeat the sweep's command") from None


def _job(node: Mapping[str, Any]) -> JobRecord:
    texts = {key: node[key] for key in ("folder", "varying", "config_hash", "state")}
    if not all(isinstance(text, str) for text in texts.values()) or Path(texts["folder"]).name != texts["folder"]:
        raise TypeError
    return JobRecord(**texts, error=str(node["error"]) if node["error"] is not None else None)


def places_in_sweep(folder: Path) -> dict[str, int]:
    """By the name of a run folder, its place among the jobs of the sweep in this folder; empty where there is none."""
    try:
        return {job.folder: place for place, job in enumerate(read_record(folder).jobs)} if is_sweep(folder) else {}
    except DataError:
        return {}
