import json
import os
import shutil
import socket
from pathlib import Path

import pytest
from tiny import TINY, metrics, summary

from cnnbench.errors import DivergedError, Interrupted

pytest.importorskip("mlflow")


@pytest.fixture(autouse=True)
def no_server(monkeypatch):
    """What the user's environment names is not written to."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    for name in ("MLFLOW_DISABLE_TELEMETRY", "MLFLOW_ALLOW_FILE_STORE", "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"):
        monkeypatch.setenv(name, "true")  # as the tracker does; but here it is taken back


def client_of(store):
    from mlflow import MlflowClient

    return MlflowClient(str(store))


def runs_in(store, experiment="cnnbench"):
    client = client_of(store)
    return client.search_runs([client.get_experiment_by_name(experiment).experiment_id])


def history(store, run, name):
    return [(m.step, m.value) for m in client_of(store).get_metric_history(run.info.run_id, name)]


def test_parameters_metrics_results_and_files_are_in_the_store(train, tmp_path):
    folder = train("run", "logging=[mlflow]")
    (run,) = runs_in(tmp_path / "mlruns")
    document = summary(folder)
    assert (run.info.status, run.info.run_name) == ("FINISHED", "run")
    assert run.data.params["model.widths"] == "[4]"
    assert run.data.params["target.value"] == "null"
    assert not [name for name in run.data.params if name.startswith(("logging", "checkpoint"))]
    assert run.data.metrics["summary/test_accuracy"] == document["test_accuracy"]
    assert run.data.tags["cnnbench_run_id"] == document["run_id"]
    lines = metrics(folder)
    assert history(tmp_path / "mlruns", run, "val_loss") == [(line["epoch"], line["val_loss"]) for line in lines]
    norm = next(iter(lines[0]["gradient_norms"]))
    found = history(tmp_path / "mlruns", run, f"gradient_norms/{norm}")
    assert found == [(line["epoch"], line["gradient_norms"][norm]) for line in lines]
    artifacts = client_of(tmp_path / "mlruns").list_artifacts(run.info.run_id)
    assert {artifact.path for artifact in artifacts} == {"sample_images.png", "summary.json"}
    kept = json.loads(Path(run.info.artifact_uri, "summary.json").read_text())
    assert kept["weights_sha256"] == document["weights_sha256"]


def test_all_runs_of_a_project_share_a_store_and_an_experiment(cnnbench, train, tmp_path):
    train("a", "logging=[mlflow]", "epochs=1", "logging.mlflow.experiment='my own'")
    train("b/c", "logging=[mlflow]", "epochs=1", "logging.mlflow.experiment='my own'")
    assert {run.info.run_name for run in runs_in(tmp_path / "mlruns", "my own")} == {"a", "c"}


def test_the_environment_may_name_another_place(train, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"file://{tmp_path}/other")
    train("run", "logging=[mlflow]", "epochs=1")
    assert [run.info.run_name for run in runs_in(tmp_path / "other")] == ["run"]
    assert not (tmp_path / "mlruns").exists()


def test_a_server_that_does_not_answer_is_left_at_once(cnnbench, tmp_path, monkeypatch):
    with socket.socket() as taken:  # which listens to nobody
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{taken.getsockname()[1]}")
        exit_code, _, err = cnnbench("train", *TINY, "logging=[mlflow]", "hydra.run.dir=run")
    assert exit_code == 0
    (line,) = err.splitlines()
    assert line.startswith("note: logging.mlflow: stopped, the run goes on without it (ConnectionError: ")
    assert not (tmp_path / "mlruns").exists()


def test_a_config_cannot_name_a_server(cnnbench):
    exit_code, _, err = cnnbench("train", "logging=[mlflow]", "logging.mlflow.store=https://example.org")
    assert (exit_code, err) == (2, "error: logging.mlflow.store=https://example.org: should be a path\n")


@pytest.mark.parametrize(
    ("error", "exit_code", "status"),
    [(Interrupted(15), 143, "KILLED"), (DivergedError("it did"), 3, "FAILED"), (RuntimeError("a bug"), 1, "FAILED")],
)
def test_the_status_says_how_a_run_has_ended(train, ending, tmp_path, error, exit_code, status):
    with ending(2, error):
        train("run", "logging=[mlflow]", exit_code=exit_code)
    (run,) = runs_in(tmp_path / "mlruns")
    assert run.info.status == status
    assert "summary/epochs" not in run.data.metrics
    assert run.data.tags.get("error", "") in (str(error), f"RuntimeError: {error}")


def test_a_run_that_goes_on_is_the_same_run_with_every_epoch_once(train, ending, cnnbench, tmp_path, monkeypatch):
    with ending(2, DivergedError("it did")):
        folder = train("run", "logging=[mlflow]", exit_code=3)
    (before,) = runs_in(tmp_path / "mlruns")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert cnnbench("resume", folder)[0] == 0
    (run,) = runs_in(tmp_path / "mlruns")
    assert (run.info.run_id, run.info.status) == (before.info.run_id, "FINISHED")
    assert "error" not in run.data.tags
    lines = metrics(folder)
    assert history(tmp_path / "mlruns", run, "val_loss") == [(line["epoch"], line["val_loss"]) for line in lines]
    assert os.listdir(".") == []


def test_what_was_not_told_before_a_kill_is_told_when_the_run_goes_on(train, ending, cnnbench, tmp_path):
    with ending(3, Interrupted(15)):
        folder = train("run", "logging=[mlflow]", "checkpoint.every_seconds=0.0001", exit_code=143)
    (run,) = runs_in(tmp_path / "mlruns")
    (tmp_path / "mlruns" / run.info.experiment_id / run.info.run_id / "metrics" / "val_loss").unlink()
    assert cnnbench("resume", folder)[0] == 0
    (run,) = runs_in(tmp_path / "mlruns")
    assert [step for step, _ in history(tmp_path / "mlruns", run, "val_loss")] == [1, 2, 3]
    assert [step for step, _ in history(tmp_path / "mlruns", run, "train_loss")] == [1, 2, 3]


def test_a_lengthened_run_goes_on_in_its_record(train, cnnbench, tmp_path):
    folder = train("run", "logging=[mlflow]", "epochs=2")
    assert cnnbench("resume", folder, "epochs=3")[0] == 0
    (run,) = runs_in(tmp_path / "mlruns")
    assert [step for step, _ in history(tmp_path / "mlruns", run, "val_loss")] == [1, 2, 3]
    assert [step for step, _ in history(tmp_path / "mlruns", run, "summary/epochs")] == [2, 3]


def test_a_run_from_elsewhere_makes_no_store(train, ending, cnnbench, tmp_path):
    with ending(2, Interrupted(15)):
        folder = train("run", "logging=[mlflow]", exit_code=143)
    shutil.rmtree(tmp_path / "mlruns")
    exit_code, _, err = cnnbench("resume", folder)
    assert exit_code == 0
    assert "mlruns: the store of this run is not there" in err
    assert not (tmp_path / "mlruns").exists()
