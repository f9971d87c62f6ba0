"""Curves of several runs: what their mean is, and how far it goes."""

import math

import numpy as np
import pytest

from cnnbench.analysis.curves import MOST_POINTS, mean_curve


def lines(*values):
    return [{"epoch": epoch, "val_loss": value} for epoch, value in enumerate(values, 1)]


def test_a_curve_is_the_mean_and_deviation_of_the_runs():
    curve = mean_curve([lines(1.0, 2.0), lines(3.0, 5.0)], "val_loss")
    assert curve.epochs.tolist() == [1, 2]
    assert curve.mean.tolist() == [2.0, 3.5]
    assert curve.sd == pytest.approx([math.sqrt(2), 1.5 * math.sqrt(2)])


def test_a_curve_ends_where_the_first_run_does():
    assert mean_curve([lines(1.0, 2.0, 3.0), lines(1.0, 2.0)], "val_loss").epochs.tolist() == [1, 2]


def test_one_run_has_no_deviation():
    assert mean_curve([lines(1.0)], "val_loss").sd is None


@pytest.mark.parametrize("value", [None, math.nan, math.inf, "0.5", True, [1]])
def test_what_is_no_number_ends_a_curve(value):
    assert mean_curve([lines(1.0, value, 3.0)], "val_loss").mean.tolist() == [1.0]
    assert mean_curve([lines(value)], "val_loss") is None


def test_lines_that_are_no_objects_count_as_nothing():
    assert mean_curve([[1, "a", None]], "val_loss") is None
    assert mean_curve([], "val_loss") is None


def test_a_long_curve_is_thinned_and_keeps_its_ends():
    curve = mean_curve([lines(*map(float, range(1000)))], "val_loss")
    assert len(curve.epochs) == MOST_POINTS
    assert (curve.epochs[0], curve.epochs[-1]) == (1, 1000)
    assert (np.diff(curve.epochs) > 0).all()
    assert (curve.mean == curve.epochs - 1).all()
