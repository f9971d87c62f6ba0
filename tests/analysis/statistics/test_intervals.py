"""Intervals: what they cover, and the tests that are the same question asked the other way round."""

import math
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats

from cnnbench.analysis.statistics.intervals import (
    difference_interval,
    largest_unseen_share,
    mean_interval,
    median_with_misses,
    p_beyond,
    share_interval,
)
from cnnbench.analysis.statistics.mcnemar import mcnemar

untimed = settings(deadline=None)
rows = st.lists(st.integers(-300, 300), min_size=2, max_size=12).map(lambda counts: np.array(counts) / 10_000)


def draw(n, mean=0.0, sd=1.0, seed=0):
    return np.random.default_rng(seed).normal(mean, sd, n)


def hall(row, true):
    """Hall's (1992) transformation of the t statistic, by his formula."""
    n, t = len(row), (row.mean() - true) / (row.std(ddof=1) / math.sqrt(len(row)))
    skewness = stats.skew(row)
    return t + skewness * t**2 / (3 * math.sqrt(n)) + skewness**2 * t**3 / (27 * n) + skewness / (6 * math.sqrt(n))


@pytest.mark.parametrize(("n", "level"), [(3, 0.97), (7, 0.97), (9, 0.96), (20, 0.95)])
def test_the_interval_is_that_of_t_or_halls_whichever_reaches_further(n, level):
    row = np.random.default_rng(n).exponential(1, n)
    quantile = stats.t.isf((1 - level) / 2, n - 1)
    half = quantile * row.std(ddof=1) / math.sqrt(n)
    low = optimize.brentq(lambda true: hall(row, true) - quantile, row.mean() - 50, row.mean() + 50)
    high = optimize.brentq(lambda true: hall(row, true) + quantile, row.mean() - 50, row.mean() + 50)
    expected = (
        min(row.mean() - half, max(low, row.mean() - 2 * half)),
        max(row.mean() + half, min(high, row.mean() + 2 * half)),
    )
    assert difference_interval(row) == pytest.approx(expected, abs=1e-9)


def test_values_without_a_skew_have_the_t_interval():
    row = np.array([-3.0, -3, -2, -1, -1, 1, 1, 2, 3, 3]) + 0.5
    assert difference_interval(row) == pytest.approx(tuple(stats.ttest_1samp(row, 0).confidence_interval(0.95)))


def test_one_value_has_no_interval_and_equal_ones_only_from_six_on():
    assert difference_interval(np.array([0.5])) is None
    assert difference_interval(np.array([0.5] * 5)) is None
    assert difference_interval(np.array([0.5] * 6)) == (0.5, 0.5)
    assert difference_interval(np.zeros(6)) == (0.0, 0.0)


@untimed
@given(rows)
def test_swapping_candidate_and_baseline_mirrors_the_interval(row):
    one, other = difference_interval(row), difference_interval(-row)
    assert (one is None) == (other is None)
    if one:
        assert other == pytest.approx((-one[1], -one[0]), abs=1e-12)
        assert one[0] - 1e-12 <= row.mean() <= one[1] + 1e-12


@untimed
@given(rows, st.floats(0, 0.05))
def test_a_difference_lies_within_the_margin_exactly_where_its_interval_does(row, margin):
    interval = difference_interval(row)
    if interval is None:
        assert p_beyond(row, margin) == 1.0
    elif abs(furthest := max(map(abs, interval)) - margin) > 1e-8:
        assert (p_beyond(row, margin) <= 0.05) == (furthest < 0)


def test_the_margin_itself_rounded_up_still_counts():
    assert p_beyond(np.array([0.922 - 0.92] * 6), 0.002) == 0.0


def test_no_interval_gives_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for row in ([0.0, 0.0, 0.0, 0.0, 0.0, 1.0], [1e-4, -1e-4], [0.92 - 0.91, 0.93 - 0.92, 0.71 - 0.7]):
            difference_interval(np.array(row))
            p_beyond(np.array(row), 0.1)


@pytest.mark.parametrize("n", [2, 3, 5, 6, 8, 12])
@pytest.mark.parametrize("shape", ["normal", "standard_exponential", "laplace"])
def test_the_interval_covers_the_mean(n, shape):
    generator = np.random.default_rng(n)
    true = 1.0 if shape == "standard_exponential" else 0.0
    drawn = getattr(generator, shape)(size=(1500, n))
    covered = sum(low <= true <= high for low, high in map(difference_interval, drawn)) / 1500
    assert covered >= 0.94 - 2 * math.sqrt(0.94 * 0.06 / 1500)


def test_the_interval_of_a_mean_is_that_of_the_t_distribution():
    values = draw(7, 3.0)
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert mean_interval(values) == pytest.approx(tuple(expected))
    assert mean_interval([2.0]) is None
    assert mean_interval([2.0, 2.0]) == (2.0, 2.0)


def test_a_miss_counts_as_an_infinite_time():
    assert median_with_misses([3.0, math.inf, 1.0]) == (3.0, None)
    assert median_with_misses([1.0, 2.0, math.inf, math.inf])[0] == math.inf
    assert median_with_misses([5.0, 1.0, math.inf, 2.0, 3.0, 4.0]) == (3.5, (1.0, math.inf))
    assert median_with_misses([math.inf] * 6) == (math.inf, (math.inf, math.inf))


@pytest.mark.parametrize("n", [1, 5, 6, 9, 15, 30])
def test_the_interval_of_a_median_is_the_narrowest_that_covers_it_in_95_percent(n):
    interval = median_with_misses(list(range(1, n + 1)))[1]
    covered = {k: 1 - 2 * sum(math.comb(n, i) for i in range(k)) / 2**n for k in range(1, n // 2 + 1)}
    ranks = [k for k, coverage in covered.items() if coverage >= 0.95]
    assert interval == ((max(ranks), n + 1 - max(ranks)) if ranks else None)


@pytest.mark.parametrize(("count", "n"), [(0, 6), (1, 10), (4, 10), (20, 20)])
def test_the_interval_of_a_share_is_the_exact_one_of_scipy(count, n):
    expected = stats.binomtest(count, n).proportion_ci(0.95, method="exact")
    assert share_interval(count, n) == pytest.approx(tuple(expected), abs=1e-9)


def test_a_failure_of_the_largest_unseen_share_stays_unseen_in_one_of_twenty_cases():
    for n in (6, 8, 20):
        assert (1 - largest_unseen_share(n)) ** n == pytest.approx(0.05)
    assert largest_unseen_share(0) == 1.0


@untimed
@given(st.integers(0, 200), st.integers(0, 200))
def test_mcnemar_is_the_binomial_test_of_the_images_only_one_gets_right(first, second):
    expected = stats.binomtest(first, first + second).pvalue if first + second else 1.0
    assert mcnemar(first, second) == pytest.approx(expected, rel=1e-6)
    assert mcnemar(first, second) == mcnemar(second, first)


def test_statistics_need_neither_torch_nor_scipy_until_asked():
    code = "import sys, cnnbench.analysis.judging; sys.exit(bool({'torch', 'scipy'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[3]).returncode == 0
