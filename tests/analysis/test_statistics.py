import itertools
import math
import operator
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from cnnbench.analysis.statistics import (
    MOST_SEEDS,
    PairedDifference,
    holm,
    mcnemar,
    mean_interval,
    median_with_misses,
    paired_differences,
    pairs_for_difference,
    power_of,
    seeds_needed,
    verdict,
)

MARGIN = 0.002
VERDICTS_WITHOUT_TEST = ("no practical effect", "undecided")


def measured(values):
    return paired_differences([values])[0]


def judged(values, margin=MARGIN, **options):
    difference = measured(values)
    return verdict(difference, difference.p_value, margin, **options)


def draw(n, mean=0.0, sd=1.0, seed=0):
    return np.random.default_rng(seed).normal(mean, sd, n)


untimed = settings(deadline=None)
image_counts = st.lists(st.integers(-300, 300), min_size=2, max_size=10)
accuracies = image_counts.map(lambda counts: [(9000 + count) / 10_000 - 9000 / 10_000 for count in counts])


@pytest.mark.parametrize("n", [2, 5, 8, 11])
def test_the_sign_flip_p_is_that_of_scipy_over_all_patterns(n):
    for seed in range(5):
        values = np.round(draw(n, 0.5, seed=seed) * 64) / 64  # exact in binary: SciPy sees the same ties
        expected = stats.permutation_test((values,), np.mean, permutation_type="samples", n_resamples=np.inf)
        assert measured(values).p_value == pytest.approx(expected.pvalue, rel=1e-12)


@untimed
@given(accuracies)
def test_the_sign_flip_p_counts_patterns_as_whole_images_do(differences):
    images = [round(10_000 * difference) for difference in differences]
    patterns = itertools.product((-1, 1), repeat=len(images))
    sums = [abs(sum(sign * count for sign, count in zip(signs, images, strict=True))) for signs in patterns]
    assert measured(differences).p_value == sum(s >= abs(sum(images)) for s in sums) / len(sums)


def test_many_pairs_are_tested_on_random_patterns_close_to_the_t_test():
    values = draw(200, 0.15)
    assert measured(values).p_value == pytest.approx(stats.ttest_1samp(values, 0).pvalue, abs=0.005)
    assert measured(values + 10).p_value == 1 / 100_000


@pytest.mark.parametrize("n", [2, 4, 8, 16])  # powers of two: means of 1/1024ths are exact, so ties are ties for SciPy
def test_the_interval_is_the_bca_interval_of_scipy(n):
    values = np.round(draw(n, 0.3, seed=n) ** 3 * 1024) / 1024
    options = {"method": "BCa", "n_resamples": 9999, "rng": np.random.default_rng(0)}
    expected = stats.bootstrap((values,), np.mean, **options).confidence_interval
    assert measured(values).ci95 == pytest.approx(tuple(expected), rel=1e-12)


def test_mean_spread_and_effect_size_are_those_of_the_textbook():
    difference = measured([0.01, 0.03, 0.02, 0.04])
    assert difference.n_pairs == 4
    assert difference.mean == pytest.approx(0.025)
    assert difference.sd == pytest.approx(math.sqrt((0.015**2 + 0.005**2 + 0.005**2 + 0.015**2) / 3))
    assert difference.effect_size == pytest.approx(difference.mean / difference.sd)


@untimed
@given(accuracies)
def test_swapping_candidate_and_baseline_mirrors_everything_but_p(differences):
    one, other = measured(differences), measured([-value for value in differences])
    assert other.mean == -one.mean
    assert other.p_value == one.p_value
    assert other.ci95 == pytest.approx((-one.ci95[1], -one.ci95[0]), abs=1e-12)
    mirrored = {"helps": "hurts", "hurts": "helps"}
    p, margin = one.p_value, 1e-9  # an interval within it is one point
    assert verdict(other, p, margin) == mirrored.get(verdict(one, p, margin), verdict(one, p, margin))


@untimed
@given(accuracies)
def test_the_order_of_pairs_and_the_unit_do_not_matter(differences):
    one, other = measured(differences), measured([100 * value for value in sorted(differences)])
    assert other.p_value == one.p_value
    assert other.mean == pytest.approx(100 * one.mean, abs=1e-9)


def test_a_row_gives_the_same_whatever_rows_are_beside_it():
    rows = [draw(6, seed=1), draw(9, seed=2), draw(6, seed=3), [0.1], [0.2] * 6]
    assert paired_differences(rows) == [measured(row) for row in rows]


@pytest.mark.parametrize("n", range(1, 6))
@pytest.mark.parametrize("value", [0.0, 0.5])
def test_fewer_than_six_pairs_never_decide(n, value):
    for values in ([value] * n, draw(n, value, 1e-6)):
        assert judged(values) == "undecided"
        assert verdict(measured(values), 0.0, MARGIN) == "undecided"


def test_three_pairs_have_a_p_of_at_least_a_quarter():
    difference = measured([0.5, 0.6, 0.7])
    assert difference.p_floor == difference.p_value == 0.25


def test_one_pair_and_no_pair_are_measured_without_a_test():
    assert measured([0.25]) == PairedDifference(1, 0.25, None, 1.0, 1.0, None, None)
    none = measured([])
    assert math.isnan(none.mean)
    assert (none.n_pairs, none.ci95, none.p_value, none.p_floor) == (0, None, None, None)
    assert verdict(none, None, MARGIN) == "undecided"


def test_a_difference_that_is_not_a_number_is_refused():
    with pytest.raises(ValueError, match="have to be numbers"):
        paired_differences([[0.1, math.nan]])


def test_equal_differences_need_no_interval_and_give_no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        same = measured([0.0] * 6)
        assert same == PairedDifference(6, 0.0, (0.0, 0.0), 1.0, 2 / 64, None, 0.0)
        assert measured([0.92 - 0.91, 0.93 - 0.92, 0.71 - 0.7]).sd == 0.0  # equal but for rounding
        measured([0.0, 0.0, 0.0, 0.0, 0.0, 1.0])
        measured([1e-4, -1e-4])


def test_what_changes_nothing_in_six_pairs_has_no_practical_effect():
    assert judged([0.0] * 6) == "no practical effect"
    assert judged([0.922 - 0.92] * 6) == "no practical effect"  # the margin itself, rounded up


@pytest.mark.parametrize(("points", "expected"), [(2, "helps"), (-2, "hurts")])
def test_two_planted_points_are_found_in_eight_seeds(points, expected):
    values = points / 100 + draw(8, sd=0.003)
    assert judged(values) == expected
    assert judged(values, higher_is_better=False) == {"helps": "hurts", "hurts": "helps"}[expected]
    assert verdict(measured(values), None, MARGIN) == "undecided"
    assert verdict(measured(values), 0.051, MARGIN) == "undecided"


def test_a_tiny_difference_has_no_practical_effect_however_certain():
    values = 0.0005 + draw(12, sd=0.0001)
    assert measured(values).p_value < 0.001
    assert judged(values) == "no practical effect"


def test_a_margin_between_the_two_intervals_does_not_suffice():
    difference = measured(draw(6, sd=0.002, seed=4))
    of_bca = max(map(abs, difference.ci95))
    of_t = max(map(abs, mean_interval(draw(6, sd=0.002, seed=4))))
    assert of_bca < of_t
    assert verdict(difference, 1.0, (of_bca + of_t) / 2) == "undecided"
    assert verdict(difference, 1.0, 1.001 * of_t) == "no practical effect"


def test_no_verdict_is_wrong_more_often_than_it_says():
    null = paired_differences(np.random.default_rng(0).standard_t(3, (800, 8)) * 0.005)
    wrong = [verdict(difference, difference.p_value, MARGIN) in ("helps", "hurts") for difference in null]
    at_the_margin = paired_differences(np.random.default_rng(1).normal(MARGIN, MARGIN / 2, (800, 6)))
    too_early = [verdict(difference, None, MARGIN) == "no practical effect" for difference in at_the_margin]
    error = math.sqrt(0.05 * 0.95 / 800)
    assert sum(wrong) / 800 <= 0.05 + 2 * error
    assert sum(too_early) / 800 <= 0.05


@untimed
@given(accuracies, st.floats(0, 0.05))
def test_without_a_small_p_nothing_helps_or_hurts(differences, margin):
    assert verdict(measured(differences), 0.06, margin) in VERDICTS_WITHOUT_TEST


def test_holm_as_in_a_textbook():
    # In order 0.005, 0.01, 0.03, 0.04: 4 * 0.005, 3 * 0.01, 2 * 0.03, and 1 * 0.04 raised to the one before.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, None, 0.7]) == [1.0, None, 1.0]
    assert holm([0.04]) == [0.04]
    assert holm([]) == []


@untimed
@given(st.lists(st.none() | st.floats(0, 1), max_size=10))
def test_holm_keeps_the_order_and_lies_between_p_and_bonferroni(p_values):
    pairs = [pair for pair in zip(p_values, holm(p_values), strict=True) if None not in pair]
    assert [p is None for p in holm(p_values)] == [p is None for p in p_values]
    assert all(p <= adjusted <= min(1, len(pairs) * p) for p, adjusted in pairs)
    adjusted = [pair[1] for pair in sorted(pairs)]
    assert adjusted == sorted(adjusted)


@pytest.mark.parametrize(("n", "level"), [(7, 6 / 128), (8, 12 / 256), (16, 1638 / 32768)])
def test_power_is_that_of_the_t_test_at_the_level_signs_can_attain(n, level):
    assert level <= 0.05 < level + 2 / 2**n
    critical = stats.t.isf(level / 2, n - 1)
    assert power_of(n, 2.0, 1.6) == pytest.approx(stats.nct.sf(critical, n - 1, 0.8 * math.sqrt(n)), rel=1e-6)


@pytest.mark.parametrize(("n", "size", "family"), [(6, 1.2, 1), (8, 1.0, 1), (9, 1.2, 8), (12, 1.3, 8), (20, 0.7, 1)])
def test_power_is_how_often_the_exact_test_succeeds(n, size, family):
    found = [difference.p_value <= 0.05 / family for difference in paired_differences(draw((600, n), size))]
    error = math.sqrt(0.25 / len(found))
    assert power_of(n, 1.0, size, family) == pytest.approx(sum(found) / len(found), abs=3 * error)


@pytest.mark.parametrize("family", [1, 8, 500])
@pytest.mark.parametrize("size", [0.1, 1.0, 10.0, 1e6])
def test_power_grows_with_pairs(family, size):
    powers = [power_of(n, 1.0, size, family) for n in range(2, 80)]
    assert powers == sorted(powers)
    assert 0 <= powers[0] <= powers[-1] <= 1


def test_pairs_for_a_difference_are_the_fewest_with_the_power():
    for sd, difference, family in ((0.005, 0.005, 1), (0.005, 0.002, 1), (0.003, 0.004, 8)):
        n = pairs_for_difference(sd, difference, family=family)
        assert power_of(n, sd, difference, family) >= 0.8 > power_of(n - 1, sd, difference, family)
    assert pairs_for_difference(0.005, 0.005, power=0.95) > pairs_for_difference(0.005, 0.005)
    assert pairs_for_difference(0.005, 1e-6) is None
    assert pairs_for_difference(0.005, 0.0) is None


@pytest.mark.parametrize(("family", "fewest"), [(1, 6), (2, 7), (8, 9)])
def test_no_effect_is_so_large_that_fewer_pairs_than_the_floor_asks_for_suffice(family, fewest):
    assert 2 / 2**fewest <= 0.05 / family < 2 / 2 ** (fewest - 1)
    assert pairs_for_difference(0.001, 1.0, family=family) == fewest
    assert pairs_for_difference(0.0, 1.0, family=family) == fewest
    assert seeds_needed(measured([1.0] * 3), MARGIN, family) == fewest


def test_seeds_needed_for_no_practical_effect_make_the_t_interval_fit():
    difference = measured([0.003, -0.003, 0.004, -0.004, 0.0001])
    n = seeds_needed(difference, MARGIN)
    room = MARGIN - abs(difference.mean)
    half_widths = [stats.t.ppf(0.975, k - 1) * difference.sd / math.sqrt(k) for k in (n - 1, n)]
    assert half_widths[1] <= room < half_widths[0]
    assert seeds_needed(measured([0.0] * 3), MARGIN, family=100) == 6


def test_seeds_needed_are_the_fewer_of_both_ways_to_a_verdict():
    large = measured([0.02, 0.018, 0.022, 0.024, 0.016])
    assert seeds_needed(large, MARGIN) == pairs_for_difference(large.sd, large.mean)
    assert seeds_needed(measured([0.5]), MARGIN) is None
    hopeless = measured([0.5, -0.5, 0.4, -0.3995])
    assert pairs_for_difference(hopeless.sd, hopeless.mean) is None
    assert seeds_needed(hopeless, MARGIN) is None
    assert MOST_SEEDS == 1000


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


@untimed
@given(st.integers(0, 200), st.integers(0, 200))
def test_mcnemar_is_the_binomial_test_of_the_images_only_one_gets_right(first, second):
    expected = stats.binomtest(first, first + second).pvalue if first + second else 1.0
    assert mcnemar(first, second) == pytest.approx(expected, rel=1e-6)
    assert mcnemar(first, second) == mcnemar(second, first)


def test_statistics_need_neither_torch_nor_scipy_until_asked():
    code = "import sys, cnnbench.analysis.statistics; sys.exit(bool({'torch', 'scipy'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2]).returncode == 0


def test_a_missed_target_counts_as_the_largest_difference_of_all():
    difference = measured([-3.0, -1.0, -2.0, -4.0, -5.0, -math.inf])
    assert (difference.mean, difference.ci95, difference.sd) == (-math.inf, None, None)
    assert difference.p_value == difference.p_floor == 2 / 2**6
    mixed = measured([-1.0, -2.0, -3.0, -4.0, -5.0, math.inf])  # signed ranks -1, -2, -3, -4, -5, +6
    totals = [abs(sum(map(operator.mul, signs, range(1, 7)))) for signs in itertools.product((-1, 1), repeat=6)]
    assert mixed.p_value == sum(total >= 9 for total in totals) / 64
    assert measured([0.0, math.inf, -math.inf]).p_value == 1.0
