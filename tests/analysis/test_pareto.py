"""The Pareto front, against its definition; the shares of the resamples, against what they have to be."""

import math
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnnbench.analysis.dominance import dominated_beyond_chance
from cnnbench.analysis.pareto import dominated, front_shares

PAIRS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)))


def on_front(points):
    return [
        not any(q >= quality and c <= cost and (q > quality or c < cost) for q, c in points) for quality, cost in points
    ]


def by_seed(rows):
    return [dict(enumerate(map(float, row))) for row in rows]


@given(PAIRS)
def test_a_point_is_dominated_where_another_is_as_good_in_both_and_better_in_one(points):
    assert dominated(points) == [not front for front in on_front(points)]


@given(PAIRS)
def test_groups_that_do_not_vary_are_on_the_front_always_or_never(points):
    qualities = [dict.fromkeys(range(3), float(quality)) for quality, _ in points]
    costs = [dict.fromkeys(range(3), 1.0 + cost) for _, cost in points]
    assert front_shares(qualities, costs) == on_front(points)


def test_two_equal_groups_of_one_cost_share_the_front():
    rng, shares = np.random.default_rng(1), []
    for _ in range(200):
        shares.append(front_shares(by_seed(rng.normal(0.9, 0.01, (2, 5))), by_seed(np.ones((2, 5)))))
    assert np.allclose(np.sum(shares, axis=1), 1)  # one of the two, always
    assert np.mean(shares, axis=0) == pytest.approx([0.5, 0.5], abs=0.06)


def test_the_share_is_as_sure_as_the_standard_error_of_the_mean_says():
    """Two means 1.5 standard errors of their difference apart: normal means would change places in 6.7 %."""
    row = np.array([-1.0, -0.6, -0.3, -0.1, 0.0, 0.0, 0.1, 0.3, 0.6, 1.0])
    error = math.sqrt(2 * row.var(ddof=1) / len(row))
    first, second = dict(enumerate(row)), dict(enumerate(row + 1.5 * error, start=100))  # seeds of their own
    costs = [dict.fromkeys(first, 1.0), dict.fromkeys(second, 1.0)]
    assert front_shares([first, second], costs)[0] == pytest.approx(0.067, abs=0.03)


def test_what_runs_of_equal_seeds_have_in_common_does_not_shake_the_front():
    luck = np.random.default_rng(0).normal(0, 0.05, 6)
    pair = [0.90 + luck, 0.91 + luck]
    costs = [dict.fromkeys(range(6), 1.0)] * 2
    assert front_shares(by_seed(pair), costs) == [0, 1]
    apart = [dict(enumerate(pair[0])), dict(enumerate(pair[1], start=100))]
    assert front_shares(apart, [dict.fromkeys(row, 1.0) for row in apart])[0] > 0.1


def test_of_one_run_nobody_knows_how_sure_its_place_is():
    assert front_shares([{0: 0.9}, {0: 0.8, 1: 0.81}], [{0: 1.0}, {0: 1.0, 1: 1.0}]) == [None, 0]


def test_a_group_without_quality_is_on_the_front_of_no_other():
    qualities = [{0: -math.inf, 1: 0.9, 2: 0.9}, {0: 0.5, 1: 0.6, 2: 0.7}]
    assert front_shares(qualities, [dict.fromkeys(range(3), 1.0)] * 2) == [0, 1]


def test_identical_groups_are_on_the_front_together():
    row = np.random.default_rng(0).normal(0.9, 0.01, 8)
    seconds = np.random.default_rng(1).lognormal(2, 0.1, 8)
    assert front_shares(by_seed([row] * 7), by_seed([seconds] * 7)) == [1] * 7


def test_groups_that_lack_a_seed_take_part_with_the_others():
    qualities = [{0: 0.90, 1: 0.91, 2: 0.92}, {0: 0.80, 2: 0.82}, {5: 0.70, 6: 0.71}]
    assert front_shares(qualities, [dict.fromkeys(row, 1.0) for row in qualities]) == [1, 0, 0]


def test_without_groups_there_is_no_front():
    assert front_shares([], []) == dominated([]) == dominated_beyond_chance([], [], timed=True) == []


def test_five_hundred_groups_with_four_costs_take_a_fraction_of_a_second():
    rng = np.random.default_rng(0)
    qualities = by_seed(rng.normal(0.9, 0.03, (500, 1)) + rng.normal(0, 0.003, (500, 10)))
    seconds = by_seed(rng.lognormal(2, 0.5, (500, 1)) * rng.lognormal(0, 0.05, (500, 10)))
    macs = by_seed(np.repeat(rng.integers(1, 30, (500, 1)), 10, axis=1))
    dominated_beyond_chance(qualities[:5], seconds[:5], timed=True)  # imports SciPy
    started = time.process_time()
    for costs, timed in ((seconds, True), (seconds, True), (macs, False), (macs, False)):
        shares = front_shares(qualities, costs)
        dominated_beyond_chance(qualities, costs, timed=timed, shares=shares)
    assert time.process_time() - started < 1.0  # 0.2 s on an idle core
