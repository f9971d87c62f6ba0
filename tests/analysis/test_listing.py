"""Every run folder is listed, whatever became of it, and what runs say of a key is found."""

import fcntl
import json
from pathlib import Path

import pytest
from run_folders import make_run

from cnnbench.analysis import run_keys
from cnnbench.analysis.listing import COLUMNS, describe, list_runs, place_below
from cnnbench.analysis.run_keys import Keys, choose, in_order, labels
from cnnbench.errors import ConfigError, DataError


def optimizer(name, lr):
    return {"optimizer": {"name": name, "lr": lr}}


@pytest.fixture
def runs(tmp_path):
    """Five runs in a folder: three of one group, one with other techniques, one that failed at once."""
    for seed, accuracy in enumerate((0.9, 0.92, 0.91)):
        make_run(tmp_path / f"sgd-{seed}", accuracy, seed=seed, config=optimizer("sgd", 0.1), train_seconds=30.0 - seed)
    config = {**optimizer("adam", 0.01), "regularization": {"mixup": {"alpha": 0.2}, "ema": {"decay": 0.99}}}
    make_run(tmp_path / "adam", 0.95, config={**config, "logging": {"csv": {}}}, train_seconds=20.0)
    make_run(
        tmp_path / "lost", None, status="failed", exit_code=4, error="the GPU\nis full", group_hash=None, model=None
    )
    (tmp_path / "lost" / "config.yaml").unlink()
    return tmp_path


def names(listed):
    return [run.path.name for run in listed]


def chosen(folder, where):
    return set(names(choose(Keys(list_runs([folder])), where)))


SGD = {"sgd-0", "sgd-1", "sgd-2"}


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("optimizer.name=sgd and test_accuracy>0.9", {"sgd-1", "sgd-2"}),
        ("optimizer=sgd", SGD),
        ("optimizer!=sgd", {"adam"}),
        ("not optimizer=sgd", {"adam", "lost"}),
        ("optimizer.lr<0.05", {"adam"}),
        ("model=simple", SGD | {"adam"}),
        ("model.dropout=0", SGD | {"adam"}),
        ("regularization~mixup", {"adam"}),
        ("regularization=mixup and regularization=ema", {"adam"}),
        ("regularization!=mixup", SGD),
        ("regularization.ema.decay>=0.99", {"adam"}),
        ("regularization.ema.decay=null", SGD | {"lost"}),
        ("logging=csv", {"adam"}),
        ("checkpoint.keep=2", SGD | {"adam"}),
        ("target.value=null", SGD | {"adam", "lost"}),
        ("target.metric=val_accuracy", SGD | {"adam"}),
        ("status=failed or seed>=2", {"lost", "sgd-2"}),
        ("error~gpu", {"lost"}),
        ("test_accuracy=null", {"lost"}),
        ("path~sgd-", SGD),
        ("epochs=3", SGD | {"adam"}),
        ("tag=best", set()),
        ("started>2026", SGD | {"adam", "lost"}),
    ],
)
def test_runs_are_chosen_by_summary_config_tag_and_path(runs, where, expected):
    assert chosen(runs, where) == expected


@pytest.mark.parametrize(
    ("where", "line"),
    [
        ("optimizer.lrr=1", "--where optimizer.lrr: no run has such a key; did you mean 'optimizer.lr'?"),
        ("test_acuracy>1", "--where test_acuracy: no run has such a key; did you mean 'test_accuracy'?"),
        ("qqq=1", "--where qqq: no run has such a key; choose a key of summary.json, as test_accuracy, of the config, "
                  "as optimizer.lr, or tag or path"),
        ("target=1", "--where target: no run has such a key; "),
    ],
)  # fmt: skip
def test_a_key_that_no_run_has_is_an_error_with_the_one_meant(runs, where, line):
    with pytest.raises(ConfigError, match="no run has such a key") as raised:
        chosen(runs, f"seed=0 or {where}")
    assert raised.value.findings[0].startswith(line)


def test_all_unknown_keys_are_told_at_once(runs):
    with pytest.raises(ConfigError) as raised:
        chosen(runs, "one.two=1 and three.four=2 and one.two=3")
    assert len(raised.value.findings) == 2


@pytest.mark.parametrize(
    ("key", "order"),
    [
        ("test_accuracy", ["adam", "sgd-1", "sgd-2", "sgd-0", "lost"]),
        ("train_seconds", ["lost", "adam", "sgd-2", "sgd-1", "sgd-0"]),
        ("seed", ["sgd-0", "adam", "lost", "sgd-1", "sgd-2"]),
        ("optimizer.lr", ["adam", "sgd-0", "sgd-1", "sgd-2", "lost"]),
        ("optimizer", ["adam", "sgd-0", "sgd-1", "sgd-2", "lost"]),
        ("tag", ["sgd-0", "sgd-1", "sgd-2", "adam", "lost"]),
    ],
)
def test_a_key_sorts_the_best_first_and_those_without_it_last(runs, key, order):
    listed = list_runs([runs])
    assert names(in_order(listed, Keys(listed), key)) == order


def test_the_other_way_round_those_without_the_key_stay_last(runs):
    listed = list_runs([runs])
    assert names(in_order(listed, Keys(listed), "test_accuracy", reverse=True)) == [
        "sgd-0", "sgd-2", "sgd-1", "adam", "lost",
    ]  # fmt: skip


def test_runs_come_in_the_order_of_their_start_and_broken_ones_last(runs):
    (runs / "a-broken").mkdir()
    (runs / "a-broken" / "summary.json").write_text("{")
    assert names(list_runs([runs])) == ["sgd-0", "sgd-1", "sgd-2", "adam", "lost", "a-broken"]


def test_labels_name_what_differs_and_read_one_config_of_a_group(runs, monkeypatch):
    read = []
    config_of = run_keys.config_of
    monkeypatch.setattr(run_keys, "config_of", lambda members: read.append(members) or config_of(members))
    listed = list_runs([runs])
    named = labels(listed, Keys(listed))
    assert named[runs / "sgd-0"] == named[runs / "sgd-2"] == "optimizer=sgd regularization=[]"
    assert named[runs / "adam"] == "optimizer=adam regularization=[mixup,ema]"
    assert runs / "lost" not in named
    assert len(read) == 2


def test_what_a_run_is_written_as_has_the_columns_and_plain_numbers(runs):
    described = describe(list_runs([runs])[0], "label")
    assert tuple(described) == COLUMNS
    assert described | {"path": "sgd-0"} == described | {
        "path": "sgd-0", "status": "finished", "seed": 0, "label": "label", "tags": [], "error": None,
        "started": "2026-01-01T00:00:00Z", "test_accuracy": 0.9, "parameters": 1000,
    }  # fmt: skip
    assert isinstance(described["parameters"], int)


@pytest.mark.parametrize(
    ("content", "status"),
    [
        ("{", "broken"),
        ("[]", "broken"),
        ("\udcff", "broken"),
        ('{"format": 1}', "broken"),
        ('{"format": 1, "status": "great"}', "broken"),
        ('{"format": 1, "status": 7}', "broken"),
        ('{"format": 99, "status": "finished"}', "newer"),
        ('{"format": 1, "status": "finished", "seed": "x", "run_id": 5, "group_hash": [], "error": {}}', "finished"),
        ('{"format": 1, "status": "finished", "test_accuracy": NaN, "tags": 3, "seed": true}', "finished"),
        ("[" * 100_000, "broken"),
    ],
)  # fmt: skip
def test_a_damaged_run_is_listed_with_why(tmp_path, content, status):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "summary.json").write_bytes(content.encode("utf-8", "surrogateescape"))
    listed = list_runs([tmp_path])
    assert [run.status for run in listed] == [status]
    assert status == "finished" or listed[0].error
    keys = Keys(listed)
    json.dumps([describe(run, labels(listed, keys).get(run.path, "")) for run in listed], allow_nan=False)
    assert in_order(listed, keys, "test_accuracy") == choose(keys, "seed=null or not seed=null") == listed


def test_a_run_without_a_summary_is_broken(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "metrics.jsonl").touch()
    assert [run.status for run in list_runs([tmp_path])] == ["broken"]


def test_a_running_run_whose_lock_nobody_holds_was_killed(tmp_path):
    run = make_run(tmp_path / "a", None, status="running")
    assert list_runs([tmp_path])[0].status == "killed"
    lock = run / ".lock"
    lock.touch()
    assert list_runs([tmp_path])[0].status == "killed"
    with lock.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert list_runs([tmp_path])[0].status == "running"
    assert list_runs([tmp_path])[0].status == "killed"
    assert sorted(path.name for path in run.iterdir()) == [".lock", "config.yaml", "summary.json"]


def test_a_run_lies_below_the_first_folder_that_holds_it():
    folders = [Path("."), Path("a"), Path("../b")]
    assert place_below(Path("a/x"), folders) == Path("a/x")
    assert place_below(Path("../b/c/x"), folders) == Path("c/x")
    assert place_below(Path("a/x"), [Path("a"), Path(".")]) == Path("x")
    assert place_below(Path("../b"), folders) == Path("b")


def test_a_folder_without_runs_is_an_error(tmp_path):
    with pytest.raises(DataError, match="no run folder; give folders that"):
        list_runs([tmp_path])
