"""Saved predictions: what is read, and what is computed from several runs."""

import numpy as np
import pytest
from run_folders import make_run, save_predictions

from cnnbench.analysis.ensembles import churn, confusion, ensemble, hardest
from cnnbench.runs.predictions import Predictions, load_predictions

LABELS = np.array([0, 1, 2, 1])


def logits_for(*answers, classes=3):
    """Logits whose largest is at each of the answers."""
    return np.eye(classes, dtype=np.float32)[list(answers)] * 4


def test_what_a_run_saved_is_read_back(tmp_path):
    run = make_run(tmp_path / "a")
    save_predictions(run, logits_for(0, 1, 1, 2), LABELS)
    saved = load_predictions(run)
    assert saved.predicted.tolist() == [0, 1, 1, 2]
    assert saved.labels.tolist() == LABELS.tolist()
    assert saved.logits.dtype == np.float32


def write_objects(path):
    np.savez(path, logits=np.array([[object()]]), labels=LABELS)


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.unlink(),
        lambda path: path.write_bytes(b"not a zip file"),
        lambda path: path.write_bytes(path.read_bytes()[:-30]),
        lambda path: path.write_bytes(path.read_bytes()[:80] + bytes(40) + path.read_bytes()[120:]),
        lambda path: np.savez(path, labels=LABELS),
        lambda path: np.savez(path, logits=np.zeros((3, 3)), labels=LABELS),
        lambda path: np.savez(path, logits=np.zeros(4), labels=LABELS),
        lambda path: np.savez(path, logits=np.zeros((4, 3), dtype=int), labels=LABELS),
        lambda path: np.savez(path, logits=np.full((4, 3), np.nan), labels=LABELS),
        lambda path: np.savez(path, logits=np.zeros((4, 3)), labels=LABELS - 1),
        lambda path: np.savez(path, logits=np.zeros((4, 3)), labels=LABELS + 1),
        write_objects,
    ],
)
def test_predictions_that_are_damaged_are_none(tmp_path, damage):
    run = make_run(tmp_path / "a")
    save_predictions(run, logits_for(0, 1, 1, 2), LABELS)
    damage(run / "predictions.npz")
    assert load_predictions(run) is None


def test_a_logit_that_overflowed_when_it_was_saved_is_the_largest(tmp_path):
    run = make_run(tmp_path / "a")
    save_predictions(run, np.array([[np.inf, 0], [0, -np.inf]]), np.array([0, 0]))
    saved = load_predictions(run)
    assert saved.logits.tolist() == [[65504, 0], [0, -65504]]
    assert ensemble([saved])[0].tolist() == [1, 0]


def test_an_ensemble_is_the_mean_of_probabilities():
    runs = [Predictions(np.log(np.array([p], dtype=np.float32)), np.array([0])) for p in ([0.9, 0.1], [0.2, 0.8])]
    assert ensemble(runs)[0] == pytest.approx([0.55, 0.45])


def test_large_logits_do_not_overflow():
    runs = [Predictions(np.array([[1e4, 0.0]], dtype=np.float32), np.array([0]))]
    assert ensemble(runs)[0] == pytest.approx([1, 0])


def test_churn_is_the_share_of_answers_that_differ():
    assert churn(np.array([0, 1, 2, 2]), np.array([0, 1, 1, 2])) == 0.25


def test_the_hardest_images_are_those_most_runs_miss():
    predicted = [np.array(answers) for answers in ([0, 1, 0, 0], [0, 1, 0, 1], [0, 1, 1, 1])]
    first, second = hardest(predicted, LABELS, 5)
    assert tuple(first) == (2, 2, 1.0, 0)
    assert tuple(second) == (3, 1, pytest.approx(1 / 3), 0)
    assert hardest(predicted, LABELS, 1) == [first]


def test_a_confusion_matrix_counts_classes_by_rows():
    assert confusion(np.array([0, 2, 2, 1]), LABELS, 3).tolist() == [[1, 0, 0], [0, 1, 1], [0, 0, 1]]
