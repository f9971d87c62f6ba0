"""How many seeds a verdict needs, against the verdicts themselves."""

import math

import numpy as np
import pytest
from scipy import stats

from cnnbench.analysis.statistics.intervals import difference_interval
from cnnbench.analysis.statistics.levels import interval_alpha
from cnnbench.analysis.statistics.paired import paired_difference
from cnnbench.analysis.statistics.power import MOST_SEEDS, pairs_for_difference, power_of, seeds_needed
from cnnbench.analysis.statistics.sign_flips import sign_flip_p, step_down_maximum
from cnnbench.analysis.statistics.verdict import excludes_nothing

MARGIN = 0.002


def is_found(rows):
    """Whether the first of the rows, which share a baseline, is told from nothing."""
    p = step_down_maximum([dict(enumerate(row)) for row in rows])[0] if len(rows) > 1 else sign_flip_p(rows[0])
    return p <= 0.05 and not excludes_nothing(difference_interval(rows[0]))


@pytest.mark.parametrize(
    ("n", "size", "family"), [(6, 1.5, 1), (8, 1.0, 1), (12, 1.0, 1), (20, 0.7, 1), (8, 1.5, 16), (12, 1.0, 8)]
)
def test_power_is_how_often_a_verdict_finds_the_difference(n, size, family):
    generator, found = np.random.default_rng(n), 0
    for _ in range(400):
        rows = (generator.normal(size=(family, n)) - generator.normal(size=n)) / math.sqrt(2)
        rows[0] += size
        found += is_found(rows)
    assert power_of(n, 1.0, size, family) == pytest.approx(found / 400, abs=0.1)


@pytest.mark.parametrize("family", [1, 8, 500])
@pytest.mark.parametrize("size", [0.1, 1.0, 10.0, 1e6])
def test_power_grows_with_pairs(family, size):
    powers = [power_of(n, 1.0, size, family) for n in range(2, 80)]
    assert powers == sorted(powers)
    assert 0 == powers[0] <= powers[-1] <= 1


def test_pairs_for_a_difference_are_the_fewest_with_the_power():
    for sd, difference, family in ((0.005, 0.005, 1), (0.005, 0.002, 1), (0.003, 0.004, 8)):
        n = pairs_for_difference(sd, difference, family=family)
        assert power_of(n, sd, difference, family) >= 0.8 > power_of(n - 1, sd, difference, family)
    assert pairs_for_difference(0.005, 0.005, power=0.95) > pairs_for_difference(0.005, 0.005)
    assert pairs_for_difference(0.005, 1e-6) is None
    assert pairs_for_difference(0.005, 0.0) is None


@pytest.mark.parametrize("family", [1, 2, 16])
def test_no_effect_is_so_large_that_fewer_than_six_pairs_suffice(family):
    assert pairs_for_difference(0.001, 1.0, family=family) == 6
    assert pairs_for_difference(0.0, 1.0, family=family) == 6
    assert seeds_needed(paired_difference([1.0] * 3), MARGIN, family) == 6


def test_seeds_needed_for_no_practical_effect_make_the_t_interval_fit():
    difference = paired_difference([0.003, -0.003, 0.004, -0.004, 0.0001])
    n = seeds_needed(difference, MARGIN)
    room = MARGIN - abs(difference.mean)
    half_widths = [stats.t.ppf(1 - interval_alpha(k) / 2, k - 1) * difference.sd / math.sqrt(k) for k in (n - 1, n)]
    assert half_widths[1] <= room < half_widths[0]
    assert seeds_needed(paired_difference([0.0] * 3), MARGIN, family=100) == 6


def test_seeds_needed_are_the_fewer_of_both_ways_to_a_verdict():
    large = paired_difference([0.02, 0.018, 0.022, 0.024, 0.016])
    assert seeds_needed(large, MARGIN) == pairs_for_difference(large.sd, large.mean)
    assert seeds_needed(paired_difference([0.5]), MARGIN) is None
    hopeless = paired_difference([0.5, -0.5, 0.4, -0.3995])
    assert pairs_for_difference(hopeless.sd, hopeless.mean) is None
    assert seeds_needed(hopeless, MARGIN) is None
    assert MOST_SEEDS == 1000
