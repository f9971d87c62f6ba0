"""Which way is better, what a missing number means, and how metrics are written."""

import math

import pytest

from cnnbench.analysis.metrics import METRICS, metric_of, number_of
from cnnbench.errors import ConfigError
from cnnbench.runs.format import SUMMARY_KEYS

NO_METRICS = """format status error exit_code run_id config_hash group_hash seed model data epochs steps best_epoch
test_reads weights_sha256 device precision memory_format compile threads target selected_epoch version torch image_shape
processor data_fingerprints files lengthened load_at_start load_at_end parent origin clock teacher"""


def test_every_number_of_the_summary_that_can_be_judged_is_in_the_table():
    assert set(SUMMARY_KEYS) - set(NO_METRICS.split()) == set(METRICS)


@pytest.mark.parametrize(
    ("metric", "value", "difference", "interval", "unit"),
    [
        ("test_accuracy", "91.25", "+91.25", "[-0.10, +1.00]", "points"),
        ("train_val_gap", "91.25", "+91.25", "[-0.10, +1.00]", "points"),
        ("test_loss", "0.9125", "+0.9125", "[-0.001, +0.01]", ""),
        ("latency_ms", "0.9125", "+0.9125", "[-0.001, +0.01]", "ms"),
    ],
)
def test_fractions_are_written_in_per_cent_and_points(metric, value, difference, interval, unit):
    found = metric_of(metric)
    assert found.write(0.9125) == value
    assert found.write_difference(0.9125) == difference
    assert found.write_interval((-0.001, 0.01)) == interval
    assert found.difference_unit == unit


def test_less_is_better_of_losses_times_and_sizes():
    higher = {key for key, metric in METRICS.items() if metric.higher_is_better}
    assert higher == {
        "test_accuracy", "test_top5_accuracy", "best_val_accuracy", "objective", "train_accuracy", "images_per_second",
        "speedup", "speedup_over_eager", "size_ratio",
    }  # fmt: skip


def test_an_unknown_metric_is_told_with_the_nearest():
    with pytest.raises(ConfigError, match="metric=test_acuracy: no such metric; did you mean 'test_accuracy'"):
        metric_of("test_acuracy")


def test_a_missed_target_is_infinite_and_no_target_is_unknown():
    target = {"metric": "val_accuracy", "value": 0.9}
    assert number_of({"time_to_target": None, "target": target}, "time_to_target") == math.inf
    assert number_of({"time_to_target": 3, "target": target}, "time_to_target") == 3.0
    assert number_of({"time_to_target": None, "target": target | {"value": None}}, "time_to_target") is None
    assert number_of({"test_loss": None, "target": target}, "test_loss") is None


@pytest.mark.parametrize(
    ("difference", "shown"),
    [(0.0, "0.00"), (0.00003, "+0.003"), (-0.00004, "-0.004"), (0.0031, "+0.31"), (-0.00005, "-0.01")],
)
def test_rounding_hides_neither_a_sign_nor_that_there_is_none(difference, shown):
    assert metric_of("test_accuracy").write_difference(difference) == shown
