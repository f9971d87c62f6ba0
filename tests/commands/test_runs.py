"""`cnnbench runs`: what it shows, and that nothing is moved or deleted but what is shown and meant."""

import csv
import fcntl
import io
import json
import os
import shutil
from pathlib import Path

import pytest
from rich.console import Console
from run_folders import make_run

from cnnbench import console
from cnnbench.analysis.listing import COLUMNS
from cnnbench.commands.runs_screen import show_runs

LR = {"optimizer": {"name": "sgd", "lr": 0.5, "momentum": 0.9}}


@pytest.fixture
def runs(tmp_path):
    """A folder with two runs in a sweep, one that failed and one that cannot be read."""
    make_run(tmp_path / "runs" / "sweep" / "0", 0.9)
    make_run(tmp_path / "runs" / "sweep" / "1", 0.95, seed=1, config=LR)
    error = f"the GPU is full; {'take a smaller batch ' * 20}\nand another line"
    make_run(tmp_path / "runs" / "failed", None, status="failed", exit_code=4, error=error)
    (tmp_path / "runs" / "broken").mkdir()
    (tmp_path / "runs" / "broken" / "summary.json").write_text("{")
    return tmp_path / "runs"


def listed(cnnbench, *arguments):
    exit_code, out, err = cnnbench("runs", *arguments, "--json")
    assert (exit_code, err) == (0, "")
    return {Path(run["path"]).name: run for run in json.loads(out)}


def files_below(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_line_for_each_run_says_what_became_of_it(cnnbench, runs):
    exit_code, out, err = cnnbench("runs", runs)
    assert (exit_code, err) == (0, "")
    header, first, second, failed, broken = out.splitlines()
    assert " ".join(header.split()) == "run status differs in seed test % val % train s started error"
    assert " ".join(first.split()) == "sweep/0 finished optimizer.lr=0.1 0 90.00 90.00 10 2026-01-01 00:00"
    assert " ".join(second.split()).startswith("sweep/1 finished optimizer.lr=0.5 1 95.00")
    assert "the GPU is full; take a smaller batch" in failed
    assert "another line" not in out
    assert broken.split()[:2] == ["broken", "broken"]
    assert "summary.json: cannot be read" in broken


def test_with_more_than_one_folder_paths_are_those_given(cnnbench, runs):
    out = cnnbench("runs", runs / "sweep", runs / "failed")[1]
    assert [line.split()[0] for line in out.splitlines()[1:]] == [
        str(runs / name) for name in ("sweep/0", "sweep/1", "failed")
    ]


def test_json_and_csv_say_the_same_with_errors_whole(cnnbench, runs):
    documents = json.loads(cnnbench("runs", runs, "--json")[1])
    rows = list(csv.DictReader(io.StringIO(cnnbench("runs", runs, "--csv")[1])))
    assert tuple(documents[0]) == tuple(rows[0]) == COLUMNS
    assert [row["path"] for row in rows] == [document["path"] for document in documents]
    assert [row["test_accuracy"] for row in rows] == ["0.9", "0.95", "", ""]
    failed = next(document for document in documents if document["status"] == "failed")
    assert failed["error"].endswith("and another line")


def test_a_cell_of_the_csv_is_never_a_formula(cnnbench, tmp_path):
    make_run(tmp_path / "a", None, status="failed", error="=cmd()")
    assert ",'=cmd()," in cnnbench("runs", tmp_path, "--csv")[1]


def test_what_is_not_chosen_is_not_shown_and_none_is_no_error(cnnbench, runs):
    assert set(listed(cnnbench, runs, "--where", "optimizer.lr>0.4")) == {"1"}
    exit_code, out, err = cnnbench("runs", runs, "--where", "seed=9", "--json")
    assert (exit_code, json.loads(out), err) == (0, [], "note: none of 4 runs is meant by --where seed=9\n")


def test_the_best_come_first_and_reversed_last(cnnbench, runs):
    assert list(listed(cnnbench, runs, "--sort", "test_accuracy"))[:2] == ["1", "0"]
    assert list(listed(cnnbench, runs, "--sort", "test_accuracy", "--reverse"))[:2] == ["0", "1"]
    assert list(listed(cnnbench, runs, "--reverse"))[-2:] == ["1", "0"]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--where", "seed="], "--where seed=: what follows the end should be a value"),
        (["--sort", "test_acuracy"], "--sort test_acuracy: no run has such a key; did you mean 'test_accuracy'?"),
        (["--tag", "a b"], "--tag a b: should be letters, digits, - _ . and 40 of them at most"),
        (["--tag", "a" * 41], "should be letters"),
        (["--untag", "ä"], "--untag ä: should be letters"),
        (["--delete", "--archive", "x"], "--tag, --archive, --delete: one at a time"),
        (["--delete", "--json"], "leave nothing to ask; add --yes"),
        (["--json", "--csv"], "one of them"),
    ],
)
def test_a_mistake_is_one_line(cnnbench, runs, arguments, line):
    before = files_below(runs)
    exit_code, out, err = cnnbench("runs", runs, *arguments)
    assert (exit_code, out, err.count("\n")) == (2, "", 1)
    assert line in err
    assert files_below(runs) == before


def test_a_folder_without_runs_or_that_is_not_there_is_one_line(cnnbench, tmp_path):
    assert cnnbench("runs", tmp_path)[::2] == (
        65,
        f"error: {tmp_path}: no run folder; give folders that `cnnbench train` wrote\n",
    )
    assert cnnbench("runs", tmp_path / "nowhere")[0] == 65


def test_tags_are_given_shown_asked_for_and_taken(cnnbench, runs):
    assert cnnbench("runs", runs, "--where", "seed=1", "--tag", "best", "--tag", "v2.1")[1].count("best v2.1") == 1
    assert listed(cnnbench, runs, "--where", "tag=best")["1"]["tags"] == ["best", "v2.1"]
    assert set(listed(cnnbench, runs, "--where", "tag!=best")) == {"0", "failed", "broken"}
    assert listed(cnnbench, runs, "--where", "tag=best", "--untag", "best")["1"]["tags"] == ["v2.1"]
    cnnbench("runs", runs, "--untag", "v2.1")
    assert [name for name in files_below(runs) if "tags" in name] == []


def test_tags_that_cannot_be_read_are_told_and_left(cnnbench, runs):
    (runs / "sweep" / "0" / "tags.json").write_text('{"tags": ["a b"]}')
    assert "is not a list of tags" in listed(cnnbench, runs)["0"]["error"]
    exit_code, _, err = cnnbench("runs", runs, "--tag", "x")
    assert (exit_code, err.count("\n")) == (65, 1)
    assert [name for name in files_below(runs) if "tags" in name] == ["sweep/0/tags.json"]


def test_a_tagged_run_is_as_it_was_written_and_can_be_archived_and_deleted(train, cnnbench, tmp_path):
    run = train("outputs/run")
    assert cnnbench("runs", run, "--tag", "kept")[0] == 0
    assert cnnbench("verify", run)[0] == 0
    assert listed(cnnbench, tmp_path / "outputs")["run"]["tags"] == ["kept"]
    before = files_below(run)
    exit_code, out, _ = cnnbench("runs", tmp_path / "outputs", "--archive", "old", "--yes")
    assert (exit_code, out.splitlines()[-1]) == (0, "moved 1 run into old")
    assert not run.exists()
    assert files_below(tmp_path / "old" / "run") == before
    assert cnnbench("verify", "old/run")[0] == 0
    size = sum(path.stat().st_size for path in (tmp_path / "old").rglob("*") if path.is_file())
    exit_code, out, _ = cnnbench("runs", "old", "--delete", "--yes")
    assert (exit_code, out.splitlines()[-1]) == (0, f"deleted 1 run, {size:,} bytes")
    assert list((tmp_path / "old").iterdir()) == []


def test_runs_are_moved_with_their_relative_paths_and_only_those_shown(cnnbench, runs, tmp_path):
    arguments = ("runs", runs, "--where", "status=finished", "--archive", tmp_path / "old" / "more", "--yes")
    assert cnnbench(*arguments)[0] == 0
    assert sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("summary.json")) == [
        "old/more/sweep/0/summary.json", "old/more/sweep/1/summary.json",
        "runs/broken/summary.json", "runs/failed/summary.json",
    ]  # fmt: skip


def test_what_lies_in_the_archive_already_stays(cnnbench, runs):
    for _ in range(2):
        exit_code, _, err = cnnbench("runs", runs, "--where", "seed=1", "--archive", runs / "old", "--yes")
        assert exit_code == 0
    assert err == f"note: 1 run in {runs / 'old'} already, which stay\n"
    assert (runs / "old" / "sweep" / "1" / "summary.json").is_file()


@pytest.mark.parametrize("flags", [["--delete"], ["--archive", "old"]])
def test_without_yes_and_without_anybody_to_ask_nothing_is_touched(cnnbench, runs, tmp_path, flags):
    before = files_below(tmp_path)
    exit_code, out, err = cnnbench("runs", runs, "--where", "seed=1", *flags)
    assert exit_code == 2
    assert "sweep/1" in out  # what it would touch
    assert "nobody can be asked here; add --yes" in err
    assert files_below(tmp_path) == before


@pytest.mark.parametrize("answer", [True, False])
@pytest.mark.parametrize("flags", [["--delete"], ["--archive", "old"]])
def test_who_is_asked_decides(cnnbench, runs, monkeypatch, flags, answer):
    asked = []
    monkeypatch.setattr("cnnbench.commands.runs.confirm", lambda question: asked.append(question) or answer)
    assert cnnbench("runs", runs, "--where", "seed=1", *flags)[0] == 0
    assert (runs / "sweep" / "1").exists() is not answer
    assert (runs / "sweep" / "0").exists()
    assert len(asked) == 1
    assert "1 run" in asked[0]
    assert "bytes" in asked[0] or "old" in asked[0]


@pytest.mark.parametrize("flags", [["--delete"], ["--archive", "old"]])
def test_a_run_in_which_a_process_works_and_a_folder_that_may_be_no_run_are_told_before_anything_is_touched(
    cnnbench, runs, flags
):
    lock = runs / "sweep" / "1" / ".lock"
    lock.touch()
    before = files_below(runs)
    with lock.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        exit_code, out, err = cnnbench("runs", runs, *flags, "--yes")
        assert (exit_code, out) == (65, "")
        assert [line.partition(": ")[2] for line in err.splitlines()] == [
            f"{runs / 'sweep' / '1'}: a process works in this run; wait, or stop it",
            f"{runs / 'broken'}: may be no run, for it has no .lock and no readable summary.json; see to it by hand",
        ]
        assert cnnbench("runs", runs / "sweep", *flags, "--yes")[0] == 75
    assert files_below(runs) == before


def test_a_target_that_is_there_a_second_run_for_one_and_a_folder_in_a_run_are_refused(cnnbench, runs, tmp_path):
    (tmp_path / "old" / "sweep" / "1").mkdir(parents=True)
    exit_code, _, err = cnnbench("runs", runs, "--where", "seed=1", "--archive", tmp_path / "old", "--yes")
    assert (exit_code, err.count("\n")) == (65, 1)
    assert f"{tmp_path / 'old' / 'sweep' / '1'} is there already" in err
    shutil.copytree(runs / "sweep", tmp_path / "other" / "sweep")
    exit_code, _, err = cnnbench("runs", runs / "sweep", tmp_path / "other/sweep", "--archive", "new", "--yes")
    assert (exit_code, err.count("another run would become")) == (65, 4)
    exit_code, _, err = cnnbench("runs", runs / "sweep", "--archive", runs / "sweep" / "0" / "in", "--yes")
    assert (exit_code, "lies in the run" in err) == (2, True)
    assert not (tmp_path / "new").exists()


def test_another_file_system_is_refused(cnnbench, runs, monkeypatch):
    monkeypatch.setattr("cnnbench.runs.archiving._device", lambda folder: -1)
    exit_code, _, err = cnnbench("runs", runs / "sweep", "--archive", "old", "--yes")
    assert (exit_code, err.count("lies on another file system than old; name a folder on the same one")) == (65, 2)
    assert (runs / "sweep" / "0").exists()


def test_deleting_follows_no_links_and_spares_runs_within(cnnbench, runs, tmp_path):
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").write_text("x")
    (runs / "sweep" / "0" / "link").symlink_to(tmp_path / "precious")
    (tmp_path / "to-a-run").symlink_to(runs / "sweep" / "1")
    exit_code, _, err = cnnbench("runs", tmp_path / "to-a-run", "--delete", "--yes")
    assert (exit_code, "is a link; give the folder that it leads to" in err) == (65, True)
    shutil.copy(runs / "sweep" / "0" / "summary.json", runs / "summary.json")
    exit_code, _, err = cnnbench("runs", runs, "--delete", "--yes")
    assert (exit_code, f"{runs}: holds the run {runs}" in err) == (65, True)
    (runs / "summary.json").unlink()
    assert cnnbench("runs", runs / "sweep", "--delete", "--yes")[0] == 0
    assert (tmp_path / "precious" / "file").read_text() == "x"
    assert list((runs / "sweep").iterdir()) == []


def test_a_run_given_as_the_current_folder_keeps_its_name(cnnbench, runs, monkeypatch):
    monkeypatch.chdir(runs / "sweep" / "0")
    assert cnnbench("runs", ".", "--archive", runs / "old", "--yes")[0] == 0
    assert (runs / "old" / "0" / "summary.json").is_file()


def test_with_json_what_was_done_is_said_on_stderr(cnnbench, runs):
    exit_code, out, err = cnnbench("runs", runs / "sweep", "--delete", "--yes", "--json")
    assert (exit_code, len(json.loads(out))) == (0, 2)
    assert err.startswith("note: deleted 2 runs, ")


@pytest.mark.skipif(os.getuid() == 0, reason="root may write anywhere")
def test_what_cannot_be_deleted_is_told_and_the_others_are(cnnbench, runs):
    (runs / "sweep" / "0").chmod(0o500)
    assert cnnbench("runs", runs / "sweep", "--delete", "--yes")[0] == 74
    assert not (runs / "sweep" / "1").exists()


@pytest.mark.parametrize("width", [40, 80, 120, 200])
def test_the_table_fits_a_terminal(runs, monkeypatch, width):
    from cnnbench.analysis.listing import list_runs

    (runs / "sweep" / "0").rename(runs / "sweep" / ("a-very-long-name-" * 6 + "0"))
    terminal = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    monkeypatch.setattr(console, "_out", terminal)
    found = list_runs([runs])
    show_runs([runs], found, {run.path: f"optimizer.lr={'0' * 60} 模型=深" for run in found})
    lines = terminal.file.getvalue().splitlines()
    assert len(lines) == 5
    assert all(terminal.measure(line).maximum <= width for line in lines)
    assert any("name-0 " in line for line in lines)
