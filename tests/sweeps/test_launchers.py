import json
import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest
import yaml
from omegaconf import OmegaConf
from processes import ROOT, run, start, wait_until
from sweeps.broken import broken
from sweeps.slurm import slurm_cluster
from tiny import TINY, metrics, summary

from cnnbench.config.refusal import DISTRIBUTIONS, LAUNCHERS, PLUGINS
from cnnbench.config.tables import conf_folder
from cnnbench.sweeps.launchers import literal

SWEEP = ["train", "-m", *TINY, "checkpoint.every_seconds=0.01", "hydra.sweep.dir=sweep"]
LONG = [*SWEEP, "epochs=60"]
JOBLIB = ["sweep=joblib", "hydra.launcher.n_jobs=2"]
WHERE = {"PYTHONPATH": str(ROOT)}


def statuses(folder):
    return [summary(path.parent)["status"] for path in sorted(folder.glob("*/summary.json"))]


def test_every_choice_of_sweep_names_a_launcher_that_may_be_told_what_it_tells():
    for file in (conf_folder() / "sweep").glob("*.yaml"):
        node = yaml.safe_load(file.read_text())
        chosen = [part["override /hydra/launcher"] for part in node.get("defaults", [])]
        assert (chosen or ["basic"]) == [LAUNCHERS[file.stem]]
        assert set(node.get("hydra", {}).get("launcher", {})) <= {
            *PLUGINS["launcher"][LAUNCHERS[file.stem]],
            "max_num_timeout",
        }
    assert set(LAUNCHERS.values()) == set(PLUGINS["launcher"]) == {"basic", *DISTRIBUTIONS}


@pytest.mark.parametrize(
    "text", ["a${b}c", r"x\${y}", "plain", r"a\\${x}", '{"a": "${now:}"}', "back\\slash", "end\\", "$${a}"]
)
def test_a_literal_stands_for_itself(text):
    assert OmegaConf.create({"value": literal(text)}).value == text


def test_a_launcher_that_is_not_installed_is_named_with_what_to_install(cnnbench, monkeypatch):
    monkeypatch.setattr("cnnbench.config.refusal._is_importable", lambda launcher: launcher != "ray")
    exit_code, _, err = cnnbench("train", "-m", *TINY, "sweep=ray", "seed=0,1")
    assert (exit_code, err) == (2, "error: sweep=ray: not installed; pip install ray\n")


def test_joblib_runs_jobs_side_by_side_each_isolated_on_its_part_of_the_cores(tmp_path):
    free = [text for text in SWEEP if not text.startswith("device.threads")]
    faults = broken(s1="kill", s2="segfault", s3="hang", s4="exit")
    sweep = [*JOBLIB, "seed=range(6)", "sweep.job_timeout=8"]
    exit_code, out, err = run(*free, *sweep, cwd=tmp_path, **faults)
    assert exit_code == 5
    assert "2 of 6 jobs finished" in out
    cores = len(os.sched_getaffinity(0))
    assert f"note: 2 jobs side by side on {cores} cores" in err
    assert len([line for line in err.splitlines() if line.startswith("error: sweep/")]) == 4
    assert summary(tmp_path / "sweep" / "0-simple-synthetic")["threads"] == max(1, cores // 2)
    assert run("resume", "sweep", cwd=tmp_path)[0] == 0


def test_ctrl_c_saves_all_jobs_of_joblib(tmp_path):
    process = start(*SWEEP, "epochs=3000", *JOBLIB, "seed=range(4)", cwd=tmp_path)
    begun = [tmp_path / "sweep" / f"{seed}-simple-synthetic" for seed in (0, 1)]
    wait_until(lambda: all((path / "metrics.jsonl").exists() for path in begun), process)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.splitlines()[-1] == "note: stopped; 4 of 4 jobs are to do, go on with: cnnbench resume sweep"
    assert [summary(path)["status"] for path in begun] == ["interrupted", "interrupted"]
    assert not (tmp_path / "sweep" / "2-simple-synthetic" / "summary.json").exists()


def test_when_the_sweep_is_killed_joblibs_processes_end_with_it_at_work_or_not(tmp_path):
    faults = broken(s2="raise")  # so that one process has nothing to do
    process = start(*SWEEP, "epochs=3000", *JOBLIB, "seed=0,2", cwd=tmp_path, **faults)
    running, failed = (tmp_path / "sweep" / f"{number}-simple-synthetic" for number in (0, 1))
    wait_until(lambda: (failed / "crash.log").exists() and (running / "metrics.jsonl").exists(), process)
    theirs = children_of(process.pid)
    process.kill()
    process.communicate(timeout=60)
    deadline = time.monotonic() + 10
    while any(map(is_alive, theirs)):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert statuses(tmp_path / "sweep") == ["running", "failed"]


def children_of(pid):
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_alive(pid):
    """Whether there is such a process; one that has ended and that nobody asks how is none."""
    with suppress(FileNotFoundError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    return False


@pytest.mark.slow
def test_submitit_on_this_machine_isolates_jobs_too(tmp_path):
    exit_code, _, err = run(*SWEEP, "sweep=submitit_local", "seed=0,1,2", cwd=tmp_path, **broken(s1="kill"))
    assert exit_code == 5, err
    assert statuses(tmp_path / "sweep") == ["finished", "failed", "finished"]
    assert run("resume", "sweep", cwd=tmp_path)[0] == 0


@pytest.mark.slow
def test_a_node_that_ray_loses_loses_no_job(tmp_path):
    cluster_utils = pytest.importorskip("ray.cluster_utils")
    cluster = cluster_utils.Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        lost = cluster.add_node(num_cpus=1)
        sweep = ["sweep=ray", "seed=range(6)", "epochs=200"]
        process = start(*LONG, *sweep, cwd=tmp_path, RAY_ADDRESS=cluster.address, **WHERE)
        wait_until(lambda: len(list((tmp_path / "sweep").glob("*/metrics.jsonl"))) >= 3, process)
        ended = {path: path.read_bytes() for path in finished_in(tmp_path / "sweep")}
        assert ended
        cluster.remove_node(lost, allow_graceful=False)
        _, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
    finally:
        cluster.shutdown()
    assert statuses(tmp_path / "sweep") == ["finished"] * 6
    assert {path: path.read_bytes() for path in ended} == ended
    assert run(*LONG[:-2], "hydra.sweep.dir=straight", "seed=range(6)", "epochs=200", cwd=tmp_path)[0] == 0
    for path in sorted((tmp_path / "straight").glob("*-simple-synthetic")):
        assert metrics(tmp_path / "sweep" / path.name) == metrics(path)


def finished_in(folder):
    return [path for path in folder.glob("*/summary.json") if json.loads(path.read_text())["status"] == "finished"]


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    """A cluster, for as long as the tests of this module run."""
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    with slurm_cluster(tmp_path_factory.mktemp("slurm")) as config:
        yield config


SLURM = ["sweep=slurm", "hydra.launcher.cpus_per_task=1", "hydra.launcher.timeout_min=30"]


@pytest.mark.slow
def test_slurm_runs_a_sweep_and_a_failing_job_fails_alone(slurm, tmp_path):
    exit_code, _, err = run(*SWEEP, *SLURM, "seed=0,1,2", cwd=tmp_path, **broken(s1="segfault"))
    assert exit_code == 5, err
    assert statuses(tmp_path / "sweep") == ["finished", "failed", "finished"]


@pytest.mark.slow
@pytest.mark.parametrize("event", ["requeue", "USR2"])
def test_a_job_that_slurm_takes_the_node_from_saves_and_goes_on_when_it_is_given_one_again(slurm, tmp_path, event):
    """`scontrol requeue` is what preemption does; USR2 comes before the time limit."""
    straight = run(*LONG[:-2], "epochs=3000", "hydra.sweep.dir=straight", "seed=0", cwd=tmp_path)
    assert straight[0] == 0
    process = start(*LONG, *SLURM, "epochs=3000", "seed=0", cwd=tmp_path, **WHERE)
    path = tmp_path / "sweep" / "0-simple-synthetic"
    wait_until(lambda: (path / "metrics.jsonl").exists() and len(metrics(path)) > 5, process)
    (job,) = subprocess.run(["squeue", "-h", "-o", "%A"], capture_output=True, text=True, check=True).stdout.split()
    command = ["scontrol", "requeue", job] if event == "requeue" else ["scancel", "--signal=USR2", job]
    subprocess.run(command, check=True)
    wait_until(lambda: summary(path)["status"] == "interrupted", process)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    log = (path / "train.log").read_text()
    assert log.count("resumed at epoch") == 1
    assert metrics(path) == metrics(tmp_path / "straight" / "0-simple-synthetic")


@pytest.mark.slow
def test_a_sweep_whose_process_was_killed_is_taken_up_while_its_jobs_run_on(slurm, tmp_path):
    process = start(*LONG, *SLURM, "epochs=2000", "seed=0,1", cwd=tmp_path, **WHERE)
    first = tmp_path / "sweep" / "0-simple-synthetic"
    wait_until(lambda: (first / "metrics.jsonl").exists(), process)
    process.kill()
    process.communicate()
    time.sleep(1)
    exit_code, _, err = run("resume", "sweep", cwd=tmp_path, **WHERE)
    assert exit_code == 0, err
    assert statuses(tmp_path / "sweep") == ["finished", "finished"]
    assert "resumed" not in (first / "train.log").read_text()  # the job that ran on is that which finished
