"""Groups of runs by their saved predictions: which runs are set against each other, and what of."""

import json

import numpy as np
import pytest
from run_folders import CONFIG, make_run

from cnnbench.analysis.compared_predictions import compare_predictions, compare_two
from cnnbench.analysis.groups import collect
from cnnbench.analysis.statistics.population import population_difference
from cnnbench.runs.predictions import Predictions, write_predictions

LABELS = np.arange(40) % 4


def answering(right):
    """A run that is right on these images, and answers the next class on the others."""
    labels = np.arange(len(right)) % 4
    answers = np.where(right, labels, (labels + 1) % 4)
    return Predictions(np.eye(4, dtype=np.float32)[answers] * 4, labels, answers)


def first_wrong(count):
    return answering(np.arange(40) >= count)


def test_ensembles_of_equal_sizes_are_compared_over_the_shared_seeds():
    ours = {seed: first_wrong(4) for seed in range(5)}
    theirs = {3: first_wrong(1), 9: first_wrong(40)}
    found = compare_two(ours, theirs)
    assert (found["n_runs"], found["shared_seeds"]) == (1, [3])
    assert (found["only_baseline_right"], found["only_candidate_right"], found["mcnemar_p"]) == (0, 3, 0.25)
    assert found["churn"] == pytest.approx(3 / 40)
    assert found["population"] is None


def test_without_shared_seeds_the_first_of_each_are_compared_as_many_as_the_fewer():
    ours = {5: first_wrong(40), 0: first_wrong(4), 1: first_wrong(4)}
    theirs = {8: first_wrong(2), 7: first_wrong(2)}
    found = compare_two(ours, theirs)
    assert (found["n_runs"], found["shared_seeds"]) == (2, [])
    assert (found["only_baseline_right"], found["only_candidate_right"]) == (0, 2)
    assert found["churn"] is None
    assert found["population"] is None


def test_runs_with_shared_seeds_say_what_holds_beyond_these_images():
    generator = np.random.default_rng(0)
    right = generator.random((2, 4, 40)) < np.array([0.7, 0.9])[:, None, None]
    ours, theirs = ({seed: answering(row) for seed, row in enumerate(rows)} for rows in right)
    population = compare_two({**ours, 7: first_wrong(40)}, theirs)["population"]
    expected = population_difference(*right)
    assert population["mean_difference"] == expected.mean == pytest.approx(right[1].mean() - right[0].mean())
    assert (population["n_seeds"], population["n_images"]) == (4, 40)
    assert (population["ci95"], population["p_value"]) == (expected.ci95, expected.p_value)
    assert "mean" not in population
    json.dumps(population)


def test_an_ensemble_of_five_is_not_set_against_a_single_run():
    """Five to one, runs of the same config are found to differ nearly always."""
    generator = np.random.default_rng(0)
    p_values = []
    for _ in range(100):
        chances = np.where(generator.random(400) < 0.5, 1.0, 0.7)
        runs = [answering(generator.random(400) < chances) for _ in range(6)]
        p_values.append(compare_two(dict(enumerate(runs[:5])), {5: runs[5]})["mcnemar_p"])
    assert np.mean(np.array(p_values) <= 0.05) < 0.1


def test_a_difference_in_accuracy_is_that_of_the_summaries(tmp_path):
    for name, wrong, config in (("a", 6, {}), ("b", 2, {"optimizer": CONFIG["optimizer"] | {"lr": 0.5}})):
        for seed in range(3):
            predictions = first_wrong(wrong + seed)
            accuracy = float((predictions.predicted == LABELS).mean())
            write_predictions(
                make_run(tmp_path / f"{name}{seed}", accuracy, seed=seed, config=config), predictions.logits, LABELS
            )
    groups = collect([tmp_path], "test_accuracy").groups
    document = compare_predictions([(groups[0], groups[1])], groups)
    means = [group.mean("test_accuracy") for group in groups]
    (pair,) = document["comparisons"]
    assert pair["n_runs"] == 3
    assert pair["population"]["mean_difference"] == pytest.approx(means[1] - means[0])
    assert document["mcnemar_judges"] == "these two ensembles on these images, not the techniques"


def test_where_each_seed_has_test_images_of_its_own_those_that_cannot_be_compared_are_left_out(tmp_path):
    by_seed = {"data": CONFIG["data"] | {"split_seed": None}}
    for name, epochs in (("a", 3), ("b", 9)):
        for seed in range(3):
            run = make_run(tmp_path / f"{name}{seed}", seed=seed, config=by_seed | {"epochs": epochs})
            labels = np.roll(LABELS, seed)
            write_predictions(run, np.eye(4, dtype=np.float32)[labels], labels)
    groups = collect([tmp_path], "test_accuracy").groups
    document = compare_predictions([(groups[0], groups[1])], groups)
    assert [comparison["shared_seeds"] for comparison in document["comparisons"]] == [[0]]
    assert document["left_out"] == [str(tmp_path / name) for name in ("a1", "a2", "b1", "b2")]
