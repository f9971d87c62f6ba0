"""Run folders as `cnnbench train` leaves them, with seeds, accuracies and curves of one's choice, in milliseconds."""

import io

import numpy as np

from cnnbench.disk import write_atomically
from cnnbench.runs import PREDICTIONS, RunFolder

CONFIG = {
    "seed": 0,
    "epochs": 4,
    "batch_size": 64,
    "model": {"name": "simple", "widths": [32, 64], "dropout": 0.0},
    "data": {"name": "digits", "val_fraction": 0.1, "fraction": 1.0, "split_seed": 0},
    "augmentation": {},
    "optimizer": {"name": "adamw", "lr": 0.002},
    "regularization": {},
}
ENVIRONMENT = {
    "python": "3.11.7",
    "platform": "Linux-6.1",
    "hostname": "bench-1",
    "cpu": "AMD EPYC",
    "cores": 2,
    "git_commit": "0123456789abcdef0123456789abcdef01234567",
    "git_dirty": False,
    "command": "cnnbench train",
    "torch": "2.14.1",
    "threads": 1,
}


def write_run(
    path, *, seed=0, accuracy=0.9, settings=None, epochs=4, images=60, num_classes=4, environment=None, **summary
):
    """A finished run with this test accuracy; `settings` replace whole keys of the config, `summary` those of the
    summary. Its predictions are right for `accuracy` of the images. Gives back the folder."""
    config = CONFIG | (settings or {}) | {"seed": seed, "epochs": epochs}
    noise = np.random.default_rng(seed)
    with RunFolder(path) as run:
        run.start(config, ENVIRONMENT | (environment or {}))
        for epoch in range(1, epochs + 1):
            run.append_metrics(epoch_line(epoch, accuracy, noise))
        write_predictions(path, accuracy, images, num_classes, noise)
        defaults = {
            "status": "finished", "exit_code": 0, "model": config["model"]["name"], "data": config["data"]["name"],
            "epochs": epochs, "test_accuracy": accuracy, "best_val_accuracy": accuracy + 0.01, "test_reads": 1,
            "train_accuracy": accuracy + 0.03, "train_val_gap": 0.02, "train_seconds": 10 + noise.random(),
            "parameters": 155530, "macs": 449536, "model_bytes": 622120,
        }  # fmt: skip
        run.update_summary(**defaults | summary)
    return path


def epoch_line(epoch, accuracy, noise):
    """A line of metrics.jsonl, on the way to `accuracy`."""
    reached = accuracy * (1 - 0.5 * np.exp(-0.8 * epoch)) + 0.004 * noise.standard_normal()
    return {
        "epoch": epoch, "step": 20 * epoch, "train_loss": 2 * np.exp(-0.4 * epoch) + 0.1, "train_accuracy": reached,
        "lr": 0.001, "seconds": 0.2, "images_per_second": 6000.0, "val_loss": 1.5 * np.exp(-0.3 * epoch) + 0.2,
        "val_accuracy": reached,
    }  # fmt: skip


def write_predictions(path, accuracy, images, num_classes, noise):
    """predictions.npz in which exactly round(accuracy * images) images are right; which ones `noise` decides."""
    labels = np.arange(images) % num_classes
    wrong = noise.permutation(images)[round(accuracy * images) :]
    answers = labels.copy()
    answers[wrong] = (labels[wrong] + 1) % num_classes
    logits = noise.standard_normal((images, num_classes)) / 4
    logits[np.arange(images), answers] = 4
    buffer = io.BytesIO()
    np.savez_compressed(buffer, logits=logits.astype(np.float16), labels=labels, indices=np.arange(images))
    write_atomically(path / PREDICTIONS, buffer.getvalue())


def sweep(folder, groups, seeds=range(6), **others):
    """A run for each seed of each group, given as name -> (accuracy, settings)."""
    for name, (accuracy, settings) in groups.items():
        for seed in seeds:
            spread = 0.002 * np.random.default_rng([seed, len(name)]).standard_normal()
            shared = 0.004 * np.random.default_rng(seed).standard_normal()
            value = round(accuracy + shared + spread, 4)
            write_run(folder / f"{name}-{seed}", seed=seed, accuracy=value, settings=settings, **others)
    return folder


def adam(**values):
    """The settings of a group that uses adam."""
    return {"optimizer": {"name": "adam", **values}}


