"""A compression that trains another network: a run with the loss `distillation`, timed beside its teacher."""

import copy
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from cnnbench.assemble import make_compression
from cnnbench.compression.clock import clocked
from cnnbench.compression.parents import Parent, load_parent
from cnnbench.compression.screen import show_outcome
from cnnbench.config.run_config import RunConfig
from cnnbench.config.sweep_settings import DISTILL
from cnnbench.console import say_exactly
from cnnbench.errors import DataError
from cnnbench.experiment import run_experiment
from cnnbench.runs.folder import RunFolder
from cnnbench.runs.model_files import packed
from cnnbench.runs.read import load_config, read_summary
from cnnbench.trained.load import load_trained


def distill_run(parent: Path, node: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Trains the network `node["model"]` by the recipe of the finished run in `parent`, which teaches it, into `path`;
    gives back its summary.

    Raises:
        CnnbenchError: what the user can mend.
        Interrupted: by a signal; `resume_student` goes on.
    """
    found = load_parent(parent)
    config = student_config(found.trained.config, node, parent)
    run_experiment(config, path, made_of={"parent": found.link, "origin": found.origin_link})
    return time_student(path)


def student_config(config: RunConfig, node: Mapping[str, Any], teacher: Path) -> RunConfig:
    """The config of a run, with the network and the loss of one that learns from it."""
    settings = {key: value for key, value in node.items() if key not in ("name", "model")}
    loss = {"name": "distillation", "teacher": str(teacher.resolve()), **settings}
    return replace(config, model=dict(node["model"]), loss=loss, compression={}, logging={})


def resume_student(path: Path) -> dict[str, Any]:
    """Continues the training of a student where its last checkpoint left it, and times it.

    Raises:
        CnnbenchError: as `distill_run`.
    """
    if read_summary(path).get("status") != "finished":
        run_experiment(load_config(path), path, resume=True)
    return time_student(path)


def time_student(path: Path) -> dict[str, Any]:
    """Times a finished student beside its teacher; gives back its summary, where the result is noted.

    Raises:
        DataError: it has none, or its teacher is not there any more, or another.
    """
    student, parent = load_trained(path), teacher_of(path)
    loss = student.config.loss
    settings = {key: loss[key] for key in ("temperature", "weight", "label_smoothing")}
    technique = make_compression({"name": DISTILL, **settings})
    with RunFolder(path, resume=True) as run:
        network = copy.deepcopy(student.model)
        found = clocked(parent, network, technique, student.normalize, student.device)
        disk, before = len(packed(student.model.state_dict())), found["clock"]["disk_bytes"]
        run.update_summary(**found, disk_bytes=disk, size_ratio=before.get("origin", before["parent"]) / disk)
        show_outcome(parent.summary, run.summary, technique)
        summary = dict(run.summary)
    say_exactly(f"run: {path}")
    return summary


def teacher_of(path: Path) -> Parent:
    """The run that the one in `path` was distilled from.

    Raises:
        DataError: it does not say which, or that one has changed.
    """
    link = read_summary(path).get("parent")
    if not isinstance(link, Mapping) or not isinstance(link.get("path"), str):
        raise DataError(f"{path}: does not say which run it compresses; give one that `cnnbench compress` made")
    found = load_parent(Path(link["path"]))
    if found.summary.get("weights_sha256") != link.get("weights_sha256"):
        raise DataError(f"{link['path']}: is not the run any more that {path} learnt from; distill it again")
    return found
