"""The answers of a run on its test split, as saved in predictions.npz."""

import io
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.disk import read_regular, write_atomically
from cnnbench.runs.format import PREDICTIONS

Classes = NDArray[np.int64]
MAX_BYTES = 2_000_000_000  # of logits, unpacked: more is not what a run saves, but a bomb
LARGEST = float(np.finfo(np.float16).max)  # what overflowed to infinity when it was saved
UNREADABLE = (OSError, ValueError, KeyError, EOFError, MemoryError, RuntimeError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True)
class Predictions:
    """A run's answers on its test split: `logits` (N, K) float32, rounded to float16, and `labels` (N,) int64.

    `answers` (N,) are those before the rounding, by which logits tie; None in files that older versions wrote.
    """

    logits: NDArray[np.float32]
    labels: Classes
    answers: Classes | None = None

    @property
    def predicted(self) -> Classes:
        """The class of the largest logit, (N,): the lowest among equals."""
        return self.logits.argmax(axis=1) if self.answers is None else self.answers

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
            answers = saved.get("predicted")
            if answers is not None and not _fit(answers, logits):
                return None
            return Predictions(logits, labels.astype(np.int64), None if answers is None else answers.astype(np.int64))
    except UNREADABLE:
        return None


def _fit(answers: NDArray[Any], logits: NDArray[np.float32]) -> bool:
    """Whether `answers` are classes with a logit that none exceeds: rounding lets logits tie, but changes no order."""
    if answers.dtype.kind not in "iu" or answers.shape != logits.shape[:1]:
        return False
    if not 0 <= answers.min() <= answers.max() < logits.shape[1]:
        return False
    return bool((np.take_along_axis(logits, answers[:, None].astype(np.int64), 1)[:, 0] == logits.max(axis=1)).all())


def load_labels(run: Path) -> Classes | None:
    """Of predictions.npz the labels (N,) only, which is faster; None as for `load_predictions`."""
    try:
        with _saved(run) as saved:
            labels = saved["labels"]
            return labels.astype(np.int64) if labels.ndim == 1 and labels.dtype.kind in "iu" else None
    except UNREADABLE:
        return None


def _saved(run: Path) -> "np.lib.npyio.NpzFile":
    content = io.BytesIO(read_regular(run / PREDICTIONS))
    with zipfile.ZipFile(content) as archive:
        if sum(member.file_size for member in archive.infolist()) > MAX_BYTES:
            raise ValueError(f"{PREDICTIONS} is too large")
    content.seek(0)
    return np.load(content)  # never unpickles: numpy refuses arrays of objects


def write_predictions(run: Path, logits: NDArray[np.float32], labels: Classes) -> None:
    """Writes predictions.npz: `logits` (N, K) as float16, `labels` (N,), their `indices` (N,) in the test split, and
    what was `predicted` (N,): the class of the largest float32 logit, in the smallest integers that hold every class.
    """
    buffer = io.BytesIO()
    indices = np.arange(len(labels))
    predicted = logits.argmax(axis=1).astype(np.min_scalar_type(logits.shape[1] - 1))
    arrays = {"logits": logits.astype(np.float16), "labels": labels, "indices": indices, "predicted": predicted}
    np.savez_compressed(buffer, **arrays)
    write_atomically(run / PREDICTIONS, buffer.getvalue())
