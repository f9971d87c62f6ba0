import json
import signal
import time
from pathlib import Path

import pytest
from processes import run, start, wait_until
from sweeps.broken import broken
from tiny import TINY, metrics, summary, without_waits, write_image

from cnnbench.config.compose import compose
from cnnbench.disk import is_locked
from cnnbench.runs.folder import RunFolder
from cnnbench.sweeps import isolation
from cnnbench.sweeps.isolation import Order, Worker, run_isolated
from cnnbench.sweeps.marks import ask_to_stop, is_pending, mark_pending

SWEEP = ["train", "-m", *TINY, "checkpoint.every_seconds=0.01", "hydra.sweep.dir=sweep"]


def job(tmp_path, *overrides, name="run", **ordered):
    config = compose([*TINY, *overrides]).as_dict()
    return Order(config=config, path=str(tmp_path / name), cwd=str(tmp_path), arguments=["train", "-m"], **ordered)


@pytest.fixture
def worker(monkeypatch):
    """A worker of this test alone, with the variables it sets before it needs one."""
    made = []

    def worker_of_this_process(threads):
        made[:] = made or [Worker(threads)]
        return made[0]

    monkeypatch.setattr(isolation, "worker_of_this_process", worker_of_this_process)
    return made


CAUSES = {
    "raise": (1, "RuntimeError: a bug in a technique"),
    "kill": (137, "killed by SIGKILL (Killed, perhaps for want of memory)"),
    "segfault": (139, "killed by SIGSEGV (Segmentation fault)"),
    "hang": (124, "still at work after 8 s (sweep.job_timeout); killed"),
    "exit": (1, "SystemExit: 3"),
    "leave": (3, "its process left with exit code 3, without a word"),
    "memory": (4, "batch_size: out of memory at 16; try 8"),
    "disk": (1, "OSError: [Errno 28] No space left on device"),
    "kill worker": (137, "killed by SIGKILL (Killed, perhaps for want of memory)"),
}


def test_whatever_happens_to_a_job_the_others_run_and_its_cause_is_told(tmp_path):
    faults = broken(**{f"s{seed}": fault for seed, fault in enumerate(CAUSES, start=1)})
    exit_code, out, err = run(*SWEEP, "seed=range(11)", "sweep.job_timeout=8", cwd=tmp_path, **faults)
    assert exit_code == 5
    statuses = [summary(tmp_path / "sweep" / f"{seed}-simple-synthetic")["status"] for seed in range(11)]
    assert statuses == ["finished", *["failed"] * 9, "finished"]
    errors = [line for line in err.splitlines() if line.startswith("error: ")]
    for seed, (line, (code, cause)) in enumerate(zip(errors, CAUSES.values(), strict=True), start=1):
        path = f"sweep/{seed}-simple-synthetic"
        assert line.startswith(f"error: {path}: {cause}; see {path}/")
        assert (tmp_path / line.rpartition("; see ")[2]).is_file()
        assert summary(tmp_path / path)["exit_code"] == code
    assert "Segmentation fault" in (tmp_path / "sweep" / "3-simple-synthetic" / "output.log").read_text()
    assert "2 of 11 jobs finished" in out
    record = json.loads((tmp_path / "sweep" / "sweep.json").read_text())
    assert record["counts"] == {"finished": 2, "failed": 9}


def test_failed_jobs_are_tried_again_from_their_checkpoint_by_resume(tmp_path):
    straight = run(*SWEEP[:-1], "seed=0,1,2", "hydra.sweep.dir=straight", cwd=tmp_path)
    assert straight[0] == 0
    assert run(*SWEEP, "seed=0,1,2", cwd=tmp_path, **broken(s1="raise", s2="kill"))[0] == 5
    untouched = (tmp_path / "sweep" / "0-simple-synthetic" / "summary.json").read_bytes()
    exit_code, out, err = run("resume", "sweep", cwd=tmp_path)
    assert exit_code == 0, err
    assert out.splitlines()[0] == "1 of 3 jobs are done already"
    table = out.partition("\n\n")[2].replace("sweep", "straight")
    assert table == straight[1].partition("\n\n")[2].replace("sweep", "straight")
    assert (tmp_path / "sweep" / "0-simple-synthetic" / "summary.json").read_bytes() == untouched
    for name in ("1-simple-synthetic", "2-simple-synthetic"):
        ours, theirs = tmp_path / "sweep" / name, tmp_path / "straight" / name
        assert summary(ours)["weights_sha256"] == summary(theirs)["weights_sha256"]
        assert metrics(ours) == metrics(theirs)
        assert "resumed at epoch " in (ours / "train.log").read_text()
        assert "error" not in (theirs / "train.log").read_text()


def test_with_retries_a_job_is_tried_again_at_once(tmp_path):
    (tmp_path / "once").mkdir()
    faults = broken(s0="kill", s1="raise") | {"ONCE": str(tmp_path / "once")}
    exit_code, out, _ = run(*SWEEP, "seed=0,1", "sweep.retries=1", cwd=tmp_path, **faults)
    assert exit_code == 0
    assert "2 of 2 jobs finished" in out
    assert "error: killed by SIGKILL" in (tmp_path / "sweep" / "0-simple-synthetic" / "train.log").read_text()


def test_on_error_stop_begins_no_further_job(tmp_path):
    stop = ["seed=0,1,2", "sweep.on_error=stop"]
    exit_code, out, err = run(*SWEEP, *stop, cwd=tmp_path, **broken(s1="raise"))
    assert exit_code == 5
    assert "1 of 3 jobs finished" in out
    assert [line.partition(": ")[2].partition(";")[0] for line in without_waits(err).splitlines()] == [
        "sweep/1-simple-synthetic: RuntimeError: a bug in a technique",
        "sweep/2-simple-synthetic: was not run",
    ]
    assert run("resume", "sweep", cwd=tmp_path)[0] == 0


@pytest.mark.parametrize(("number", "exit_code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves_what_runs_and_says_how_to_go_on(tmp_path, number, exit_code):
    process = start(*SWEEP, "seed=0,1,2", "epochs=2000", cwd=tmp_path)
    wait_until(lambda: (tmp_path / "sweep" / "0-simple-synthetic" / "metrics.jsonl").exists(), process)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == exit_code
    assert err.splitlines()[-1] == "note: stopped; 3 of 3 jobs are to do, go on with: cnnbench resume sweep"
    first = summary(tmp_path / "sweep" / "0-simple-synthetic")
    assert (first["status"], first["steps"] > 0) == ("interrupted", True)
    assert not (tmp_path / "sweep" / "1-simple-synthetic" / "summary.json").exists()


def test_when_the_sweep_is_killed_its_jobs_die_with_it(tmp_path):
    process = start(*SWEEP, "seed=0,1", "epochs=2000", cwd=tmp_path)
    run_folder = tmp_path / "sweep" / "0-simple-synthetic"
    wait_until(lambda: (run_folder / "metrics.jsonl").exists(), process)
    process.kill()
    process.communicate(timeout=60)
    deadline = time.monotonic() + 2
    while is_locked(run_folder / ".lock"):  # its worker is killed first, and then the job
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert summary(run_folder)["status"] == "running"


def test_a_job_says_nothing_and_leaves_no_empty_file(tmp_path, worker, capfd):
    run_isolated(job(tmp_path))
    assert summary(tmp_path / "run")["status"] == "finished"
    assert capfd.readouterr() == ("", "")
    assert not (tmp_path / "run" / "output.log").exists()
    command = json.loads((tmp_path / "run" / "environment.json").read_text())["command"]
    assert command == "cnnbench train -m"


def test_a_worker_has_one_thread_when_it_forks(tmp_path, worker):
    run_isolated(job(tmp_path))
    assert len(list(Path(f"/proc/{worker[0]._process.pid}/task").iterdir())) == 1


def test_a_job_takes_its_threads(tmp_path, worker):
    run_isolated(job(tmp_path, "device.threads=null", threads=2))
    assert summary(tmp_path / "run")["threads"] == 2


def test_the_images_are_read_once_for_all_jobs_of_a_worker(tmp_path, worker):
    data = ["data=image_folder", f"data.root={tmp_path / 'images'}", "data.image_size=[8,8]", "data.channels=1"]
    for number in range(30):
        write_image(tmp_path / "images" / "ab"[number % 2] / f"{number}.png", seed=number)
    kept = [text for text in TINY if not text.startswith("data")]
    for name in ("first", "second"):
        config = compose([*kept, *data]).as_dict()
        order = Order(config=config, path=str(tmp_path / name), cwd=str(tmp_path), arguments=[])
        run_isolated(order)
        assert summary(tmp_path / name)["status"] == "finished", summary(tmp_path / name)["error"]
        for path in (tmp_path / "images").rglob("*.png"):
            path.rename(path.with_suffix(".gone"))
    assert summary(tmp_path / "first")["weights_sha256"] == summary(tmp_path / "second")["weights_sha256"]


def test_a_run_that_is_asked_to_stop_saves_and_leaves(tmp_path, worker):
    mark_pending(tmp_path / "run")
    ask_to_stop(tmp_path)
    run_isolated(job(tmp_path))
    assert not (tmp_path / "run" / "summary.json").exists()
    assert is_pending(tmp_path / "run")


def test_a_pause_is_an_interruption_after_which_the_run_comes_to_the_same(tmp_path, worker):
    run_isolated(job(tmp_path, name="straight"))
    mark_pending(tmp_path / "run")
    run_isolated(job(tmp_path, pause_after=1))
    assert (summary(tmp_path / "run")["status"], len(metrics(tmp_path / "run"))) == ("interrupted", 1)
    assert not is_pending(tmp_path / "run")
    run_isolated(job(tmp_path))
    assert summary(tmp_path / "run")["weights_sha256"] == summary(tmp_path / "straight")["weights_sha256"]
    assert metrics(tmp_path / "run") == metrics(tmp_path / "straight")


def test_without_a_test_the_test_images_stay_unseen_until_they_are_asked_for(tmp_path, worker):
    run_isolated(job(tmp_path, name="straight"))
    run_isolated(job(tmp_path, test=False))
    unseen = summary(tmp_path / "run")
    assert (unseen["status"], unseen["test_accuracy"], unseen["test_reads"]) == ("finished", None, 0)
    assert not (tmp_path / "run" / "predictions.npz").exists()
    run_isolated(job(tmp_path))
    seen, straight = summary(tmp_path / "run"), summary(tmp_path / "straight")
    assert (seen["status"], seen["test_reads"]) == ("finished", 1)
    same = ("weights_sha256", "test_accuracy", "test_loss", "best_val_accuracy", "steps", "epochs")
    assert [seen[key] for key in same] == [straight[key] for key in same]


def test_a_job_whose_folder_another_process_holds_waits_for_it(tmp_path, worker, monkeypatch):
    run_isolated(job(tmp_path, pause_after=1))
    looks = []

    def look(seconds):
        looks.append(seconds)
        holder.__exit__(None, None, None)

    holder = RunFolder(tmp_path / "run", resume=True)
    monkeypatch.setattr(isolation.time, "sleep", look)
    run_isolated(job(tmp_path))
    assert (len(looks), summary(tmp_path / "run")["status"]) == (1, "finished")
