"""Differences of runs over seeds and images, against formulas and by simulation."""

import time
import warnings

import numpy as np
import pytest
from scipy import stats

from cnnbench.analysis.statistics.population import population_difference

SEEDS, IMAGES = 6, 80


@pytest.fixture
def tables():
    """Baseline and candidate, right on most images; the candidate is better on the first ones and in some seeds."""
    return draw(np.random.default_rng(1), SEEDS, IMAGES)


def draw(generator, n_seeds, n_images, better=0.6, interaction=0.8, seed_effect=0.3):
    difficulty = generator.normal(2, 2, n_images)
    own = generator.normal(0, interaction, (2, 1, n_images)) + generator.normal(0, seed_effect, (2, n_seeds, 1))
    latent = difficulty + own + generator.standard_normal((2, n_seeds, n_images))
    latent[1] += better
    return latent > 0


def table_of_variance(baseline, candidate):
    """Mean squares of seeds, images and residuals, by their definitions."""
    d = candidate.astype(float) - baseline
    n_seeds, n_images = d.shape
    rows, columns = d.mean(1, keepdims=True), d.mean(0, keepdims=True)
    of_seeds = n_images * ((rows - d.mean()) ** 2).sum() / (n_seeds - 1)
    of_images = n_seeds * ((columns - d.mean()) ** 2).sum() / (n_images - 1)
    of_residuals = ((d - rows - columns + d.mean()) ** 2).sum() / ((n_seeds - 1) * (n_images - 1))
    return of_seeds, of_images, of_residuals


def test_the_components_and_the_error_are_those_of_the_table_of_variance(tables):
    found = population_difference(*tables)
    of_seeds, of_images, residual = table_of_variance(*tables)
    assert min(of_seeds, of_images) > residual
    assert (found.n_seeds, found.n_images) == (SEEDS, IMAGES)
    assert found.mean == pytest.approx(tables[1].mean() - tables[0].mean())
    assert found.residual_sd**2 == pytest.approx(residual)
    assert found.seed_sd**2 == pytest.approx((of_seeds - residual) / IMAGES)
    assert found.image_sd**2 == pytest.approx((of_images - residual) / SEEDS)
    assert found.standard_error**2 == pytest.approx((of_seeds + of_images - residual) / (SEEDS * IMAGES))


def test_the_interval_is_a_t_interval_drawn_out_to_the_long_tail(tables):
    found = population_difference(*tables)
    of_seeds, of_images, residual = table_of_variance(*tables)
    below = of_seeds**2 / (SEEDS - 1) + of_images**2 / (IMAGES - 1) + residual**2 / (SEEDS - 1) / (IMAGES - 1)
    half = stats.t.ppf(0.975, (of_seeds + of_images - residual) ** 2 / below) * found.standard_error
    means = tables[1].mean(0) - tables[0].mean(0, dtype=float)
    assert stats.skew(means) > 0
    assert found.ci95[0] == pytest.approx(found.mean - half)
    assert found.mean + half < found.ci95[1] < found.mean + 1.3 * half


def test_more_seeds_or_images_shrink_what_is_theirs(tables):
    found = population_difference(*tables)
    seed, image, residual = found.seed_sd**2, found.image_sd**2, found.residual_sd**2
    twice, all_seeds = found.se_of_more_seeds
    assert twice**2 == pytest.approx(seed / (2 * SEEDS) + image / IMAGES + residual / (2 * SEEDS * IMAGES))
    assert all_seeds**2 == pytest.approx(image / IMAGES)
    twice, all_images = found.se_of_more_images
    assert twice**2 == pytest.approx(seed / SEEDS + image / (2 * IMAGES) + residual / (2 * SEEDS * IMAGES))
    assert all_images**2 == pytest.approx(seed / SEEDS)


def test_the_order_of_seeds_and_images_does_not_matter(tables):
    generator = np.random.default_rng(0)
    seeds, images = generator.permutation(SEEDS), generator.permutation(IMAGES)
    shuffled = population_difference(*(table[seeds][:, images] for table in tables))
    found = population_difference(*tables)
    assert (shuffled.mean, shuffled.p_value) == pytest.approx((found.mean, found.p_value))
    assert shuffled.ci95 == pytest.approx(found.ci95)


def test_swapping_the_two_mirrors_the_difference(tables):
    found, mirrored = population_difference(*tables), population_difference(*tables[::-1])
    assert mirrored.mean == -found.mean
    assert mirrored.ci95 == pytest.approx((-found.ci95[1], -found.ci95[0]))
    assert mirrored.p_value == pytest.approx(found.p_value)
    assert (mirrored.seed_sd, mirrored.image_sd) == pytest.approx((found.seed_sd, found.image_sd))


def test_where_images_do_not_differ_it_is_the_paired_t_test_over_seeds():
    generator = np.random.default_rng(1)
    chances = 0.8 + generator.normal(0, 0.03, (2, 8, 1))
    tables = generator.random((2, 8, 20_000)) < chances
    of_seeds, of_images, residual = table_of_variance(*tables)
    assert of_images < residual < of_seeds
    found = population_difference(*tables)
    by_seed = tables.mean(2)
    expected = stats.ttest_rel(by_seed[1], by_seed[0])
    assert found.p_value == pytest.approx(expected.pvalue, rel=1e-3)
    interval = expected.confidence_interval()
    assert found.ci95 == pytest.approx((interval.low, interval.high), rel=1e-3)
    assert found.image_sd == 0


@pytest.mark.parametrize("seed", range(40))
def test_p_is_at_most_5_percent_exactly_where_the_interval_leaves_out_zero(seed):
    found = population_difference(*draw(np.random.default_rng(seed), 4, 60))
    assert (found.p_value <= 0.05) == (found.ci95[0] > 0 or found.ci95[1] < 0)


def test_it_covers_the_population_where_seeds_alone_do_not():
    generator = np.random.default_rng(0)
    covered, by_seeds = [], []
    for _ in range(1000):
        tables = draw(generator, 12, 200, better=0.0, interaction=1.0, seed_effect=0.05)
        low, high = population_difference(*tables).ci95
        covered.append(low <= 0 <= high)
        means = tables.mean(2)
        by_seeds.append(stats.ttest_rel(means[1], means[0]).pvalue > 0.05)
    assert np.mean(covered) >= 0.93  # 94 % less two standard errors
    assert np.mean(by_seeds) < 0.85


@pytest.mark.parametrize("shape", [(1, 50), (50, 1), (0, 50), (3, 0)])
def test_one_seed_or_one_image_says_nothing_of_others(shape):
    assert population_difference(np.ones(shape, bool), np.zeros(shape, bool)) is None


@pytest.mark.parametrize(("right", "p_value"), [(False, 1.0), (True, 0.0)])
def test_without_any_spread_the_interval_is_a_point(right, p_value):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = population_difference(np.zeros((3, 40), bool), np.full((3, 40), right))
    assert (found.mean, found.ci95, found.p_value) == (right, (right, right), p_value)
    assert found.standard_error == found.seed_sd == found.image_sd == 0


def test_a_single_image_that_differs_decides_nothing():
    tables = np.ones((2, 20, 300), bool)
    tables[0, :, 0] = False
    found = population_difference(*tables)
    assert found.mean == pytest.approx(1 / 300)
    assert found.ci95[0] < 0 < found.ci95[1]
    assert found.p_value > 0.05


def test_tables_of_different_seeds_or_images_are_refused():
    with pytest.raises(ValueError, match="no pairs"):
        population_difference(np.ones((3, 40), bool), np.ones((4, 40), bool))


def test_many_images_take_no_time():
    tables = draw(np.random.default_rng(0), 20, 10_000)
    population_difference(*tables)
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        population_difference(*tables)
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.02
