"""The teacher that the loss of a run names, loaded."""

from collections.abc import Sequence
from pathlib import Path

from cnnbench.config.run_config import FROM_PYTHON, RunConfig
from cnnbench.data import ImageShape
from cnnbench.data.decode import FULL_RANGE
from cnnbench.data.images import spell_shape
from cnnbench.device import Device
from cnnbench.errors import CnnbenchError, DataError
from cnnbench.runs.read import load_config
from cnnbench.runs.teacher import read_teacher
from cnnbench.teacher import Teacher
from cnnbench.trained.load import TrainedModel, load_trained


def load_teacher(
    config: RunConfig, image_shape: ImageShape, class_names: Sequence[str], device: Device
) -> Teacher | None:
    """The teacher of a run of this config on such images; None where its loss has none. The run's `device` takes the
    place of the one that it was trained on.

    Raises:
        CnnbenchError: it is no finished run, cannot be loaded, or takes other images or knows other classes.
    """
    if not config.loss.get("teacher"):
        return None
    path = Path(config.loss["teacher"])
    read_teacher(path)
    try:
        refuse_given(path)
        trained = load_trained(path, device=device)
    except CnnbenchError as error:
        raise type(error)(*(f"loss.teacher: {finding}" for finding in error.findings)) from None
    refuse_misfit(trained, config, path, image_shape, class_names)
    mean, std = trained.normalize.mean, trained.normalize.std
    return Teacher(trained.model.float(), mean, std, trained.image_shape)  # float: of weights stored in bf16


def refuse_given(path: Path) -> None:
    """Raises: DataError, its network is built by nothing that is at hand here."""
    if load_config(path).model["name"] == FROM_PYTHON:
        raise DataError(
            f"{path}: its network was given from Python; a teacher has a model that `cnnbench list model` names"
        )


def refuse_misfit(
    teacher: TrainedModel, config: RunConfig, path: Path, image_shape: ImageShape, class_names: Sequence[str]
) -> None:
    """Compares the images and classes that a teacher knows with those of the run that it is to teach.

    Raises:
        DataError: they are others.
    """
    findings = []
    if teacher.image_shape != tuple(image_shape):
        theirs, ours = spell_shape(teacher.image_shape), spell_shape(image_shape)
        findings.append(f"takes {theirs} images, this run has {ours}; give a run on images of this shape")
    low, high = config.data.get("grey_range", FULL_RANGE)
    if teacher.grey_range != (low, high):
        findings.append(f"has data.grey_range={list(teacher.grey_range)}, this run {[low, high]}; use the same")
    if len(teacher.class_names) != len(class_names):
        theirs, ours = str(len(teacher.class_names)), str(len(class_names))
        findings.append(f"knows {theirs} classes, this run has {ours}; give a run with these classes")
    elif differing := [pair for pair in zip(teacher.class_names, class_names, strict=True) if pair[0] != pair[1]]:
        theirs, ours = differing[0]
        findings.append(f"has the class {theirs!r} where this run has {ours!r}; give a run with these, in this order")
    if findings:
        raise DataError(*(f"loss.teacher: {path} {finding}" for finding in findings))
