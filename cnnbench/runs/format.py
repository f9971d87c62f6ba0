"""The format of a run folder: the names of its files and the keys of its summary.

Nothing here imports torch: reading five thousand runs must not wait for it.
"""

import hashlib
import json
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

FORMAT = 1
SUMMARY, METRICS, CONFIG, ENVIRONMENT = "summary.json", "metrics.jsonl", "config.yaml", "environment.json"
PREDICTIONS, LOG, CRASH_LOG, LOCK, CHECKPOINTS = "predictions.npz", "train.log", "crash.log", ".lock", "checkpoints"
OUTPUT = "output.log"  # what libraries print in a job of a sweep
MANIFEST = "manifest.json"  # in the folder of the checkpoints
MODEL, WEIGHTS = "model.json", "model.safetensors"  # of a run that was compressed

ENDING = ("status", "error", "exit_code")  # of a summary: what a process that is killed cannot note
HASHED = (CONFIG, METRICS, PREDICTIONS, ENVIRONMENT, MODEL, WEIGHTS)  # what no longer changes once a run is finished


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


def summary_sha256(summary: Mapping[str, Any]) -> str:
    """SHA-256 of a summary but for `files`, where this hash stands itself, and for how the run ended, which a process
    that is killed cannot note."""
    rest = {key: value for key, value in summary.items() if key not in ("files", *ENDING)}
    return hashlib.sha256(json.dumps(_finite(rest), sort_keys=True).encode()).hexdigest()


def unknown_run() -> dict[str, Any]:
    """summary.json of a run of which nothing is known yet: every key, null where there is no value."""
    return dict.fromkeys(SUMMARY_KEYS) | {"format": FORMAT, "run_id": new_run_id(), "test_reads": 0}


SUMMARY_KEYS = (
    "format", "status", "error", "exit_code", "run_id", "config_hash", "group_hash", "seed", "model", "data",
    "epochs", "steps", "best_epoch", "best_val_accuracy", "test_accuracy", "test_top5_accuracy", "test_loss",
    "test_reads", "objective", "train_seconds", "total_seconds", "images_per_second", "parameters",
    "nonzero_parameters", "macs", "model_bytes", "peak_memory_bytes", "weights_sha256", "device", "precision",
    "memory_format", "compile", "threads", "processor", "target", "time_to_target",
    "selected_epoch", "train_accuracy", "train_val_gap", "latency_ms", "files",
    "version", "torch", "image_shape", "data_fingerprints", "lengthened", "load_at_start", "load_at_end",
    "parent", "origin", "speedup", "speedup_over_eager", "size_ratio", "disk_bytes", "clock",
    "teacher",
)  # fmt: skip


def new_run_id() -> str:
    """A name no other run has: the time (UTC), to the microsecond, for it sorts the runs, and 8 random hex digits."""
    return datetime.now(UTC).strftime("%Y%m%dT%H%M%S-%f-") + secrets.token_hex(4)
