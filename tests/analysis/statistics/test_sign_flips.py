"""The sign-flip test against SciPy and against counting by hand, and the step-down maximum of a family."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from cnnbench.analysis.statistics.sign_flips import gone_on, sign_flip_p, signed_ranks, step_down_maximum

untimed = settings(deadline=None)
image_counts = st.lists(st.integers(-300, 300), min_size=2, max_size=10)
accuracies = image_counts.map(lambda counts: np.array([(9000 + count) / 10_000 - 9000 / 10_000 for count in counts]))


def draw(n, mean=0.0, sd=1.0, seed=0):
    return np.random.default_rng(seed).normal(mean, sd, n)


def by_seed(rows):
    return [dict(enumerate(map(float, row))) for row in rows]


@pytest.mark.parametrize("n", [2, 5, 8, 11])
def test_the_sign_flip_p_is_that_of_scipy_over_all_patterns(n):
    for seed in range(5):
        values = np.round(draw(n, 0.5, seed=seed) * 64) / 64  # exact in binary: SciPy sees the same ties
        expected = stats.permutation_test((values,), np.mean, permutation_type="samples", n_resamples=np.inf)
        assert sign_flip_p(values) == pytest.approx(expected.pvalue, rel=1e-12)


@untimed
@given(accuracies)
def test_the_sign_flip_p_counts_patterns_as_whole_images_do(differences):
    images = [round(10_000 * difference) for difference in differences]
    patterns = itertools.product((-1, 1), repeat=len(images))
    sums = [abs(sum(sign * count for sign, count in zip(signs, images, strict=True))) for signs in patterns]
    assert sign_flip_p(differences) == sum(s >= abs(sum(images)) for s in sums) / len(sums)


def test_many_pairs_are_tested_on_random_patterns_close_to_the_t_test():
    values = draw(200, 0.15)
    assert sign_flip_p(values) == pytest.approx(stats.ttest_1samp(values, 0).pvalue, abs=0.005)
    assert sign_flip_p(values + 10) == 1 / 100_000


def test_signed_ranks_are_those_of_wilcoxon_and_put_infinity_last():
    assert list(signed_ranks(np.array([0.3, -0.1, -math.inf, 0.2]))) == [3, -1, -4, 2]
    assert list(signed_ranks(np.array([1.0, -1.0, 2.0]))) == [1.5, -1.5, 3]


def statistic_by_hand(row, typical):
    n, mean, square = len(row), np.mean(row), np.mean(np.square(row))
    third = np.mean((row - mean) ** 3)
    variance = np.var(row, ddof=1) + typical
    corrected = mean + third / (6 * n * variance) + third * mean**2 / (3 * variance * (square + typical))
    return abs(corrected) * math.sqrt(n / (square + typical))


def test_the_step_down_maximum_is_counted_pattern_by_pattern():
    rows = np.array([draw(6, 0.9, seed=1), draw(6, 0.2, seed=2), draw(6, 0.5, 3.0, seed=3)])
    typical = np.median((rows**2).mean(axis=1))
    observed = [statistic_by_hand(row, typical) for row in rows]
    order = sorted(range(3), key=lambda i: -observed[i])
    expected, largest = {}, 0.0
    for rank, i in enumerate(order):
        patterns = [np.array(signs) for signs in itertools.product((-1, 1), repeat=6)]
        maxima = [max(statistic_by_hand(rows[j] * signs, typical) for j in order[rank:]) for signs in patterns]
        largest = max(largest, np.mean([maximum >= observed[i] * (1 - 1e-9) for maximum in maxima]))
        expected[i] = largest
    assert step_down_maximum(by_seed(rows)) == pytest.approx([expected[i] for i in range(3)])


def test_six_seeds_decide_one_of_sixteen():
    rows = [draw(6, sd=0.3, seed=seed) for seed in range(15)] + [2.0 + draw(6, sd=0.3, seed=20)]
    assert step_down_maximum(by_seed(rows))[-1] == 2 / 2**6


def test_the_adjusted_p_is_at_least_that_of_fewer_rows_and_keeps_the_order_of_the_rows():
    rows = [draw(8, mean, seed=seed) for seed, mean in enumerate((1.5, 0.5, 0.0, -1.0))]
    together = step_down_maximum(by_seed(rows))
    assert step_down_maximum(by_seed(rows[::-1])) == together[::-1]
    assert all(0 < p <= 1 for p in together)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e9])
def test_unit_and_sign_of_all_rows_do_not_matter(scale):
    rows = [draw(7, mean, seed=seed) for seed, mean in enumerate((1.0, 0.3, -0.5))]
    expected = step_down_maximum(by_seed(rows))
    assert step_down_maximum(by_seed([-scale * row for row in rows])) == expected


def test_rows_may_lack_seeds_change_nothing_or_miss_their_target():
    rows = by_seed([draw(8, 2.0, 0.3, seed=1), np.zeros(8), draw(8, 0.0, 0.3, seed=2)])
    del rows[2][0], rows[2][5]
    rows.append(dict.fromkeys(range(8), -math.inf))
    clear, nothing, noise, missed = step_down_maximum(rows)
    assert clear == missed == 2 / 2**8
    assert nothing == 1.0
    assert noise > 0.05


def test_few_pairs_that_are_large_by_luck_do_not_stand_before_many():
    many, few = 0.4 + draw(20, sd=0.5, seed=6), np.array([2.0, 1.5, 1.8, -0.3, 1.2, 0.9])
    assert few.mean() > many.mean()
    p_many, p_few = step_down_maximum(by_seed([many, few]))
    assert p_many < 0.01 < p_few


def test_what_stopped_goes_on_as_it_was_with_random_signs():
    rows = by_seed([np.arange(1.0, 9.0), draw(14, seed=2)])
    stopped, other = gone_on(rows)
    assert other == rows[1]
    assert list(stopped) == list(range(14))
    assert [stopped[seed] for seed in range(8)] == list(range(1, 9))
    assert {abs(stopped[seed]) for seed in range(8, 14)} <= set(range(1, 9))
    assert gone_on(rows) == gone_on(rows)


def test_twenty_seeds_are_judged_on_random_patterns():
    rows = by_seed([draw(20, 1.0, seed=1), draw(20, seed=2)])
    found = step_down_maximum(rows)
    assert found[0] < 0.01
    assert found == step_down_maximum(rows)


def test_no_rows_have_no_p():
    assert step_down_maximum([]) == []


def test_the_family_errs_in_five_percent_where_baseline_and_seeds_are_shared():
    generator = np.random.default_rng(0)
    wrong = 0
    for _ in range(600):
        rows = generator.normal(0, 1, (16, 8)) - generator.normal(0, 1, 8)
        wrong += min(step_down_maximum(by_seed(rows))) <= 0.05
    assert wrong / 600 <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / 600)
