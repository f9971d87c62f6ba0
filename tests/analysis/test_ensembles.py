"""Saved predictions: what is read, and what is computed from several runs."""

import numpy as np
import pytest
from run_folders import make_run, save_predictions

from cnnbench.analysis.ensembles import answers_together, churn, confusion, ensemble, hardest
from cnnbench.runs.predictions import Predictions, load_predictions, write_predictions

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


def test_every_accuracy_counts_the_answers_before_they_were_rounded_to_float16(tmp_path):
    logits = np.array([[5.001, 5.0, 0], [5.0, 5.001, 0], [0, 1, 2], [0, 5.0, 5.0]], dtype=np.float32)
    write_predictions(tmp_path, logits, np.array([0, 1, 2, 2]))
    saved = load_predictions(tmp_path)
    assert saved.logits.argmax(1).tolist() == [0, 0, 2, 1]  # they tie
    assert saved.predicted.tolist() == answers_together([saved]).tolist() == [0, 1, 2, 1]
    with np.load(tmp_path / "predictions.npz") as arrays:
        assert arrays["predicted"].dtype == np.uint8
        older = {name: arrays[name] for name in ("logits", "labels", "indices")}
    np.savez(tmp_path / "predictions.npz", **older)
    assert load_predictions(tmp_path).predicted.tolist() == [0, 0, 2, 1]


@pytest.mark.parametrize(
    "answers", [[0, 1, 1, 3], [0, 1, 1, -1], [0, 1, 1], [[0, 1, 1, 2]], [0.0, 1.0, 1.0, 2.0], [0, 1, 2, 2]]
)
def test_saved_answers_that_no_run_gives_are_damage(tmp_path, answers):
    arrays = {"logits": logits_for(0, 1, 1, 2), "labels": LABELS}
    np.savez(tmp_path / "predictions.npz", **arrays, predicted=np.array([0, 1, 1, 2]))
    assert load_predictions(tmp_path) is not None
    np.savez(tmp_path / "predictions.npz", **arrays, predicted=np.array(answers))
    assert load_predictions(tmp_path) is None


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
