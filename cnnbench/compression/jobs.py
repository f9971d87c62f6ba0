"""Several runs compressed in several ways: which folder each has, and which of them are done already."""

import hashlib
import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from cnnbench.analysis.groups import find_runs
from cnnbench.config.composition import slug
from cnnbench.config.run_config import technique_of
from cnnbench.config.settings import spell
from cnnbench.config.sweep_settings import DISTILL
from cnnbench.errors import CnnbenchError, DataError
from cnnbench.runs.read import is_run, read_config, summary_of

Node = Mapping[str, Any]
LAST = ("bf16", "int8", "int8_qat")  # nothing comes after these


@dataclass(frozen=True)
class Planned:
    """A run to be compressed so, and the folder of the result."""

    parent: Path
    node: Node
    folder: Path

    @property
    def title(self) -> str:
        """In one line what is done to which run."""
        chosen = {key: value for key, value in self.node.items() if key not in ("name", "model")}
        chosen |= {f"model.{key}": value for key, value in self.node.get("model", {}).items()}
        settings = " ".join(f"{key}={spell(value)}" for key, value in chosen.items())
        return f"{self.parent}: {self.node['name']} {settings}".rstrip()

    @property
    def is_done(self) -> bool:
        """Whether the folder has this result already."""
        summary = summary_of(self.folder)
        return summary.get("status") == "finished" and bool(summary.get("clock"))


def runs_in(paths: Sequence[Path]) -> list[Path]:
    """The runs among `paths`, and of each folder of runs those that finished: if some of these were never compressed,
    only them, else those to which more can be done.

    Raises:
        DataError: a folder is not there, or has none.
    """
    found: list[Path] = []
    for path in paths:
        if is_run(path):
            found.append(path)
            continue
        done = {run: techniques_of(run) for run in find_runs([path]) if summary_of(run).get("status") == "finished"}
        below = [run for run, techniques in done.items() if not techniques]
        below = below or [run for run, techniques in done.items() if techniques[-1] not in LAST]
        if not below:
            raise DataError(f"{path}: has no run to compress; give the path that `train` printed, or a folder of runs")
        found += below
    return list(dict.fromkeys(found))


def compressed_in(paths: Sequence[Path]) -> list[Path]:
    """The runs in and below `paths` that a compression made and finished.

    Raises:
        DataError: a folder is not there, or there are none.
    """
    found = [run for run in find_runs(paths) if summary_of(run).get("clock")]
    if not found:
        raise DataError(f"{' '.join(map(str, paths))}: no run there was compressed; give one that was")
    return found


def techniques_of(run: Path) -> list[str]:
    """What was done to a run, in its order; of one whose config cannot be read nothing is known."""
    try:
        done = read_config(run).get("compression")
    except CnnbenchError:
        return []
    if not done and summary_of(run).get("parent"):
        return [DISTILL]
    return [technique_of(str(name)) for name in done] if isinstance(done, Mapping) else []


def plan(parents: Sequence[Path], nodes: Sequence[Node], run_dir: str | None, sweep_dir: str | None) -> list[Planned]:
    """Every run compressed in every way: one alone into `run_dir`, several into folders of their own in `sweep_dir`."""
    if len(parents) * len(nodes) == 1 and not sweep_dir:
        (parent,), (node,) = parents, nodes
        name = slug(f"{node['name']}-{parent.resolve().name}")
        now = datetime.now()
        default = f"outputs/{now:%Y-%m-%d}/{now:%H-%M-%S}-{name}-{secrets.token_hex(2)}"
        return [Planned(parent, node, Path(run_dir or default))]
    now = datetime.now()
    folder = Path(sweep_dir or f"outputs/{now:%Y-%m-%d}/{now:%H-%M-%S}-compress-{secrets.token_hex(2)}")
    return [Planned(parent, node, folder / folder_name(parent, node)) for node in nodes for parent in parents]


def folder_name(parent: Path, node: Node) -> str:
    """The same for the same settings and run, so that a second start finds what the first has done."""
    run_id = str(summary_of(parent).get("run_id"))
    digest = hashlib.sha256(json.dumps([node, run_id], sort_keys=True).encode()).hexdigest()[:6]
    return f"{slug(node['name'])}-{slug(parent.resolve().name)}-{digest}"
