"""One small training, repeated: whether this machine gives the same bits again, and if not, what may be the cause."""

import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cnnbench.config.compose import compose
from cnnbench.errors import CnnbenchError
from cnnbench.experiment import run_experiment
from cnnbench.runs.format import METRICS
from cnnbench.runs.read import load_config, read_metrics, read_summary

SETTINGS = ["data=digits", "model.widths=[8,16]", "model.dropout=0.2", "augmentation=crop_flip", "epochs=8", "seed=0"]
PINNED = ("precision", "memory_format", "compile", "threads")  # what `device=auto` chose for the first training
CLOCK = ("seconds", "images_per_second")  # of an epoch's line: never the same
MARK = " does not have a deterministic"  # in torch's warnings, after the name of the operation
PATIENCE = 120.0  # seconds for the third training to end
COMMAND = [sys.executable, "-c", "from cnnbench.cli import main; main()", "train"]


def repeat_training() -> dict[str, Any]:
    """Trains, trains again, trains a third time with an interruption, and once with another number of threads.

    `deterministic`: whether the first three agree in weights and metrics. `reasons`: what decides the bits here.
    """
    with tempfile.TemporaryDirectory(prefix="cnnbench-verify-") as name, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        folder = Path(name)
        first = run_experiment(compose(SETTINGS), folder / "first", quiet=True)
        pinned = [*SETTINGS, f"device={first['device']}"]
        pinned += [f"device.{key}={_spelled(first[key])}" for key in PINNED]
        run_experiment(compose(pinned), folder / "again", quiet=True)
        interrupt_and_resume(pinned, folder / "resumed")
        threads = 2 if first["threads"] == 1 else 1
        run_experiment(compose([*pinned, f"device.threads={threads}"]), folder / "threads", quiet=True)
        names = {
            "again": "the same seed again",
            "resumed": "interrupted and resumed",
            "threads": f"with {threads} instead of {first['threads']} threads",
        }
        trainings = [{"name": name, **compared(folder / run, folder / "first")} for run, name in names.items()]
    *repeated, with_threads = trainings
    return {
        "deterministic": all(training["equal_weights"] and training["equal_metrics"] for training in repeated),
        "policy": {key: first[key] for key in ("device", *PINNED)},
        "trainings": trainings,
        "reasons": reasons(first, bool(with_threads["equal_weights"]), [str(warning.message) for warning in caught]),
    }


def _spelled(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def interrupt_and_resume(overrides: Sequence[str], path: Path) -> None:
    """A training in a process of its own that is asked to stop once it has an epoch, and goes on in this one."""
    process = subprocess.Popen([*COMMAND, *overrides, f"hydra.run.dir='{path}'"], stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + PATIENCE
        while process.poll() is None and not (path / METRICS).exists() and time.monotonic() < deadline:
            time.sleep(0.005)
        process.terminate()
        exit_code = process.wait(PATIENCE)
    finally:
        process.kill()
    if exit_code not in (0, 143):  # 0: it was faster
        raise CnnbenchError(f"{path}: a training that was asked to stop ended with exit code {exit_code}")
    run_experiment(load_config(path), path, resume=True, quiet=True)


def compared(run: Path, first: Path) -> dict[str, bool]:
    """Whether a run ended with the weights of the `first`, and came there by the same metrics."""
    ours, theirs = (read_summary(path)["weights_sha256"] for path in (run, first))
    return {"equal_weights": ours == theirs, "equal_metrics": _lines(run) == _lines(first)}


def _lines(run: Path) -> list[dict[str, Any]]:
    return [{key: value for key, value in line.items() if key not in CLOCK} for line in read_metrics(run)]


def reasons(first: dict[str, Any], equal_with_threads: bool, warned: Sequence[str]) -> list[str]:
    """What decides the bits on this machine, one line each; `warned` is what torch has warned of."""
    policy = ", ".join(f"{key}={first[key]}" for key in PINNED)
    lines = [
        "device=auto measures before it chooses, so that its choice may differ from run to run; "
        f"name the policy to pin it (here {first['device']}, {policy})"
    ]
    if not equal_with_threads:
        lines.append("another number of threads adds up in another order; set device.threads for the same bits")
    operations = {text.partition(MARK)[0] for text in warned if MARK in text}
    lines += [f"torch has no deterministic {operation} on this device" for operation in sorted(operations)]
    return [*lines, "seconds, speeds, latency and memory are measured, and never equal"]
