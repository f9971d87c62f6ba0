"""Saved test predictions of several runs taken together: averaged, set against each other, searched for hard images."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cnnbench.runs.predictions import Classes, Predictions


def ensemble(runs: Sequence[Predictions]) -> NDArray[np.float64]:
    """The mean of the runs' softmax probabilities, (N, K)."""
    total = np.zeros(runs[0].logits.shape)
    for run in runs:
        powers = np.exp(run.logits.astype(np.float64) - run.logits.max(axis=1, keepdims=True))
        total += powers / powers.sum(axis=1, keepdims=True)
    return total / len(runs)


def answers_together(runs: Sequence[Predictions]) -> Classes:
    """The classes of the highest mean probability, (N,); a single run's own answers, as its accuracy counts them."""
    return runs[0].predicted if len(runs) == 1 else ensemble(runs).argmax(axis=1)


def right_by_run(runs: Sequence[Predictions]) -> NDArray[np.bool_]:
    """Whether each run is right on each image, (runs, N), as its accuracy counts it."""
    return np.stack([run.predicted == run.labels for run in runs])


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
