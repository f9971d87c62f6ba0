"""Two groups whose seeds do not match."""

import math

import numpy as np
import pytest
from scipy import stats

from cnnbench.analysis.statistics.unpaired import p_floor, permutation_p, welch, welch_interval, welch_p_beyond


def draw(n, mean=0.0, sd=1.0, seed=0):
    return np.random.default_rng(seed).normal(mean, sd, n)


def test_the_interval_is_welchs_of_scipy():
    ours, theirs = draw(10, seed=1), draw(12, 0.7, 3.0, seed=2)
    expected = stats.ttest_ind(theirs, ours, equal_var=False).confidence_interval(0.95)
    assert welch_interval(ours, theirs) == pytest.approx(tuple(expected))
    assert welch_interval(ours[:1], theirs) is None
    assert welch(np.ones(4), np.ones(5)) == (0.0, math.inf)
    assert welch_interval(np.ones(4), np.full(5, 3.0)) == (2.0, 2.0)


@pytest.mark.parametrize(("n", "m"), [(4, 4), (5, 7), (6, 3)])
def test_the_permutation_p_is_that_of_scipy_over_all_splits(n, m):
    ours, theirs = (np.round(draw(size, mean, seed=size) * 64) / 64 for size, mean in ((n, 0.0), (m, 1.5)))

    def size_of_t(a, b):
        return abs(stats.ttest_ind(a, b, equal_var=False).statistic)

    expected = stats.permutation_test((ours, theirs), size_of_t, n_resamples=np.inf, alternative="greater").pvalue
    assert permutation_p(ours, theirs) == pytest.approx(expected)


def test_the_floor_is_reached_by_groups_that_do_not_overlap():
    for n, m in ((4, 4), (3, 6)):
        assert permutation_p(draw(n), draw(m, 100)) == p_floor(n, m)
    assert p_floor(4, 4) == 2 / 70
    assert p_floor(3, 6) == 1 / 84


def test_many_runs_are_split_at_random_close_to_the_t_test():
    ours, theirs = draw(40, seed=1), draw(30, 0.6, seed=2)
    expected = stats.ttest_ind(ours, theirs, equal_var=False).pvalue
    assert permutation_p(ours, theirs) == pytest.approx(expected, abs=0.01)


def test_groups_lie_within_the_margin_exactly_where_their_interval_does():
    ours, theirs = draw(9, seed=1), draw(12, 0.3, seed=2)
    furthest = max(map(abs, welch_interval(ours, theirs)))
    assert welch_p_beyond(ours, theirs, furthest * 1.001) <= 0.05 < welch_p_beyond(ours, theirs, furthest * 0.999)
    assert welch_p_beyond(np.ones(4), np.ones(4), 0.1) == 0.0
    assert welch_p_beyond(ours[:1], theirs, 100.0) == 1.0


def test_groups_without_a_difference_differ_in_five_percent():
    generator = np.random.default_rng(3)
    wrong = [permutation_p(generator.normal(size=6), generator.normal(0, 2, size=6)) <= 0.05 for _ in range(800)]
    assert sum(wrong) / 800 <= 0.06 + 2 * math.sqrt(0.05 * 0.95 / 800)
