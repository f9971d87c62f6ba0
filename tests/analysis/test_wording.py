"""How metrics are written, and which way is better."""

import pytest

from cnnbench.analysis.metrics import Scale, higher_is_better
from cnnbench.analysis.wording import listed, plural


@pytest.mark.parametrize(
    ("metric", "value", "difference", "interval", "unit"),
    [
        ("test_accuracy", "91.25", "+91.25", "[-0.10, +1.00]", "points"),
        ("train_val_gap", "91.25", "+91.25", "[-0.10, +1.00]", "points"),
        ("test_loss", "0.9125", "+0.9125", "[-0.001, +0.01]", ""),
    ],
)
def test_fractions_are_written_in_per_cent_and_points(metric, value, difference, interval, unit):
    scale = Scale.of(metric)
    assert scale.write(0.9125) == value
    assert scale.write_difference(0.9125) == difference
    assert scale.write_interval((-0.001, 0.01)) == interval
    assert scale.difference_unit == unit


def test_less_is_better_of_losses_and_costs():
    lower = ["test_loss", "train_seconds", "model_bytes", "latency_ms", "macs", "parameters", "train_val_gap"]
    assert not any(map(higher_is_better, lower))
    assert all(map(higher_is_better, ["test_accuracy", "images_per_second", "objective"]))


def test_counts_and_seeds_are_written_as_people_do():
    assert [plural(count, "run") for count in (0, 1, 2)] == ["0 runs", "1 run", "2 runs"]
    assert [listed(seeds) for seeds in ([3], [2, 0, 1], [0, 1, 3], [5, 1])] == ["3", "0 to 2", "0, 1, 3", "1, 5"]
