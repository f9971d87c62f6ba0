"""What the benchmarks compute from what they have timed."""

import json
import math

import pytest
from scaling import log_log_fit
from time_to_accuracy import recipe_seconds, seconds_to_reach


def test_the_slope_of_a_power_law_is_its_exponent():
    slope, deviation = log_log_fit([16, 32, 64], [3 * x**2 for x in (16, 32, 64)])
    assert slope == pytest.approx(2)
    assert deviation == pytest.approx(0, abs=1e-9)


def test_the_deviation_is_that_of_the_point_farthest_from_the_line():
    # logarithms 0, log 8, 0 over 0, 1, 2: the line is flat at log(8) / 3 = log 2
    slope, deviation = log_log_fit([1, math.e, math.e**2], [1, 8, 1])
    assert slope == pytest.approx(0, abs=1e-9)
    assert deviation == pytest.approx(8 / 2 - 1)


def test_an_accuracy_is_reached_when_it_first_is_and_never_if_it_is_not():
    seconds, accuracies = [10.0, 20.0, 30.0, 40.0], [None, 0.8, 0.7, 0.8]
    assert seconds_to_reach(0.8, seconds, accuracies) == 20
    assert seconds_to_reach(0.81, seconds, accuracies) == math.inf


def test_a_recipe_reaches_validation_accuracy_in_an_epoch_and_test_accuracy_at_its_end(tmp_path):
    epochs = [{"seconds": 10.0, "val_accuracy": accuracy} for accuracy in (0.5, 0.9, 0.8)]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in epochs))
    (tmp_path / "summary.json").write_text(json.dumps({"format": 1, "train_seconds": 30.0, "test_accuracy": 0.85}))
    assert recipe_seconds(tmp_path, 0.85, "val") == 20
    assert recipe_seconds(tmp_path, 0.85, "test") == 30
    assert recipe_seconds(tmp_path, 0.86, "test") == math.inf
