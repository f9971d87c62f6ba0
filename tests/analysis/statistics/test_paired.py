"""What a row of differences shows, alone."""

import itertools
import math
import operator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from cnnbench.analysis.statistics.paired import Difference, outlying_place, paired_difference

accuracies = st.lists(st.integers(-300, 300), min_size=2, max_size=10).map(lambda counts: [c / 10_000 for c in counts])


def test_mean_spread_and_effect_size_are_those_of_the_textbook():
    difference = paired_difference([0.01, 0.03, 0.02, 0.04])
    assert difference.n_pairs == 4
    assert difference.mean == pytest.approx(0.025)
    assert difference.sd == pytest.approx(math.sqrt((0.015**2 + 0.005**2 + 0.005**2 + 0.015**2) / 3))
    assert difference.effect_size == pytest.approx(difference.mean / difference.sd)


@settings(deadline=None)
@given(accuracies)
def test_the_order_of_pairs_and_the_unit_do_not_matter(differences):
    one, other = paired_difference(differences), paired_difference([100 * value for value in sorted(differences)])
    assert other.p_value == one.p_value
    assert other.mean == pytest.approx(100 * one.mean, abs=1e-9)


def test_three_pairs_have_a_p_of_at_least_a_quarter():
    difference = paired_difference([0.5, 0.6, 0.7])
    assert difference.p_floor == difference.p_value == 0.25


def test_one_pair_and_no_pair_are_measured_without_a_test():
    assert paired_difference([0.25]) == Difference(1, 0.25, None, 1.0, 1.0, None, None)
    none = paired_difference([])
    assert math.isnan(none.mean)
    assert (none.n_pairs, none.ci95, none.p_value, none.p_floor) == (0, None, None, None)


def test_a_difference_that_is_not_a_number_is_refused():
    with pytest.raises(ValueError, match="have to be numbers"):
        paired_difference([0.1, math.nan])


def test_equal_differences_have_no_spread():
    assert paired_difference([0.0] * 6) == Difference(6, 0.0, (0.0, 0.0), 1.0, 2 / 64, None, 0.0)
    assert paired_difference([0.92 - 0.91, 0.93 - 0.92, 0.71 - 0.7]).sd == 0.0  # equal but for rounding


def test_a_missed_target_counts_as_the_largest_difference_of_all():
    difference = paired_difference([-3.0, -1.0, -2.0, -4.0, -5.0, -math.inf])
    assert (difference.mean, difference.ci95, difference.sd) == (-math.inf, None, None)
    assert difference.p_value == difference.p_floor == 2 / 2**6
    mixed = paired_difference([-1.0, -2.0, -3.0, -4.0, -5.0, math.inf])  # signed ranks -1, -2, -3, -4, -5, +6
    totals = [abs(sum(map(operator.mul, signs, range(1, 7)))) for signs in itertools.product((-1, 1), repeat=6)]
    assert mixed.p_value == sum(total >= 9 for total in totals) / 64
    assert paired_difference([0.0, math.inf, -math.inf]).p_value == 1.0


def test_a_seed_outlies_by_the_test_of_grubbs():
    row = np.array([0.1, -0.1, 0.2, 0.0, -0.2, 0.05, -0.05, 0.0])
    assert outlying_place(row) is None
    assert outlying_place(np.append(row, -3.0)) == 8
    assert outlying_place(np.array([0.0] * 6)) is None
    assert outlying_place(np.array([0.0, 0.0, 9.0])) is None  # too few to tell


def test_of_normal_rows_one_in_a_hundred_has_an_outlying_seed():
    found = [outlying_place(row) is not None for row in np.random.default_rng(0).normal(size=(4000, 9))]
    low, high = stats.binomtest(sum(found), 4000).proportion_ci(0.99)
    assert low <= 0.01 <= high
