"""Groups that are dominated beyond chance, against the tests as SciPy has them, and against simulated equal groups."""

import math

import numpy as np
import pytest
from scipy import stats

from cnnbench.analysis.dominance import MOST_RIVALS, dominated_beyond_chance


def by_seed(rows):
    return [dict(enumerate(map(float, row))) for row in rows]


def marks(qualities, costs, *, timed=True, **options):
    return dominated_beyond_chance(by_seed(qualities), by_seed(costs), timed=timed, **options)


def runs(rng, groups, seeds, spread=0.0035):
    return rng.normal(0.9, spread, (groups, seeds))


def share_marked(groups, seeds, draw, *, timed=True, experiments=600):
    rng, wrong = np.random.default_rng(0), 0
    for _ in range(experiments):
        costs = np.exp(0.05 * draw(rng, (groups, seeds))) if timed else np.ones((groups, seeds))
        wrong += any(marks(0.9 + 0.0035 * draw(rng, (groups, seeds)), costs, timed=timed))
    return wrong / experiments


@pytest.mark.parametrize(("groups", "seeds"), [(2, 3), (2, 8), (5, 3), (10, 5), (10, 8)])
@pytest.mark.parametrize("shape", ["normal", "exponential", "359 images"])
def test_among_equal_groups_of_equal_cost_at_most_one_experiment_in_twenty_marks_any(groups, seeds, shape):
    draw = {
        "normal": lambda rng, size: rng.standard_normal(size),
        "exponential": lambda rng, size: 1 - rng.standard_exponential(size),
        "359 images": lambda rng, size: np.round(rng.standard_normal(size) / 0.796) * 0.796,
    }[shape]
    assert share_marked(groups, seeds, draw, timed=False) <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / 600)


def test_among_equal_groups_whose_times_vary_too_hardly_any_is_marked():
    assert share_marked(10, 5, lambda rng, size: rng.standard_normal(size)) < 0.01


@pytest.mark.parametrize("seeds", [5, 6, 8])
@pytest.mark.parametrize("groups", [2, 10, 30])
def test_a_group_three_points_worse_and_twice_as_slow_is_found(groups, seeds):
    rng, found = np.random.default_rng(0), []
    for _ in range(40):
        qualities, costs = runs(rng, groups, seeds), rng.lognormal(2, 0.05, (groups, seeds))
        qualities[0] -= 0.03
        costs[0] *= 2
        marked = marks(qualities, costs)
        found.append(marked[0] and not any(marked[1:]))
    assert np.mean(found) >= 0.9


def test_of_two_groups_the_larger_p_of_welchs_tests_decides():
    rng = np.random.default_rng(3)
    for _ in range(60):
        quality = [rng.normal(0, 1, 6), rng.normal(1.5, 1, 6)]
        log_cost = [rng.normal(0.12, 0.1, 6), rng.normal(0, 0.1, 6)]
        found = marks(quality, np.exp(log_cost))[0]
        tests = [
            stats.ttest_ind(*quality, equal_var=False, alternative="less").pvalue,
            stats.ttest_ind(*log_cost, equal_var=False, alternative="greater").pvalue,
        ]
        if found:  # the smaller spread is taken as that of both: never more than Welch says
            assert 2 * max(tests) <= 0.05
        elif 2 * max(tests) <= 0.05:
            assert 2 * max(tests) > 0.01


def test_better_but_dearer_dominates_nothing():
    rng = np.random.default_rng(0)
    qualities, costs = runs(rng, 2, 8), rng.lognormal(2, 0.05, (2, 8))
    qualities[1] += 0.03
    costs[1] *= 2
    assert marks(qualities, costs) == [False, False]


def test_a_known_cost_need_only_be_no_greater():
    qualities = runs(np.random.default_rng(1), 3, 8)
    qualities[0] -= 0.03
    macs = np.repeat([[5.0], [5.0], [5.0]], 8, axis=1)
    assert marks(qualities, macs, timed=False) == [True, False, False]
    macs[1:] = 6.0
    assert marks(qualities, macs, timed=False) == [False, False, False]


def test_where_costs_are_known_only_pairs_that_are_possible_count():
    """A difference that is sure enough for the one pair that a cheaper group leaves, not for two."""
    row = np.array([-1.0, -0.5, 0.0, 0.5, 1.0])
    error = math.sqrt(2 * row.var(ddof=1) / 5)
    shift = float(stats.t.isf(0.04, 8)) * error
    qualities = [row, row + shift]
    assert marks(qualities, [[2.0] * 5, [1.0] * 5], timed=False) == [True, False]
    assert marks(qualities, [[1.0] * 5, [1.0] * 5], timed=False) == [False, False]


def test_fewer_than_three_runs_show_nothing():
    assert marks([[0.5, 0.51], [0.9, 0.91]], [[9.0, 9.1], [1.0, 1.1]]) == [False, False]
    assert marks([[0.5], [0.9]], [[9.0], [1.0]], timed=False) == [False, False]


@pytest.mark.parametrize(("seeds", "sure"), [(5, False), (6, True)])
def test_groups_without_any_spread_are_sure_from_six_runs_on(seeds, sure):
    assert marks([[0.8] * seeds, [0.9] * seeds], [[1.0] * seeds] * 2, timed=False) == [sure, False]


def test_a_group_of_which_no_run_has_a_quality_is_worse_than_one_of_which_all_have():
    none, every = [-math.inf] * 8, list(runs(np.random.default_rng(0), 1, 8)[0])
    assert marks([none, every], [[1.0] * 8] * 2, timed=False) == [True, False]
    assert 2 / math.comb(6, 3) > 0.05
    assert marks([none[:3], every[:3]], [[1.0] * 3] * 2, timed=False) == [False, False]
    assert marks([[*every[:7], -math.inf], every], [[1.0] * 8] * 2, timed=False) == [False, False]


def test_groups_that_share_no_seed_are_compared_too():
    rng = np.random.default_rng(0)
    qualities = [dict(enumerate(rng.normal(mean, 0.003, 6), start)) for mean, start in ((0.8, 0), (0.9, 100))]
    costs = [dict.fromkeys(row, 7.0) for row in qualities]
    assert dominated_beyond_chance(qualities, costs, timed=False) == [True, False]


def test_of_many_groups_the_rivals_that_matter_are_looked_at():
    rng, groups = np.random.default_rng(0), MOST_RIVALS + 60
    qualities = runs(rng, groups, 8)
    qualities[: groups - 1] -= 0.05  # only the last is good
    assert marks(qualities, np.ones((groups, 8)), timed=False) == [True] * (groups - 1) + [False]
