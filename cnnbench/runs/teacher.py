"""The run that another one learns from, as far as its summary tells: nothing here imports torch."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cnnbench.errors import DataError
from cnnbench.runs.read import has_diverged, read_summary


def read_teacher(path: Path) -> dict[str, Any]:
    """The summary of a teacher.

    Raises:
        DataError: `path` is no run, or one that has not finished.
    """
    try:
        summary = read_summary(path)
    except DataError as error:
        raise DataError(*(f"loss.teacher: {finding}" for finding in error.findings)) from None
    if has_diverged(summary):
        raise DataError(f"loss.teacher: {path} has diverged, it has nothing to teach; give a run that finished")
    if summary.get("status") != "finished":
        raise DataError(f"loss.teacher: {path} is not finished; first `cnnbench resume {path}`")
    return summary


def teacher_facts(loss: Mapping[str, Any]) -> dict[str, Any]:
    """What the summary of a run with this loss says of its teacher; empty where it has none.

    Raises:
        DataError: as `read_teacher`.
    """
    if not loss.get("teacher"):
        return {}
    summary = read_teacher(Path(loss["teacher"]))
    told = {key: summary.get(key) for key in ("run_id", "weights_sha256", "group_hash")}
    return {"teacher": {"path": loss["teacher"]} | told}


def knows_other_images(loss: Mapping[str, Any], fingerprint: str) -> bool:
    """Whether the teacher of this loss was trained on other images than those with this fingerprint."""
    known = read_teacher(Path(loss["teacher"])).get("data_fingerprints")
    return not isinstance(known, Mapping) or known.get("train") != fingerprint


def with_teacher(config: Mapping[str, Any], summary: Mapping[str, Any]) -> dict[str, Any]:
    """The plain config of a run with what separates it from runs of other teachers: the group of its own, as
    `teacher_group`. Teachers that repeat one another are one, so that seeds pair."""
    teacher = summary.get("teacher")
    if not isinstance(teacher, Mapping):
        return dict(config)
    return {**config, "loss": {**config["loss"], "teacher_group": teacher.get("group_hash")}}


def refuse_other_teacher(summary: Mapping[str, Any], found: Mapping[str, Any]) -> None:
    """Compares the teacher of a run that goes on with that which it began with.

    Raises:
        DataError: it has other weights.
    """
    known, now = summary.get("teacher"), found["teacher"]
    if not isinstance(known, Mapping) or known.get("weights_sha256") != now["weights_sha256"]:
        raise DataError(
            f"loss.teacher: {now['path']} has other weights than when this run began; put those back, or train anew"
        )
