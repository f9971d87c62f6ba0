"""What the saved test predictions of several runs say together. A file may come from elsewhere and be damaged."""

import zipfile
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cnnbench.runs import PREDICTIONS

MAX_BYTES = 1_000_000_000  # unpacked: 50,000 images of 1,000 classes take a tenth
UNREADABLE = (OSError, ValueError, KeyError, EOFError, MemoryError, RuntimeError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True)
class Predictions:
    """Of one run: `logits` (N, K) float32 and `labels` (N,) int64 of its test images, in their order."""

    logits: NDArray[np.float32]
    labels: NDArray[np.int64]

    @property
    def predicted(self) -> NDArray[np.int64]:
        """The class of the largest logit, (N,)."""
        return self.logits.argmax(axis=1).astype(np.int64)


def load_predictions(run: Path) -> Predictions | None:
    """What predictions.npz of a run holds; None where there is none or it is damaged."""
    file = run / PREDICTIONS
    try:
        with zipfile.ZipFile(file) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > MAX_BYTES:
                return None
        with np.load(file) as saved:
            logits, labels = np.asarray(saved["logits"]), np.asarray(saved["labels"])
    except UNREADABLE:
        return None
    if logits.ndim != 2 or 0 in logits.shape or logits.dtype.kind != "f" or labels.dtype.kind not in "iu":
        return None
    if labels.shape != logits.shape[:1] or not 0 <= labels.min() <= labels.max() < logits.shape[1]:
        return None
    if np.isnan(logits).any():
        return None
    largest = float(np.finfo(np.float16).max)  # what overflowed when the logits were saved
    return Predictions(np.clip(logits.astype(np.float32), -largest, largest), labels.astype(np.int64))


def ensemble(runs: Iterable[Predictions]) -> NDArray[np.float32]:
    """Probabilities (N, K): the mean over the runs of the softmax of their logits."""
    total: NDArray[np.float32] | None = None
    count = 0
    for run in runs:
        exponentials = np.exp(run.logits - run.logits.max(axis=1, keepdims=True))
        probabilities = exponentials / exponentials.sum(axis=1, keepdims=True)
        total = probabilities if total is None else total + probabilities
        count += 1
    assert total is not None, "an ensemble of no runs"
    return total / np.float32(count)


def churn(first: NDArray[np.int64], second: NDArray[np.int64]) -> float:
    """The share of images that two models put into different classes, right or wrong."""
    return float((first != second).mean())


def hardest(
    predicted: Sequence[NDArray[np.int64]], labels: NDArray[np.int64], count: int
) -> list[tuple[int, int, float, int]]:
    """Up to `count` images that most runs get wrong: index, label, share of runs, their most frequent wrong answer."""
    answers = np.stack(predicted)  # (runs, N)
    wrong = answers != labels
    shares = wrong.mean(axis=0)
    order = np.argsort(-shares, kind="stable")[:count]
    return [
        (int(i), int(labels[i]), float(shares[i]), int(np.bincount(answers[wrong[:, i], i]).argmax()))
        for i in order
        if shares[i] > 0
    ]


def confusion(predicted: NDArray[np.int64], labels: NDArray[np.int64], num_classes: int) -> NDArray[np.int64]:
    """How many images of class `row` were taken for class `column`, (K, K)."""
    flat = np.bincount(labels * num_classes + predicted, minlength=num_classes**2)
    return flat.reshape(num_classes, num_classes)
