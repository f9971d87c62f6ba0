"""Which comparisons were looked at: who looks again with more seeds, or by another metric, errs more often than once.

Noted in the user's cache, not beside the runs: what reads a folder of runs finds nothing in it but runs.
"""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from cnnbench.disk import data_root, read_regular
from cnnbench.runs.read import is_run
from cnnbench.runs.variant_names import PLAN

LARGEST = 1_000_000  # bytes; what is noted beyond that is not read


@dataclass(frozen=True)
class Look:
    """A comparison by `metric`, of groups with so many seeds each."""

    metric: str
    seeds: Mapping[str, int]


def looks_at(folders: Sequence[Path]) -> Path:
    """The file of the looks at the runs in these folders: that of the first of them, or of the one around it where that
    is a run."""
    place = folders[0].resolve()
    place = place.parent if is_run(place) else place
    return data_root(None) / "looks" / f"{hashlib.sha256(os.fsencode(place)).hexdigest()[:24]}.jsonl"


def read_looks(file: Path) -> list[Look]:
    """What was looked at, in order; lines that are of another kind are left out."""
    try:
        lines = read_regular(file)[:LARGEST].splitlines()
    except (OSError, ValueError):
        return []
    return [look for line in lines if (look := _look_in(line)) is not None]


def _look_in(line: bytes) -> Look | None:
    try:
        content = json.loads(line)
        metric, seeds = content["metric"], content["seeds"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    whole = isinstance(metric, str) and isinstance(seeds, dict)
    if not whole or not all(type(count) is int and 0 <= count < 1_000_000 for count in seeds.values()):
        return None
    return Look(metric, seeds)


def note_look(file: Path, look: Look) -> None:
    """Adds a look that is not noted yet; where nothing can be written it is left out."""
    if look in read_looks(file):
        return
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
        try:
            os.write(descriptor, (json.dumps(asdict(look), sort_keys=True) + "\n").encode())
        finally:
            os.close(descriptor)


def has_planned_looks(folder: Path) -> bool:
    """Whether the folder is that of an ablation whose seeds were added at looks planned before."""
    try:
        return bool(json.loads(read_regular(folder / PLAN)).get("looks"))
    except (OSError, ValueError, AttributeError, RecursionError):
        return False
