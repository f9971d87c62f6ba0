"""What is said about runs whose times do not compare."""

import itertools
import json

import pytest
from run_folders import make_run

from cnnbench.analysis.interleaving import BUSY, Made, made, why_times_do_not_compare


def run(start, seconds=60.0, *, host="here", load=None):
    return Made(start, start + seconds, host, load)


def series(*starts, **facts):
    return [run(start, **facts) for start in starts]


def test_interleaved_runs_of_one_quiet_machine_compare():
    groups = {"plain": series(0, 200, 400, load=1.0), "cutmix": series(100, 300, 500, load=0.2)}
    assert why_times_do_not_compare(groups, "plain") == []


@pytest.mark.parametrize(("first", "word"), [("cutmix", "before"), ("plain", "after")])
def test_runs_that_were_all_made_before_or_after_the_baselines_are_named(first, word):
    starts = {first: (0, 100, 200)}
    groups = {name: series(*starts.get(name, (300, 400, 500))) for name in ("plain", "cutmix")}
    expected = [f"all runs of cutmix were made {word} those of the baseline: their times do not compare"]
    assert why_times_do_not_compare(groups, "plain") == expected


def test_one_run_that_was_repeated_later_does_not_hide_the_order():
    groups = {"plain": series(*range(0, 1000, 100), 2500), "cutmix": series(*range(1000, 2000, 100))}
    assert "nearly all runs of cutmix were made after" in why_times_do_not_compare(groups, "plain")[0]


def test_the_order_of_single_runs_says_nothing_that_their_number_does_not():
    assert why_times_do_not_compare({"plain": series(0), "cutmix": series(100)}, "plain") == []


def test_groups_of_different_machines_are_named_once():
    groups = {"plain": series(0, 100), "cutmix": series(200, 300, host="there")}
    expected = ["no run of cutmix was made on a machine of the baseline's: their times do not compare"]
    assert why_times_do_not_compare(groups, "plain") == expected


def test_runs_that_ran_beside_each_other_on_one_machine_are_counted():
    groups = {"plain": series(0, 100, 200), "cutmix": [run(30), run(400), run(230)]}
    lines = why_times_do_not_compare(groups, "plain")
    assert lines == [
        "plain: 2 of 3 runs ran beside another on one machine: each took the other's time",
        "cutmix: 2 of 3 runs ran beside another on one machine: each took the other's time",
    ]
    elsewhere = {"plain": groups["plain"], "cutmix": series(30, 160, 230, host="there")}
    assert not any("beside" in line for line in why_times_do_not_compare(elsewhere, "plain"))
    unknown = {name: [Made(each.start, each.end, None, None) for each in runs] for name, runs in groups.items()}
    assert why_times_do_not_compare(unknown, "plain") == []


def test_a_run_that_goes_on_for_long_is_beside_all_that_start_meanwhile():
    groups = {"long": [run(0, 1000)], "short": series(100, 300, 500)}
    assert [line.partition(" ran")[0] for line in why_times_do_not_compare(groups, None)] == [
        "long: 1 run",
        "short: 3 runs",
    ]


def test_runs_made_one_straight_after_the_other_are_not_beside_each_other():
    starts = [start - 2 * number for number, start in enumerate(range(0, 600, 60))]  # an id is made two seconds late
    assert why_times_do_not_compare({"plain": series(*starts)}, None) == []


def test_a_busy_machine_is_named_with_the_most_that_was_seen():
    groups = {"plain": [run(0, load=1.0), run(200, load=BUSY)], "cutmix": [run(100, load=2.51), run(300, load=4.0)]}
    expected = ["cutmix: 2 runs made on a busy machine, up to 4.0 processes a processor, with its own"]
    assert why_times_do_not_compare(groups, "plain") == expected


def test_no_group_has_more_than_one_line_of_a_kind():
    groups = {name: series(*range(start, start + 50, 5), load=9.0) for name, start in (("plain", 0), ("a", 60))}
    lines = why_times_do_not_compare(groups, "plain")
    kinds = [[word for word in ("baseline", "beside", "busy") if word in line] for line in lines]
    assert kinds == [["beside"], ["busy"], ["baseline"], ["beside"], ["busy"]]


def test_a_run_says_when_where_and_how_loaded_it_was_made(tmp_path):
    id_and_load = {"run_id": "20260102T030405-0a1b2c3d", "load_at_start": 0.5, "load_at_end": 1.5}
    path = make_run(tmp_path / "run", total_seconds=30.0, **id_and_load)
    summary = json.loads((path / "summary.json").read_text())
    found = made(summary, {"hostname": "bench-1", "load_average": [9.0, 1.0, 1.0], "cores": 2})
    assert found == Made(1767323045.0, 1767323075.0, "bench-1", 1.5)
    assert made(summary, {}) == Made(1767323045.0, 1767323075.0, None, 1.5)
    older = summary | {"load_at_start": None, "load_at_end": None}
    assert made(older, {"load_average": [3.0, 1.0, 1.0], "cores": 2}).load == 1.5


STRANGE = (None, "x", 7, [], {}, [None], ["x"], float("nan"), True, "20260102", "20261399T999999-1")


@pytest.mark.parametrize(("value", "other"), [*itertools.product(STRANGE, STRANGE[:4])])
def test_whatever_stands_in_the_files_of_others_is_no_error(value, other):
    keys = ("total_seconds", "load_at_start", "load_at_end")
    environment = {"hostname": other, "load_average": value, "cores": value}
    assert made({"run_id": value} | dict.fromkeys(keys, other), environment) is None
    found = made({"run_id": "20260102T030405-1"} | dict.fromkeys(keys, value), environment)
    assert found
    why_times_do_not_compare({"a": [found], "b": [found]}, "a")
