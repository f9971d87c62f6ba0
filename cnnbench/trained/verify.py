"""Whether a run folder is as `train` left it: every file against its hash, the summary against the files."""

import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from cnnbench.disk import read_regular
from cnnbench.errors import CnnbenchError
from cnnbench.runs.alike import is_dense
from cnnbench.runs.checkpoint import manifest_content, read_manifest, unpacked, whole_content
from cnnbench.runs.folder import file_sha256
from cnnbench.runs.format import (
    CHECKPOINTS,
    ENDING,
    MANIFEST,
    METRICS,
    MODEL,
    PREDICTIONS,
    SUMMARY,
    WEIGHTS,
    summary_sha256,
)
from cnnbench.runs.identity import weights_sha256
from cnnbench.runs.model_files import read_description, read_weights
from cnnbench.runs.predictions import load_predictions
from cnnbench.runs.read import load_config, metrics_sha256, read_metrics, read_summary

Differences = Iterator[str]
Part = Callable[[Path, Mapping[str, Any]], Differences]


def verify_run(run: Path) -> dict[str, Any]:
    """`differences`: one line for everything in the folder that is not as it was written; none where all is."""
    try:
        summary = read_summary(run)
    except CnnbenchError as error:
        return {"run": str(run), "status": None, "differences": list(error.findings)}
    parts = (changed_summary, changed_config, changed_files, changed_checkpoints, changed_network, wrong_numbers)
    found = [line for part in parts for line in _findings(part, run, summary)]
    return {"run": str(run), "status": summary.get("status"), "differences": list(dict.fromkeys(found))}


def _findings(part: Part, run: Path, summary: Mapping[str, Any]) -> list[str]:
    try:
        return list(part(run, summary))
    except CnnbenchError as error:
        return list(error.findings)


def changed_summary(run: Path, summary: Mapping[str, Any]) -> Differences:
    """The summary against its own hash."""
    if hashes(summary).get(SUMMARY) != summary_sha256(summary):
        yield f"{run / SUMMARY}: was changed after it was written (its SHA-256 is not the one noted)"
    for key in ENDING:  # which the hash leaves out
        if key not in summary:
            yield f"{run / SUMMARY}: lacks {key}"


def hashes(summary: Mapping[str, Any]) -> dict[str, Any]:
    """`files` of a summary."""
    files = summary.get("files")
    return files if isinstance(files, dict) else {}


def changed_config(run: Path, summary: Mapping[str, Any]) -> Differences:
    """config.yaml against `config_hash`."""
    load_config(run)
    yield from ()


def changed_files(run: Path, summary: Mapping[str, Any]) -> Differences:
    """Metrics, predictions and environment against their hashes."""
    for name, expected in hashes(summary).items():
        if name != SUMMARY and file_sha256(run / Path(name).name) != expected:
            yield f"{run / name}: was changed after it was written (its SHA-256 is not the one noted)"


def changed_checkpoints(run: Path, summary: Mapping[str, Any]) -> Differences:
    """The checkpoints against manifest.json, metrics.jsonl against the newest, and the last weights."""
    folder = run / CHECKPOINTS
    entries = read_manifest(folder)
    if not entries and summary.get("status") == "finished" and summary.get("steps") != 0:
        yield f"{folder}: holds no checkpoint"
    if (folder / MANIFEST).exists() and read_regular(folder / MANIFEST) != manifest_content(entries):
        yield f"{folder / MANIFEST}: is not as it was written"
    for entry in entries:
        try:
            state = unpacked(folder / entry["file"], whole_content(folder, entry))
        except CnnbenchError as error:
            yield from error.findings
            continue
        position = state.get("position")
        if not isinstance(position, dict) or position.get("step") != entry["step"]:
            yield f"{folder / entry['file']}: is not of step {entry['step']}, as {MANIFEST} says"
        if entry is entries[-1]:
            yield from _newest_checkpoint(run, summary, state)


def _newest_checkpoint(run: Path, summary: Mapping[str, Any], state: dict[str, Any]) -> Differences:
    seen, model = state.get("metrics"), state.get("model")
    length, sha256 = (seen.get("bytes"), seen.get("sha256")) if isinstance(seen, dict) else (None, None)
    if type(length) is not int or sha256 is None or metrics_sha256(run, length) != sha256:
        yield f"{run / METRICS}: does not hold what the newest checkpoint has seen of it"
    is_network = summary.get("status") == "finished" and MODEL not in hashes(summary)
    if is_network and _weights_sha256(model) != summary.get("weights_sha256"):
        yield f"{run / SUMMARY}: weights_sha256 is not that of the last checkpoint"


def _weights_sha256(model: Any) -> str | None:
    whole = isinstance(model, dict) and all(isinstance(name, str) and is_dense(model[name]) for name in model)
    return weights_sha256(model) if whole else None


def changed_network(run: Path, summary: Mapping[str, Any]) -> Differences:
    """The network of a run that has it in files of its own against its hash."""
    if MODEL in hashes(summary) and summary.get("status") == "finished":
        read_description(run, summary)
        if _weights_sha256(read_weights(run, summary)) != summary.get("weights_sha256"):
            yield f"{run / SUMMARY}: weights_sha256 is not that of {WEIGHTS}"


def wrong_numbers(run: Path, summary: Mapping[str, Any]) -> Differences:
    """The numbers of a finished run against metrics.jsonl and predictions.npz."""
    if summary.get("status") != "finished":
        return
    lines = read_metrics(run)
    expected = {
        "epochs": len(lines),
        "steps": lines[-1].get("step") if lines else 0,
        "best_val_accuracy": _of_epoch(lines, summary.get("best_epoch")).get("val_accuracy"),
        "train_seconds": math.fsum(line.get("seconds", math.nan) for line in lines),
    }
    if MODEL in hashes(summary):  # what was trained on is not yet what was kept
        del expected["best_val_accuracy"]
    predictions = load_predictions(run)
    if predictions is not None:
        expected["test_accuracy"] = float((predictions.predicted == predictions.labels).mean())
    elif summary.get("test_accuracy") is not None:
        yield f"{run / PREDICTIONS}: cannot be read"
    for key, value in expected.items():
        if not _agree(summary.get(key), value):
            yield f"{run / SUMMARY}: {key} is {summary.get(key)}, its files say {value}"


def _of_epoch(lines: list[dict[str, Any]], epoch: Any) -> dict[str, Any]:
    return next((line for line in lines if line.get("epoch") == epoch), {})


def _agree(noted: Any, found: Any) -> bool:
    """Equal, but for the rounding of sums."""
    if isinstance(noted, int | float) and isinstance(found, int | float):
        return math.isclose(noted, found, rel_tol=1e-9)
    return bool(noted == found)
