import json
import threading
from types import SimpleNamespace

import pytest
from run_folders import make_run

from cnnbench.config.compose import compose
from cnnbench.runs.sweep_record import read_record
from cnnbench.sweeps import watch
from cnnbench.sweeps.jobs import Job
from cnnbench.sweeps.marks import mark_done, mark_pending
from cnnbench.sweeps.outcome import show_outcome
from cnnbench.sweeps.watch import Outlook, job_parts, spell_seconds, watching


@pytest.fixture(scope="module")
def jobs():
    config = compose([])
    return [Job(f"{seed}-simple-digits", (f"seed={seed}",), config) for seed in range(3)]


def test_jobs_are_told_as_they_end_whoever_runs_them(tmp_path, monkeypatch, capsys, jobs):
    monkeypatch.setattr(watch, "SECONDS_BETWEEN_LOOKS", 0.01)
    seen, say = threading.Event(), watch.say
    monkeypatch.setattr(watch, "say", lambda line: (say(line), seen.set()))
    for job in jobs:
        mark_pending(tmp_path / job.folder)
    with watching(tmp_path, jobs, jobs, ["train"]):
        make_run(tmp_path / "0-simple-digits", seed=0, test_accuracy=0.5, best_val_accuracy=0.25, total_seconds=3.0)
        mark_done(tmp_path / "0-simple-digits")
        assert seen.wait(10)
        make_run(tmp_path / "1-simple-digits", seed=1, status="failed", error="model: too large\nby far")
        mark_done(tmp_path / "1-simple-digits")
        make_run(tmp_path / "2-simple-digits", seed=2, status="failed", error="killed; tried once more")
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("1 of 3  seed=0  test 50.00 %  val 25.00 %  3.0 s  about ")
    assert second.startswith("2 of 3  seed=1  failed: model: too large; by far  about ")
    record = read_record(tmp_path)
    assert [(job.varying, job.state) for job in record.jobs] == [
        ("seed=0", "finished"), ("seed=1", "failed"), ("seed=2", "failed"),
    ]  # fmt: skip
    assert record.jobs[1].error == "model: too large\nby far"


def test_the_time_left_of_a_search_is_told_by_all_its_trials_so_far(tmp_path, monkeypatch, capsys, jobs):
    monkeypatch.setattr(watch._Watcher, "_show", lambda *_: None)  # which asks for the time too
    clock = iter([])
    monkeypatch.setattr(watch, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    for number, job in enumerate(jobs, start=1):  # one trial after another, of six, of which none was done before
        clock = iter([100.0 * number])
        with watching(tmp_path, jobs[:number], [job], ["train"], Outlook(total=6, done=0, began=0.0)):
            make_run(tmp_path / job.folder, total_seconds=3.0)
    told = [line.partition("about ")[2] for line in capsys.readouterr().out.splitlines()]
    assert told == ["8:20 min left", "6:40 min left", "5:00 min left"]


def test_a_folder_without_a_readable_summary_is_waited_for(tmp_path, capsys, jobs):
    (tmp_path / "0-simple-digits").mkdir()
    (tmp_path / "1-simple-digits").mkdir()
    with watching(tmp_path, jobs, jobs, ["train"]):
        (tmp_path / "1-simple-digits" / "summary.json").write_text("{")
    assert capsys.readouterr().out == ""
    assert [job.state for job in read_record(tmp_path).jobs] == ["waiting"] * 3


def test_the_table_at_the_end_has_a_row_for_each_group_the_best_first(tmp_path, capsys, jobs):
    folder, config = tmp_path / "my sweep", jobs[0].config
    named = [Job(f"{n}", (f"lr={lr}", f"seed={n % 2}"), config) for n, lr in enumerate((1, 1, 2, 2))]
    for job, accuracy in zip(named, (0.5, 0.75, 0.875, None), strict=True):
        make_run(folder / job.folder, accuracy=accuracy, best_val_accuracy=None, config_hash=job.config_hash)
    file = folder / "3" / "summary.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"status": "failed"}))
    show_outcome(folder, named)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in lines[1:4]] == ["group", "lr=2", "lr=1"]
    assert lines[2].split()[1:] == ["1", "of", "2", "87.50", "%"]
    assert lines[3].split()[1:] == ["2", "62.50", "±", "17.68", "%"]
    assert lines[-3] == "3 of 4 jobs finished"
    assert lines[-2] == f"`cnnbench compare '{folder}'` says what made a difference"
    assert lines[-1] == f"sweep: {folder}"


def test_seconds_are_told_as_people_say_them():
    shown = {0.44: "0.4 s", 42.4: "42 s", 185: "3:05 min", 3600: "1:00 h", 7830: "2:10 h"}
    assert {seconds: spell_seconds(seconds) for seconds in shown} == shown


def test_a_job_without_validation_shows_its_test_accuracy():
    finished = {"status": "finished", "test_accuracy": 0.5, "best_val_accuracy": None, "total_seconds": 1.0}
    assert job_parts("seed=0", finished) == ["seed=0", "test 50.00 %", "1.0 s"]
