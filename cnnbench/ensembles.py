"""Saved test predictions of several runs taken together: averaged, set against each other, searched for hard images."""

import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cnnbench.runs import PREDICTIONS

Classes = NDArray[np.int64]
MAX_BYTES = 2_000_000_000  # of logits, unpacked: more is not what a run saves, but a bomb

LARGEST = float(np.finfo(np.float16).max)  # what overflowed to infinity when it was saved
UNREADABLE = (OSError, ValueError, KeyError, EOFError, MemoryError, RuntimeError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True)
class Predictions:
    """A run's answers on its test split: `logits` (N, K) float32 and `labels` (N,) int64."""

    logits: NDArray[np.float32]
    labels: Classes

    @property
    def predicted(self) -> Classes:
        """The class of the largest logit, (N,)."""
        return self.logits.argmax(axis=1)

    def fits(self, other: "Predictions") -> bool:
        """Whether these are answers to the same question: the same labels, and as many classes."""
        return self.logits.shape == other.logits.shape and bool(np.array_equal(self.labels, other.labels))


def load_predictions(run: Path) -> Predictions | None:
    """What predictions.npz of a run folder holds; None where it is missing, damaged or not what a run saves."""
    try:
        with _saved(run) as saved:
            logits, labels = saved["logits"], saved["labels"]
            if logits.ndim != 2 or logits.dtype.kind != "f" or labels.dtype.kind not in "iu":
                return None
            if labels.shape != logits.shape[:1] or not logits.size or np.isnan(logits).any():
                return None
            if not 0 <= labels.min() <= labels.max() < logits.shape[1]:
                return None
            logits = np.clip(logits.astype(np.float32), -LARGEST, LARGEST)
            return Predictions(logits, labels.astype(np.int64))
    except UNREADABLE:
        return None


def load_labels(run: Path) -> Classes | None:
    """Of predictions.npz the labels (N,) only, which is faster; None as for `load_predictions`."""
    try:
        with _saved(run) as saved:
            labels = saved["labels"]
            return labels.astype(np.int64) if labels.ndim == 1 and labels.dtype.kind in "iu" else None
    except UNREADABLE:
        return None


def _saved(run: Path) -> "np.lib.npyio.NpzFile":
    with zipfile.ZipFile(run / PREDICTIONS) as archive:
        if sum(member.file_size for member in archive.infolist()) > MAX_BYTES:
            raise ValueError(f"{PREDICTIONS} is too large")
    return np.load(run / PREDICTIONS)  # never unpickles: numpy refuses arrays of objects


def ensemble(runs: Sequence[Predictions]) -> NDArray[np.float64]:
    """The mean of the runs' softmax probabilities, (N, K)."""
    total = np.zeros(runs[0].logits.shape)
    for run in runs:
        powers = np.exp(run.logits.astype(np.float64) - run.logits.max(axis=1, keepdims=True))
        total += powers / powers.sum(axis=1, keepdims=True)
    return total / len(runs)


def churn(first: Classes, second: Classes) -> float:
    """The share of images to which two models give different answers (Milani Fard et al., 2016)."""
    return float((first != second).mean())


class HardImage(NamedTuple):
    """A test image by its index in the split, its class, the share of runs that miss it, and what these say most."""

    image: int
    label: int
    wrong_share: float
    most_frequent_wrong: int


def hardest(predicted: Sequence[Classes], labels: Classes, count: int) -> list[HardImage]:
    """The images that most of the runs miss, at most `count`; none that all get right. Ties go by index."""
    answers = np.stack(predicted)
    wrong = (answers != labels).mean(axis=0)
    order = np.argsort(-wrong, kind="stable")[:count]
    return [
        HardImage(int(i), int(labels[i]), float(wrong[i]), most_frequent(answers[answers[:, i] != labels[i], i]))
        for i in order
        if wrong[i]
    ]


def most_frequent(answers: Classes) -> int:
    """The class given most often; the lowest among equals."""
    return int(np.bincount(answers).argmax())


def confusion(predicted: Classes, labels: Classes, num_classes: int) -> NDArray[np.int64]:
    """How often images of each class (rows) get each answer (columns), (K, K)."""
    return np.bincount(labels * num_classes + predicted, minlength=num_classes**2).reshape(num_classes, num_classes)
