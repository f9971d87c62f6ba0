"""Ratios of times, against SciPy's t intervals; how they are written."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from cnnbench.analysis.ratios import Ratio, ratio_of, write_ratio

POSITIVE = st.floats(1e-3, 1e3)


def by_seed(values):
    return dict(enumerate(map(float, values)))


def test_the_ratio_is_the_geometric_mean_with_the_t_interval_of_the_logarithms():
    logs = np.array([-0.3, -0.2, -0.1, -0.05, 0.0, 0.0, 0.05, 0.1, 0.2, 0.3]) + math.log(1.5)  # no skew
    baseline = np.random.default_rng(0).lognormal(2, 1, 10)
    found = ratio_of(by_seed(baseline), by_seed(baseline * np.exp(logs)), paired=True)
    assert found.ratio == pytest.approx(1.5)
    expected = stats.t.interval(0.95, 9, logs.mean(), stats.sem(logs))
    assert found.interval == pytest.approx(tuple(np.exp(expected)), rel=1e-6)
    assert found.is_distinguishable


def test_groups_that_are_not_paired_go_by_welch():
    rng = np.random.default_rng(0)
    ours, theirs = rng.lognormal(2, 0.1, 12), rng.lognormal(2.5, 0.4, 12)
    found = ratio_of(by_seed(ours), {seed + 100: value for seed, value in by_seed(theirs).items()}, paired=False)
    expected = stats.ttest_ind(np.log(theirs), np.log(ours), equal_var=False).confidence_interval(0.95)
    assert found.ratio == pytest.approx(math.exp(np.log(theirs).mean() - np.log(ours).mean()))
    assert found.interval == pytest.approx(tuple(np.exp(expected)))
    assert (found.runs, found.is_paired) == (12, False)


@given(st.lists(st.tuples(POSITIVE, POSITIVE), min_size=1, max_size=8))
def test_the_ratio_turned_round_is_one_over_it(pairs):
    ours, theirs = (by_seed(column) for column in zip(*pairs, strict=True))
    there, back = ratio_of(ours, theirs, paired=True), ratio_of(theirs, ours, paired=True)
    assert there.ratio * back.ratio == pytest.approx(1)
    if there.interval:
        assert there.interval[0] * back.interval[1] == pytest.approx(1, rel=1e-6)
        assert there.interval[0] <= there.ratio <= there.interval[1]


@pytest.mark.parametrize("pairs", [2, 3, 5, 10])
@pytest.mark.parametrize("paired", [True, False])
def test_intervals_of_noisy_times_cover(pairs, paired):
    rng, covered = np.random.default_rng(0), 0
    for _ in range(1500):
        ours, theirs = rng.lognormal(2, 0.3, pairs), 1.2 * rng.lognormal(2, 0.3, pairs)
        low, high = ratio_of(by_seed(ours), by_seed(theirs), paired=paired).interval
        covered += low <= 1.2 <= high
    assert covered / 1500 >= 0.94


def test_two_seeds_on_a_busy_machine_look_like_noise():
    found = ratio_of({0: 1.0, 1: 1.0}, {0: 1.2, 1: 2.7}, paired=True)
    assert found.ratio == pytest.approx(1.8)
    assert not found.is_distinguishable
    assert write_ratio(found) == "1.80x [<0.001, >1000]"


def test_a_seed_without_a_partner_or_a_positive_number_takes_no_part():
    ours = {0: 2.0, 1: 4.0, 2: math.inf, 3: 1.0, 9: 5.0}
    found = ratio_of(ours, {0: 4.0, 1: 8.0, 2: 1.0, 3: 0.0, 7: 1.0}, paired=True)
    assert (found.ratio, found.runs) == (pytest.approx(2), 2)
    assert ratio_of({0: 1.0}, {1: 1.0}, paired=True) is None
    assert ratio_of({}, {1: 1.0}, paired=False) is None


@pytest.mark.parametrize(("pairs", "sure"), [(1, False), (2, False), (5, False), (6, True)])
def test_without_any_spread_six_pairs_are_sure(pairs, sure):
    found = ratio_of(by_seed([10.0] * pairs), by_seed([20.0] * pairs), paired=True)
    assert found.is_distinguishable is sure


@pytest.mark.parametrize(
    ("ratio", "interval", "runs", "text"),
    [
        (1.82, (0.4, 8.1), 2, "1.82x [0.4, 8.1]"),
        (1.82, (1.75, 1.9), 5, "1.82x [1.75, 1.90]"),
        (1.8, None, 1, "1.8x (one pair)"),
        (1.03, None, 1, "1.03x (one pair)"),
        (2.0, None, 3, "2.00x (3 pairs without spread)"),
        (1.003, (1.001, 1.005), 8, "1.003x [1.001, 1.005]"),
        (0.998, (0.9961, 0.9999), 8, "0.998x [0.996, 0.9999]"),
        (1.0, (0.9, 1.1), 8, "1.00x [0.90, 1.10]"),
        (12.34, (11.8, 12.9), 8, "12.3x [12, 13]"),
        (0.02, (0.001, 0.96), 3, "0.02x [0.001, 0.96]"),
    ],
)
def test_a_ratio_is_written_with_the_digits_it_deserves(ratio, interval, runs, text):
    assert write_ratio(Ratio(ratio, interval, runs, is_paired=True)) == text


@given(st.floats(0.002, 900), st.floats(1.0001, 30), st.floats(1.0001, 30))
def test_rounding_hides_no_difference_from_one(ratio, below, above):
    low, high = max(ratio / below, 0.002), min(ratio * above, 900)
    written = write_ratio(Ratio(ratio, (low, high), 5, is_paired=True))
    shown = [
        float(part) for part in written.replace("x", "").replace("[", "").replace("]", "").replace(",", "").split()
    ]
    for number, value in zip(shown, (ratio, low, high), strict=True):
        assert np.sign(number - 1) == np.sign(value - 1) or abs(value - 1) < 1e-6
