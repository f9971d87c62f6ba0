"""The run that is compressed, and the one it all began with."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from cnnbench.errors import CnnbenchError, ConfigError, DataError
from cnnbench.models.graphs import GraphNet
from cnnbench.runs.read import has_diverged, read_summary
from cnnbench.trained.load import TrainedModel, load_trained

Link = dict[str, Any]
"""A run as another's summary names it: `run_id`, `path`, `weights_sha256`."""


@dataclass(frozen=True)
class Parent:
    """A finished run, its summary and its network; `origin` is the run that was not compressed from any."""

    path: Path
    summary: Mapping[str, Any]
    trained: TrainedModel

    @property
    def link(self) -> Link:
        """How a compressed run names this one."""
        path = str(self.path.resolve())
        return {
            "run_id": self.summary.get("run_id"),
            "path": path,
            "weights_sha256": self.summary.get("weights_sha256"),
        }

    @property
    def origin_link(self) -> Link:
        """How a compressed run names what this one began with."""
        origin = self.summary.get("origin")
        return dict(origin) if isinstance(origin, Mapping) else self.link


def load_parent(path: Path, model: nn.Module | None = None) -> Parent:
    """The run in `path`, ready to be compressed.

    Raises:
        DataError: it has not finished.
        ConfigError: its network cannot be changed any more.
        CheckpointError: it cannot be loaded.
    """
    summary = read_summary(path)
    if has_diverged(summary):
        raise DataError(f"{path}: has diverged, there is no network to compress; give a run that finished")
    if summary.get("status") != "finished":
        raise DataError(f"{path}: is not finished; first `cnnbench resume {path}`")
    trained = load_trained(path, model)
    names = list(trained.config.compression)
    is_rounded = bool(names) and names[-1] == "bf16"
    if isinstance(trained.model, GraphNet) or is_rounded:
        parent = summary.get("parent")
        before = parent.get("path") if isinstance(parent, Mapping) else "the run it was made of"
        raise ConfigError(f"{path}: is {names[-1]} already, which comes last; compress {before}")
    return Parent(path, summary, trained)


def load_origin(parent: Parent) -> TrainedModel | None:
    """The network it all began with, for the clock; None where its folder is not there any more, or is another run."""
    link = parent.origin_link
    if link == parent.link:
        return parent.trained
    path = Path(str(link.get("path")))
    try:
        if read_summary(path).get("run_id") != link.get("run_id"):
            return None
        return load_trained(path)
    except CnnbenchError:
        return None
