import json
import threading

from run_folders import make_run

from cnnbench.sweeps import watch
from cnnbench.sweeps.jobs import folder_pattern, varying_settings
from cnnbench.sweeps.watch import job_parts, show_sweep, spell_seconds, watching

JOBS = {"0-*": "seed=0", "1-*": "seed=1", "2-*": "seed=2"}


def set_status(path, **changes):
    file = path / "summary.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def test_jobs_are_told_as_they_end_whoever_runs_them(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(watch, "SECONDS_BETWEEN_LOOKS", 0.01)
    seen, say = threading.Event(), watch.say
    monkeypatch.setattr(watch, "say", lambda line: (say(line), seen.set()))
    with watching(tmp_path, JOBS):
        make_run(tmp_path / "0-simple-digits", seed=0, test_accuracy=0.5, best_val_accuracy=0.25, total_seconds=3.0)
        assert seen.wait(10)
        make_run(tmp_path / "1-simple-digits", seed=1, status="failed", error="model: too large\nby far")
        make_run(tmp_path / "2-simple-digits", seed=2, status="running")
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("1 of 3  seed=0  test 50.00 %  val 25.00 %  3.0 s  about ")
    assert second.startswith("2 of 3  seed=1  failed: model: too large; by far  about ")


def test_a_folder_without_a_readable_summary_is_waited_for(tmp_path, capsys):
    with watching(tmp_path, JOBS):
        (tmp_path / "0-simple-digits").mkdir()
        (tmp_path / "1-simple-digits").mkdir()
        (tmp_path / "1-simple-digits" / "summary.json").write_text("{")
    assert capsys.readouterr().out == ""


def test_the_table_at_the_end_has_the_best_first_and_the_command_that_compares(tmp_path, capsys):
    folder = tmp_path / "my sweep"
    for seed, accuracy in enumerate((0.5, 0.75, None)):
        make_run(folder / f"{seed}-simple-digits", seed=seed, accuracy=accuracy, best_val_accuracy=None)
    set_status(folder / "2-simple-digits", status="failed")
    show_sweep(folder, JOBS)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:5]] == ["job", "seed=1", "seed=0", "seed=2"]
    assert lines[4].split()[-1] == "failed"
    assert lines[-2] == f"`cnnbench compare '{folder}'` says what made a difference"
    assert lines[-1] == f"sweep: {folder}"


def test_what_varies_is_told_by_job_and_what_does_not_is_left_out():
    jobs = varying_settings(["model=simple,deep", "epochs=3", "seed=range(0,2)"], None)
    assert jobs == {
        "0-*": "model=simple seed=0",
        "1-*": "model=simple seed=1",
        "2-*": "model=deep seed=0",
        "3-*": "model=deep seed=1",
    }


def test_folders_that_the_user_names_are_found():
    assert folder_pattern("job${hydra:job.num}", 3) == "job3"
    assert folder_pattern("'${hydra:job.num}_${model.name}'", 3) == "3_*"


def test_seconds_are_told_as_people_say_them():
    shown = {0.44: "0.4 s", 42.4: "42 s", 185: "3:05 min", 3600: "1:00 h", 7830: "2:10 h"}
    assert {seconds: spell_seconds(seconds) for seconds in shown} == shown


def test_a_job_without_validation_shows_its_test_accuracy():
    finished = {"status": "finished", "test_accuracy": 0.5, "best_val_accuracy": None, "total_seconds": 1.0}
    assert job_parts("seed=0", finished) == ["seed=0", "test 50.00 %", "1.0 s"]
