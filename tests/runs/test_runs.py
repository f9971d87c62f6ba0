import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from cnnbench import errors
from cnnbench.config.composition import slug
from cnnbench.errors import CnnbenchError, DataError, DiskError, Interrupted, RunInUseError
from cnnbench.runs.folder import RunFolder, record_failure
from cnnbench.runs.format import new_run_id
from cnnbench.runs.identity import config_hash, group_hash
from cnnbench.runs.read import failed_runs, read_config, read_metrics, read_summary
from cnnbench.runs.signals import interrupting

ROOT = Path(__file__).parents[2]
CONFIG = {"seed": 3, "epochs": 2, "model": {"name": "deep", "widths": [8, 16]}, "target": {"value": None}}
FIXED = """format status error exit_code run_id config_hash group_hash seed model data epochs steps best_epoch
best_val_accuracy test_accuracy test_top5_accuracy test_loss test_reads objective train_seconds total_seconds
images_per_second parameters nonzero_parameters macs model_bytes peak_memory_bytes weights_sha256 device precision
memory_format compile threads time_to_target target"""  # what scripts outside the project read


def started(path, **summary):
    run = RunFolder(path)
    run.start(CONFIG, {"python": "3"}, **summary)
    return run


def test_a_new_run_has_every_fixed_key_and_null_where_nothing_is_known(tmp_path):
    with started(tmp_path / "run", model="deep"):
        summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert [key for key in FIXED.split() if key not in summary] == []
    assert (summary["format"], summary["status"], summary["seed"], summary["model"]) == (1, "running", 3, "deep")
    assert (summary["exit_code"], summary["test_accuracy"], summary["test_reads"]) == (None, None, 0)
    assert (summary["config_hash"], summary["group_hash"]) == (config_hash(CONFIG), group_hash(CONFIG))
    assert json.loads((tmp_path / "run" / "environment.json").read_text()) == {"python": "3"}


def test_the_config_comes_back_as_it_was_given(tmp_path):
    config = CONFIG | {"data": {"root": "ünï [x]", "note": "1e-3", "fraction": 1e-5, "ok": True}}
    with RunFolder(tmp_path / "run") as run:
        run.start(config, {})
    assert read_config(tmp_path / "run") == config


def test_numbers_that_are_not_finite_become_null_in_summary_and_metrics(tmp_path):
    with started(tmp_path / "run") as run:
        run.update_summary(test_loss=float("nan"), target={"value": float("inf")}, objective=0.5)
        run.append_metrics({"epoch": 1, "val_loss": float("-inf"), "gradient_norms": {"a": float("nan"), "b": 2.0}})
    summary = read_summary(tmp_path / "run")
    assert (summary["test_loss"], summary["target"], summary["objective"]) == (None, {"value": None}, 0.5)
    assert read_metrics(tmp_path / "run") == [{"epoch": 1, "val_loss": None, "gradient_norms": {"a": None, "b": 2.0}}]


def endings():
    of_ours = [kind("k: what; fix") for kind in CnnbenchError.__subclasses__()]
    codes = {"ConfigError": 2, "DivergedError": 3, "OutOfMemoryError": 4, "SweepError": 5, "DataError": 65,
             "CheckpointError": 65, "UnavailableError": 69, "DiskError": 74, "RunInUseError": 75}  # fmt: skip
    assert set(codes) == {type(error).__name__ for error in of_ours}
    yield from ((error, "failed", codes[type(error).__name__], "k: what; fix") for error in of_ours)
    yield KeyError("name"), "failed", 1, "KeyError: 'name'"
    yield SystemExit(0), "failed", 1, "SystemExit: 0"


@pytest.mark.parametrize(
    ("error", "status", "exit_code", "text"), list(endings()), ids=lambda value: type(value).__name__
)
def test_an_exception_is_recorded_with_its_status_and_exit_code(tmp_path, error, status, exit_code, text):
    with pytest.raises(type(error)), started(tmp_path / "run", data="digits"):
        raise error
    summary = read_summary(tmp_path / "run")
    assert (summary["status"], summary["exit_code"], summary["error"]) == (status, exit_code, text)
    assert summary["data"] == "digits"
    assert (tmp_path / "run" / "train.log").read_text().endswith(f"Z error: {text}\n")
    assert (tmp_path / "run" / "crash.log").exists() == (exit_code == 1)


@pytest.mark.parametrize(
    ("error", "exit_code"), [(Interrupted(2, "stopped"), 130), (Interrupted(15), 143), (KeyboardInterrupt(), 130)]
)
def test_an_interruption_is_recorded_and_says_how_to_go_on(tmp_path, error, exit_code):
    with pytest.raises(Interrupted) as caught, started(tmp_path / "a run"):
        raise error
    summary = read_summary(tmp_path / "a run")
    line = f"stopped; go on with: cnnbench resume '{tmp_path}/a run'"
    assert (caught.value.exit_code, caught.value.findings) == (exit_code, (line,))
    assert (summary["status"], summary["exit_code"], summary["error"]) == ("interrupted", exit_code, line)
    assert not (tmp_path / "a run" / "crash.log").exists()


def test_an_interruption_before_the_start_leaves_a_folder_that_can_be_given_again(tmp_path):
    with pytest.raises(Interrupted, match="nothing has begun"), RunFolder(tmp_path / "run"):
        raise Interrupted(15)
    with started(tmp_path / "run"):
        pass


def test_a_finished_run_stays_finished_whatever_comes_after(tmp_path):
    run = started(tmp_path / "run")
    run.summary |= {"status": "finished"}  # as of a signal while the file is being written
    with pytest.raises(Interrupted, match="is finished"), run:
        raise Interrupted(15)
    assert read_summary(tmp_path / "run")["status"] == "finished"


def test_a_signal_that_comes_while_an_ending_is_noted_waits(tmp_path, monkeypatch):
    log = RunFolder.log

    def log_in_a_hurry(self, line):
        signal.raise_signal(signal.SIGTERM)
        log(self, line)

    monkeypatch.setattr(RunFolder, "log", log_in_a_hurry)
    with interrupting(), pytest.raises(Interrupted), started(tmp_path / "run"):
        raise DataError("data: missing")
    assert read_summary(tmp_path / "run")["status"] == "failed"


def test_crash_log_holds_the_traceback_of_a_bug(tmp_path):
    with pytest.raises(ZeroDivisionError), started(tmp_path / "run"):
        raise ZeroDivisionError("here \udc80")
    trace = (tmp_path / "run" / "crash.log").read_text()
    assert trace.startswith("Traceback")
    assert trace.endswith("ZeroDivisionError: here \\udc80\n")


def test_a_run_that_fails_before_it_starts_still_has_a_readable_summary(tmp_path):
    with pytest.raises(DataError), RunFolder(tmp_path / "run"):
        raise DataError("data: missing")
    summary = read_summary(tmp_path / "run")
    assert (summary["status"], summary["exit_code"]) == ("failed", 65)
    assert [key for key in FIXED.split() if key not in summary] == []


def test_the_exception_counts_more_than_a_disk_that_cannot_note_it(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(ZeroDivisionError), started(tmp_path / "run"):
        raise ZeroDivisionError
    monkeypatch.undo()
    assert read_summary(tmp_path / "run")["status"] == "running"
    RunFolder(tmp_path / "run", resume=True).__exit__(None, None, None)  # the lock was let go


def enter_elsewhere(path):
    """RunFolder(path) in another process: what it raised, and its exit code."""
    script = f"""
from pathlib import Path; from cnnbench.runs.folder import RunFolder; from cnnbench.errors import CnnbenchError
try:
    RunFolder(Path({str(path)!r}), resume=True)
except CnnbenchError as error:
    print(type(error).__name__, error.exit_code, error)
"""
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=True).stdout


def test_a_second_process_is_refused_while_the_run_is_held_and_let_in_after(tmp_path):
    with started(tmp_path / "run"):
        assert enter_elsewhere(tmp_path / "run").startswith(f"RunInUseError 75 {tmp_path / 'run'}: another process")
        with pytest.raises(RunInUseError):
            RunFolder(tmp_path / "run")
    assert enter_elsewhere(tmp_path / "run") == ""


def test_a_run_is_not_overwritten_and_the_refusal_holds_no_lock(tmp_path):
    with started(tmp_path / "run") as run:
        run.update_summary(status="finished", test_accuracy=0.9)
    before = (tmp_path / "run" / "summary.json").read_bytes()
    for _ in range(2):
        with pytest.raises(DataError, match="holds a run already; continue it with `cnnbench resume"):
            RunFolder(tmp_path / "run")
    assert (tmp_path / "run" / "summary.json").read_bytes() == before
    with RunFolder(tmp_path / "run", resume=True) as run:
        assert run.summary["test_accuracy"] == 0.9


def test_resuming_what_is_no_run_holds_no_lock(tmp_path):
    for _ in range(2):
        with pytest.raises(DataError, match="not a run folder"):
            RunFolder(tmp_path, resume=True)


def test_a_folder_that_cannot_be_made_is_a_disk_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DiskError, match="file/run: Not a directory"):
        RunFolder(tmp_path / "file" / "run")


def test_metrics_are_cut_back_to_what_a_checkpoint_has_seen(tmp_path):
    with started(tmp_path / "run") as run:
        assert run.metrics_length() == 0
        run.append_metrics({"epoch": 1})
        seen = run.metrics_length()
        run.append_metrics({"epoch": 2})
        run.cut_metrics(10**6)
        assert [line["epoch"] for line in read_metrics(run.path)] == [1, 2]
        run.cut_metrics(seen)
        assert (run.metrics_length(), read_metrics(run.path)) == (seen, [{"epoch": 1}])


def test_a_metrics_line_is_one_write_and_half_a_line_is_a_full_disk(tmp_path, monkeypatch):
    with started(tmp_path / "run") as run:
        run.append_metrics({"epoch": 1})
        real_write, written = os.write, []

        def half(descriptor, content):
            written.append(content)
            return real_write(descriptor, content[: len(content) // 2])

        monkeypatch.setattr(os, "write", half)
        with pytest.raises(DiskError, match=r"metrics\.jsonl: No space left"):
            run.append_metrics({"epoch": 2})
        monkeypatch.undo()
    assert written == [b'{"epoch": 2}\n']
    assert read_metrics(tmp_path / "run") == [{"epoch": 1}]  # the torn line is left out


def test_a_damaged_line_within_the_metrics_is_a_data_error(tmp_path):
    (tmp_path / "metrics.jsonl").write_bytes(b'{"epoch": 1}\n{"ep\n{"epoch": 3}\n')
    with pytest.raises(DataError, match=r"metrics\.jsonl: cannot be read"):
        read_metrics(tmp_path)


LEVELS = 40
BAD_CONFIGS = {
    "aliases": "a: &x [1]\nb: *x\n",
    "too large": "a: " + "x" * 1_000_001,
    "too deep": "[" * LEVELS + "]" * LEVELS,
    "far too deep": "[" * 100_000,
    "python tag": "a: !!python/object/apply:os.system ['touch CANARY']\n",
    "not yaml": "a: [1\n",
    "not utf-8": b"a: \xff\n",
    "no mapping": "- 1\n",
    "empty": "",
}


@pytest.mark.parametrize("content", BAD_CONFIGS.values(), ids=BAD_CONFIGS)
def test_a_config_that_cnnbench_did_not_write_is_refused_in_one_line(tmp_path, monkeypatch, content):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.yaml").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError) as caught:
        read_config(tmp_path)
    assert str(caught.value).startswith(str(tmp_path))
    assert "\n" not in str(caught.value)
    assert os.listdir(tmp_path) == ["config.yaml"]


def test_a_config_of_32_levels_is_still_read(tmp_path):
    text = "a: " + "[" * 31 + "]" * 31
    (tmp_path / "config.yaml").write_text(text)
    assert read_config(tmp_path) == yaml.safe_load(text)


BAD_SUMMARIES = ["", "{", "[]", "{}", '{"format": "1"}', '{"format": 2}', "[" * 100_000, b"\xff"]


@pytest.mark.parametrize("content", BAD_SUMMARIES, ids=[f"{text[:12]!r}" for text in BAD_SUMMARIES])
def test_a_broken_or_newer_summary_is_refused(tmp_path, content):
    (tmp_path / "summary.json").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError, match=str(tmp_path)):
        read_summary(tmp_path)


def test_a_newer_format_says_to_update(tmp_path):
    (tmp_path / "summary.json").write_text('{"format": 2}')
    with pytest.raises(DataError, match="has format 2, this cnnbench reads up to 1; update cnnbench"):
        read_summary(tmp_path)


def test_the_group_hash_ignores_the_seed_and_nothing_else():
    assert group_hash(CONFIG) == group_hash(CONFIG | {"seed": 4})
    assert config_hash(CONFIG) != config_hash(CONFIG | {"seed": 4})
    others = [CONFIG | {"epochs": 3}, CONFIG | {"model": {"name": "deep", "widths": [8, 17]}}, CONFIG | {"new": 1}]
    assert len({group_hash(config) for config in [CONFIG, *others]}) == 4


def test_hashes_do_not_depend_on_the_order_of_the_keys():
    assert config_hash(dict(reversed(CONFIG.items()))) == config_hash(CONFIG)


@pytest.mark.parametrize(
    ("text", "name"),
    [("deep-digits", "deep-digits"), ("../../etc", "etc"), ("/abs/path", "abs-path"), ("..", "run"), ("", "run"),
     ("a\\b c\x1b\u202e", "a-b-c"), (".hidden", "hidden"), ("é图", "run"), ("x" * 99, "x" * 60)],
)  # fmt: skip
def test_a_slug_cannot_leave_its_folder(text, name):
    assert slug(text) == name


def test_run_ids_differ():
    assert len({new_run_id() for _ in range(1000)}) == 1000


def test_run_ids_sort_runs_that_were_started_in_one_second():
    ids = []
    for _ in range(50):
        ids.append(new_run_id())
        time.sleep(1e-4)
    assert ids == sorted(ids)


def test_failed_runs_lists_failed_and_unreadable_jobs_and_no_others(tmp_path):
    for name, status in (("0", "finished"), ("1", "running"), ("5", "interrupted")):
        with started(tmp_path / name) as run:
            run.update_summary(status=status)
    record_failure(tmp_path / "2", errors.ConfigError("a: wrong", "b: wrong"))
    (tmp_path / "3").mkdir()
    (tmp_path / "3" / "summary.json").write_text("{")
    (tmp_path / "4").mkdir()
    first, second = failed_runs(tmp_path)
    assert first == f"{tmp_path / '2'}: a: wrong; b: wrong"
    assert second.startswith(f"{tmp_path / '3' / 'summary.json'}: cannot be read")
    assert failed_runs(tmp_path / "none") == []


def test_record_failure_leaves_the_summary_of_a_run_that_was_started(tmp_path):
    with pytest.raises(DataError), started(tmp_path / "run"):
        raise DataError("x: first")
    record_failure(tmp_path / "run", ZeroDivisionError("second"))
    assert read_summary(tmp_path / "run")["error"] == "x: first"
