"""Which folders count as runs, how they are grouped, and what is said of the others."""

import json
import os

import pytest
from run_folders import CONFIG, make_run

from cnnbench.analysis.groups import collect, count_reasons, find_runs
from cnnbench.errors import DataError
from cnnbench.runs.sweep_record import JobRecord, SweepRecord, write_record

METRIC = "test_accuracy"


def sgd(lr):
    return {"optimizer": {"name": "sgd", "lr": lr, "momentum": 0.9}}


def test_runs_that_differ_in_the_seed_only_are_one_group(tmp_path):
    for seed in (2, 0, 1):
        make_run(tmp_path / f"a{seed}", 0.9 + seed / 100, seed=seed)
    make_run(tmp_path / "deep" / "b", seed=0, config=sgd(0.5))
    groups = {group.label: group for group in collect([tmp_path], METRIC).groups}
    assert {label: group.seeds for label, group in groups.items()} == {
        "optimizer.lr=0.1": (0, 1, 2),
        "optimizer.lr=0.5": (0,),
    }
    assert groups["optimizer.lr=0.1"].numbers(METRIC) == [0.9, 0.91, 0.92]
    assert "seed" not in groups["optimizer.lr=0.1"].config


def test_a_run_named_twice_counts_once(tmp_path):
    run = make_run(tmp_path / "sweep" / "a")
    (tmp_path / "link").symlink_to(run)
    assert list(find_runs([tmp_path, run, tmp_path / "sweep", tmp_path / "link"])) == [run]


def test_groups_come_in_the_order_in_which_their_first_runs_were_started(tmp_path):
    make_run(tmp_path / "a", config=sgd(0.3), run_id="20260102T000000-00000000")
    make_run(tmp_path / "b", config=sgd(0.7), run_id="20260101T000000-00000000")
    assert [group.label for group in collect([tmp_path], METRIC).groups] == ["optimizer.lr=0.7", "optimizer.lr=0.3"]


def test_of_a_seed_run_twice_the_later_counts(tmp_path):
    make_run(tmp_path / "new", 0.8, run_id="20260102T000000-00000000")
    make_run(tmp_path / "old", 0.7, run_id="20260101T000000-00000000")
    collection = collect([tmp_path], METRIC)
    assert collection.groups[0].numbers(METRIC) == [0.8]
    assert [(skipped.path.name, skipped.reason.partition(":")[0]) for skipped in collection.skipped] == [
        ("old", "repeated")
    ]


@pytest.mark.parametrize(
    ("summary", "reason"),
    [
        ({"status": "failed", "error": "model.width=0: too small"}, "failed"),
        ({"status": "interrupted"}, "interrupted"),
        ({"status": "running"}, "running or killed"),
        ({"status": "great"}, "broken"),
        ({"format": 99}, "of a newer format"),
        ({"seed": "0"}, "broken"),
        ({"seed": True}, "broken"),
        ({"group_hash": ["x"]}, "broken"),
        ({"test_accuracy": None}, "without test_accuracy"),
        ({"test_accuracy": "0.99"}, "without test_accuracy"),
        ({"test_accuracy": float("nan")}, "without test_accuracy"),
        ({"test_accuracy": 10**400}, "without test_accuracy"),
        ({"test_accuracy": True}, "without test_accuracy"),
    ],
)
def test_what_does_not_count_is_named_with_its_reason(tmp_path, summary, reason):
    make_run(tmp_path / "good")
    make_run(tmp_path / "other", **({"seed": 1} | summary))
    collection = collect([tmp_path], METRIC)
    assert collection.groups[0].seeds == (0,)
    assert [(skipped.path.name, skipped.reason.partition(":")[0]) for skipped in collection.skipped] == [
        ("other", reason)
    ]


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"format": "x"}', "nul", '{"status": "finished"}', "[" * 100_000])
def test_a_broken_summary_is_counted_not_raised(tmp_path, text):
    make_run(tmp_path / "good")
    (make_run(tmp_path / "bad", seed=1) / "summary.json").write_text(text)
    assert count_reasons(skipped.reason for skipped in collect([tmp_path], METRIC).skipped) == "1 broken"


def test_a_folder_with_metrics_but_without_a_summary_is_broken(tmp_path):
    make_run(tmp_path / "good")
    (make_run(tmp_path / "killed", seed=1) / "summary.json").rename(tmp_path / "killed" / "metrics.jsonl")
    assert [skipped.path.name for skipped in collect([tmp_path], METRIC).skipped] == ["killed"]


def test_a_group_whose_config_is_damaged_goes_by_its_hash(tmp_path):
    make_run(tmp_path / "a")
    bad = make_run(tmp_path / "b", config=sgd(0.5))
    (bad / "config.yaml").write_text("a: &x [*x]")
    groups = collect([tmp_path], METRIC).groups
    wanted = json.loads((bad / "summary.json").read_text())["group_hash"]
    assert [group.label for group in groups if group.config is None] == [wanted]


def test_no_run_at_all_is_an_error_that_says_what_was_found(tmp_path):
    with pytest.raises(DataError, match="no run to compare, no run folder"):
        collect([tmp_path], METRIC)
    make_run(tmp_path / "a", status="failed")
    with pytest.raises(DataError, match="no run to compare, 1 failed"):
        collect([tmp_path], METRIC)
    make_run(tmp_path / "b", None)
    with pytest.raises(DataError, match=r"1 without test_accuracy; .*--metric"):
        collect([tmp_path], METRIC)


def test_every_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(DataError) as caught:
        collect([tmp_path / "x", tmp_path / "y"], METRIC)
    assert [finding.rpartition(":")[0] for finding in caught.value.findings] == [
        str(tmp_path / "x"),
        str(tmp_path / "y"),
    ]


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_folder_that_may_not_be_read_is_passed_over(tmp_path):
    make_run(tmp_path / "a")
    (tmp_path / "closed").mkdir(mode=0)
    assert len(collect([tmp_path], METRIC).groups) == 1


def images(train, val="b", test="c", whole=None):
    parts = {"train": train, "val": val, "test": test} | ({"whole": whole} if whole else {})
    return {"data_fingerprints": {part: name and name * 64 for part, name in parts.items()}, "image_shape": [1, 8, 8]}


BY_SEED = {"data": CONFIG["data"] | {"split_seed": None}}


def seeds_of(folder):
    return [group.seeds for group in collect([folder], METRIC).groups]


def test_runs_that_each_have_the_split_of_their_seed_are_one_group(tmp_path):
    for seed, name in enumerate("012"):
        make_run(tmp_path / name, seed=seed, config=BY_SEED, **images(name, val=name, whole="a"))
    (group,) = collect([tmp_path], METRIC).groups
    assert (group.seeds, group.id.count("-"), "images=" in group.label) == ((0, 1, 2), 0, False)


def test_a_seed_run_twice_on_the_split_of_its_seed_counts_once(tmp_path):
    for name in "ab":
        make_run(tmp_path / name, seed=3, config=BY_SEED, **images("d", whole="a"))
    make_run(tmp_path / "c", seed=4, config=BY_SEED, **images("e", whole="a"))
    assert seeds_of(tmp_path) == [(3, 4)]


@pytest.mark.parametrize("change", [{"train": "e"}, {"train": "e", "whole": None}, {"train": "d", "val": "e"}])
def test_a_seed_run_on_other_images_than_before_does_not_pool(tmp_path, change):
    make_run(tmp_path / "a", seed=0, config=BY_SEED, **images("d", whole=change.get("whole", "a")))
    make_run(tmp_path / "b", seed=0, config=BY_SEED, **images(**({"whole": "a"} | change)))
    assert seeds_of(tmp_path) == [(0,), (0,)]


@pytest.mark.parametrize("change", [{"whole": "e"}, {"test": "e"}])
def test_seeds_whose_splits_are_of_other_images_do_not_pool(tmp_path, change):
    for seed in range(4):
        given = images(str(seed), **({"whole": "a"} | (change if seed > 1 else {})))
        make_run(tmp_path / str(seed), seed=seed, config=BY_SEED, **given)
    assert seeds_of(tmp_path) == [(0, 1), (2, 3)]


def test_a_split_of_its_own_under_a_fixed_split_seed_does_not_pool(tmp_path):
    for seed in range(2):
        make_run(tmp_path / str(seed), seed=seed, **images(str(seed), whole="a"))
    assert seeds_of(tmp_path) == [(0,), (1,)]


@pytest.mark.parametrize("config", [{}, BY_SEED])
def test_a_run_that_diverged_before_it_read_the_test_images_counts_in_its_group(tmp_path, config):
    diverged = {"status": "failed", "exit_code": 3}
    make_run(tmp_path / "0", None, seed=0, config=config, **diverged, **images("a", test=None, whole="a"))
    for seed in (1, 2):
        make_run(tmp_path / str(seed), seed=seed, config=config, **images("a", whole="a"))
    (group,) = collect([tmp_path], METRIC).groups
    assert (group.seeds, [run.seed for run in group.diverged]) == ((1, 2), [0])


def test_the_config_of_the_factory_is_like_a_real_one():
    from cnnbench.config.compose import compose

    real = compose([]).as_dict()
    assert list(CONFIG) == list(real)


def test_the_groups_of_a_sweep_stand_in_the_order_of_its_jobs_whichever_began_first(tmp_path):
    folder = tmp_path / "sweep"
    for number, lr in ((1, 0.2), (2, 0.3), (0, 0.1)):  # side by side, the first began last
        make_run(folder / f"{number}-run", config={"optimizer": {"name": "sgd", "lr": lr}})
    make_run(tmp_path / "later", config={"optimizer": {"name": "sgd", "lr": 0.4}})
    jobs = [JobRecord(f"{number}-run", f"lr={number}", "", "finished", None) for number in range(3)]
    write_record(folder, SweepRecord(["train"], jobs))
    groups = collect([tmp_path], "test_accuracy").groups
    assert [group.config["optimizer"]["lr"] for group in groups] == [0.1, 0.2, 0.3, 0.4]
