"""Run folders as `train` leaves them, made without training."""

import io
import itertools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from cnnbench.runs.format import FORMAT, SUMMARY_KEYS
from cnnbench.runs.identity import config_hash, group_hash

CONFIG = {
    "seed": 0,
    "epochs": 3,
    "batch_size": 64,
    "select": "best",
    "test_time_augmentation": "none",
    "target": {"metric": "val_accuracy", "value": None},
    "checkpoint": {"every_seconds": 60, "keep": 2},
    "model": {"name": "simple", "widths": [32, 64], "dropout": 0.0},
    "data": {"name": "digits", "val_fraction": 0.1, "fraction": 1.0, "split_seed": 0},
    "augmentation": {},
    "loss": {"name": "cross_entropy", "label_smoothing": 0.0},
    "optimizer": {"name": "sgd", "lr": 0.1, "momentum": 0.9},
    "schedule": {"name": "cosine", "final_factor": 0.0},
    "regularization": {},
    "pruning": {"name": "none"},
    "device": {"name": "cpu", "precision": "fp32"},
    "logging": {},
}

_numbers = itertools.count()


def make_run(
    path: Path,
    accuracy: float | None = 0.9,
    *,
    seed: int = 0,
    config: Mapping[str, Any] | None = None,
    **summary: Any,
) -> Path:
    """A finished run with this test accuracy; `config` and `summary` replace single keys."""
    path.mkdir(parents=True, exist_ok=True)
    full = CONFIG | dict(config or {}) | {"seed": seed}
    facts = dict.fromkeys(SUMMARY_KEYS) | {
        "format": FORMAT,
        "status": "finished",
        "exit_code": 0,
        "run_id": f"20260101T000000-{next(_numbers):08x}",
        "config_hash": config_hash(full),
        "group_hash": group_hash(full),
        "seed": seed,
        "model": full["model"]["name"],
        "data": full["data"]["name"],
        "test_accuracy": accuracy,
        "best_val_accuracy": accuracy,
        "train_seconds": 10.0,
        "parameters": 1000,
        "target": full["target"],
    }
    (path / "config.yaml").write_text(yaml.safe_dump(full, sort_keys=False))
    (path / "summary.json").write_text(json.dumps(facts | summary))
    return path


def save_predictions(path: Path, logits: np.ndarray, labels: np.ndarray) -> None:
    """predictions.npz of a run folder."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, logits=logits.astype(np.float16), labels=labels, indices=np.arange(len(labels)))
    (path / "predictions.npz").write_bytes(buffer.getvalue())
