"""Comparisons followed over looks: who stops where, and who stays in the family."""

from dataclasses import dataclass

import pytest

from cnnbench.analysis.sequential import follow
from cnnbench.analysis.statistics.looks import error_of_looks, level_of, looks_up_to
from cnnbench.analysis.statistics.paired import paired_difference

NOISE = [0.003, -0.002, 0.001, -0.003, 0.002, 0.0, 0.004, -0.001] * 3


@dataclass
class Judged:
    difference: object
    verdict: str
    family: int


def followed(verdicts, done=3, granted=None, spreads=None):
    """Follows comparisons whose verdicts at each look are given; says how they were asked too."""
    asked = []
    spreads = spreads or [1.0] * len(verdicts)

    def judge_at(seeds, level):
        asked.append((dict(seeds), level))
        look = len(asked) - 1
        rows = {i: paired_difference([0.002 + spreads[i] * noise for noise in NOISE[:n]]) for i, n in seeds.items()}
        return {i: Judged(rows[i], verdicts[i][look], len(seeds)) for i in seeds}

    found = follow(granted or [20] * len(verdicts), (8, 14, 20), done, 0.002, judge_at)
    return [(each.seeds, each.why) for each in found], asked


OPEN = "undecided"


def test_what_is_decided_stops_and_only_what_helps_or_hurts_leaves_the_family():
    found, asked = followed([["helps"] * 3, ["no practical effect"] * 3, [OPEN, "hurts", OPEN], [OPEN] * 3])
    assert found == [(8, "decided"), (8, "decided"), (14, "decided"), (20, "at the end")]
    assert [seeds for seeds, _ in asked] == [
        {0: 8, 1: 8, 2: 8, 3: 8},
        {1: 8, 2: 14, 3: 14},
        {1: 8, 3: 20},
    ]
    assert {level for _, level in asked} == {level_of(3)}


def test_what_would_need_too_many_seeds_is_futile_but_stays_in_the_family():
    found, asked = followed([[OPEN] * 3, [OPEN] * 3], spreads=[1.0, 100.0])
    assert found == [(20, "at the end"), (8, "futile")]
    assert asked[-1][0] == {0: 20, 1: 8}


def test_without_more_seeds_granted_a_comparison_ends_with_the_budget():
    found, asked = followed([[OPEN] * 3, [OPEN] * 3], granted=[20, 8])
    assert found == [(20, "at the end"), (8, "budget")]
    assert asked[1][0] == {0: 14, 1: 8}


def test_an_unfinished_plan_is_followed_as_far_as_it_went():
    found, asked = followed([[OPEN] * 3], done=1)
    assert found == [(8, "open")]
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("most", "looks"), [(6, (6,)), (8, (8,)), (9, (8, 9)), (13, (8, 13)), (14, (8, 11, 14)), (20, (8, 14, 20))]
)
def test_looks_are_taken_at_eight_seeds_at_the_most_and_between(most, looks):
    assert looks_up_to(most) == looks
    assert level_of(len(looks)) <= 0.05


def test_the_error_grows_with_the_looks():
    assert error_of_looks([8]) == pytest.approx(0.05, abs=0.004)
    assert error_of_looks([8, 8]) == error_of_looks([8])
    assert error_of_looks([8, 14, 20]) == pytest.approx(0.10, abs=0.01)  # 0.107 of three equally spaced looks (Pocock)
    assert 0.15 < error_of_looks(range(6, 21)) < 0.2
