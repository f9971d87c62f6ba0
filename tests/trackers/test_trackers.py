import importlib.util
import threading

import numpy as np
import pytest
from tiny import TINY, metrics, set_summary, summary

from cnnbench.analysis.config_labels import label_configs
from cnnbench.config.compose import compose
from cnnbench.errors import Interrupted, UnavailableError
from cnnbench.runs.read import load_config
from cnnbench.trackers import PACKAGES, TRACKERS
from cnnbench.trackers.contact_sheet import contact_sheet
from cnnbench.trackers.tracker import numbers_of, results_of
from cnnbench.trackers.trackers import refuse_missing_packages

ALL = [name for name in TRACKERS if name not in PACKAGES or importlib.util.find_spec(name)]


class Quiet:
    """A tracker that does nothing."""

    def __init__(self, folder):
        self.folder = folder

    def start(self, beginning):
        pass

    def log_epoch(self, numbers):
        pass

    def finish(self, summary):
        pass


@pytest.fixture
def as_csv(monkeypatch):
    """Has another tracker stand under the name csv."""
    return lambda tracker: monkeypatch.setitem(TRACKERS, "csv", tracker)


def test_logging_changes_no_bit_and_no_hash(train):
    settings = ["augmentation=[crop_flip,cutout]", "model.dropout=0.2", "regularization=[mixup]"]
    without = train("without", *settings)
    logged = train("with", *settings, f"logging=[{','.join(ALL)}]")
    for key in ("weights_sha256", "config_hash", "group_hash", "test_loss"):
        assert summary(logged)[key] == summary(without)[key]
    assert metrics(logged) == metrics(without)


def test_runs_that_differ_in_logging_alone_have_one_label():
    configs = {name: compose(["optimizer=adam", *more]).as_dict() for name, more in {
        "plain": [], "logged": ["logging=[wandb,csv]", "logging.wandb.project=mine", "checkpoint.keep=5"],
    }.items()}  # fmt: skip
    assert len(set(label_configs(configs).values())) == 1


def test_compare_pools_runs_with_and_without_logging(train, cnnbench, tmp_path):
    train("runs/a", "seed=0")
    train("runs/b", "seed=1", "logging=[csv]")
    train("runs/c", "seed=0", "optimizer=sgd", "logging=[csv]")
    exit_code, out, _ = cnnbench("compare", tmp_path / "runs")
    assert exit_code == 0
    assert "logging" not in out
    assert "optimizer=sgd" in out


def test_a_run_from_before_there_was_logging_can_be_read(train):
    run = train("run")
    config = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(config.replace("logging: {}\n", ""))
    assert load_config(run).logging == {}


def test_every_missing_package_is_told_before_anything_is_made(cnnbench, tmp_path, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in PACKAGES else find(name))
    exit_code, _, err = cnnbench("train", *TINY, "logging=[wandb,csv,mlflow,tensorboard]", "hydra.run.dir=run")
    assert (exit_code, err.splitlines()) == (69, [
        "error: logging.mlflow: not installed; pip install mlflow-skinny",
        "error: logging.tensorboard: not installed; pip install tensorboard",
        "error: logging.wandb: not installed; pip install wandb",
    ])  # fmt: skip
    exit_code, _, err = cnnbench("train", "-m", *TINY, "logging=[wandb]", "seed=0,1", "hydra.sweep.dir=sweep")
    assert (exit_code, err) == (69, "error: logging.wandb: not installed; pip install wandb\n")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_called_like_a_package_is_none(tmp_path, monkeypatch):
    (tmp_path / "own_tracker").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(PACKAGES, "own_tracker", "own-tracker")
    with pytest.raises(UnavailableError, match=r"^logging.own_tracker: not installed; pip install own-tracker$"):
        refuse_missing_packages({"own_tracker": {}})
    (tmp_path / "own_tracker" / "__init__.py").write_text("raise AssertionError")  # it is not imported
    refuse_missing_packages({"own_tracker": {}})


def test_a_package_that_cannot_be_imported_is_named(cnnbench, as_csv):
    class Broken(Quiet):
        def __init__(self, folder):
            import not_a_module  # noqa: F401

    as_csv(Broken)
    exit_code, _, err = cnnbench("train", *TINY, "logging=[csv]", "hydra.run.dir=run")
    assert exit_code == 69
    assert err == (
        "error: logging.csv: cannot be imported (ModuleNotFoundError: No module named 'not_a_module'); reinstall it\n"
    )


@pytest.mark.parametrize("moment", ["start", "log_epoch", "finish"])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), SystemExit(1), KeyError("a\nb")])
def test_a_tracker_that_fails_is_left_with_one_note(cnnbench, as_csv, tmp_path, moment, error):
    def fail(self, _):
        raise error

    as_csv(type("Failing", (Quiet,), {moment: fail}))
    exit_code, _, err = cnnbench("train", *TINY, "logging=[csv]", "hydra.run.dir=run")
    assert exit_code == 0
    (line,) = err.splitlines()
    assert line.startswith(f"note: logging.csv: stopped, the run goes on without it ({type(error).__name__}")
    assert (tmp_path / "run" / "train.log").read_text().count(line) == 1
    assert summary(tmp_path / "run")["status"] == "finished"


def test_the_others_go_on_where_one_fails(train, monkeypatch):
    def fail(self, _):
        raise OSError

    monkeypatch.setitem(TRACKERS, "tensorboard", type("Failing", (Quiet,), {"log_epoch": fail}))
    run = train("run", "logging=[tensorboard,csv]")
    assert len((run / "metrics.csv").read_text().splitlines()) == 4


def test_no_tracker_can_hold_up_a_run(cnnbench, as_csv, tmp_path, monkeypatch):
    released = threading.Event()
    monkeypatch.setattr("cnnbench.trackers.trackers.SECONDS_TO_FINISH", 0.05)
    as_csv(type("Waiting", (Quiet,), {"log_epoch": lambda self, _: released.wait(60)}))
    exit_code, _, err = cnnbench("train", *TINY, "logging=[csv]", "hydra.run.dir=run")
    assert not released.is_set()
    released.set()
    assert exit_code == 0
    assert err == "note: logging.csv: still not done after 0 s; what it has not written is lost\n"
    assert len(metrics(tmp_path / "run")) == 3


def test_a_run_that_has_not_come_to_training_makes_no_record(train, as_csv, monkeypatch):
    told = []
    as_csv(type("Telling", (Quiet,), {"start": lambda self, _: told.append("start")}))

    def leave(*_):
        raise Interrupted(15)

    monkeypatch.setattr("cnnbench.experiment.choose_device", leave)
    train("run", "logging=[csv]", exit_code=143)
    assert told == []


def test_a_tracker_is_told_of_the_run_in_order_and_how_it_ended(train, as_csv, ending, cnnbench):
    told = []

    class Telling(Quiet):
        def start(self, beginning):
            told.append(("start", [numbers["epoch"] for numbers in beginning.epochs], beginning.run_id))
            assert beginning.config["model"]["widths"] == [4]
            assert "logging" not in beginning.config
            assert beginning.summary["model"] == "simple"

        def log_epoch(self, numbers):
            told.append(numbers["epoch"])

        def finish(self, summary):
            told.append((summary["status"], summary["exit_code"], summary["error"]))

    as_csv(Telling)
    with ending(2, Interrupted(15, "stopped")):
        run = train("run", "logging=[csv]", exit_code=143)
    assert cnnbench("resume", run)[0] == 0
    run_id = summary(run)["run_id"]
    assert told == [
        ("start", [], run_id), 1, 2, ("interrupted", 143, "stopped"),
        ("start", [1], run_id), 2, 3, ("finished", 0, None),
    ]  # fmt: skip


@pytest.mark.parametrize("run_id", ["a' OR 'a", "../b", "", None, 5])
def test_a_run_id_that_cnnbench_does_not_write_is_refused(train, ending, cnnbench, run_id):
    with ending(2, Interrupted(15)):
        run = train("run", "logging=[csv]", exit_code=143)
    set_summary(run, run_id=run_id)
    exit_code, _, err = cnnbench("resume", run)
    assert exit_code == 65
    assert "run_id is not as cnnbench writes it" in err


def test_each_job_of_a_sweep_and_of_an_ablation_is_logged(cnnbench, tmp_path):
    assert cnnbench("train", "-m", *TINY, "logging=[csv]", "seed=0,1", "epochs=1", "hydra.sweep.dir=sweep")[0] == 0
    assert len(list(tmp_path.glob("sweep/*/metrics.csv"))) == 2
    ablation = ["techniques=[l1]", "seeds=1", "hydra.sweep.dir=ablation"]
    assert cnnbench("ablate", "--yes", *TINY, "logging=[csv]", "epochs=1", *ablation)[0] == 0
    assert len(list(tmp_path.glob("ablation/*/metrics.csv"))) == 2


def test_numbers_are_the_finite_ones_under_the_names_on_their_way():
    line = {"epoch": 1, "val_loss": None, "a": {"b": {"c": 2.5}}, "stopped": True, "name": "x", "lr": float("nan")}
    assert numbers_of(line) == {"epoch": 1, "a/b/c": 2.5}


def test_only_a_finished_run_has_results():
    document = {"format": 1, "exit_code": 0, "test_accuracy": 0.5, "epochs": 3, "error": None}
    assert results_of(document | {"status": "finished"}) == {"summary/test_accuracy": 0.5, "summary/epochs": 3}
    assert results_of(document | {"status": "failed"}) == {}


@pytest.mark.parametrize(
    ("shape", "sheet"),
    [((16, 8, 8, 1), (134, 530, 3)), ((3, 100, 80, 3), (104, 248, 3)), ((1, 5, 5, 4), (69, 69, 3)),
     ((9, 64, 30, 2), (134, 258, 3))],
)  # fmt: skip
def test_images_stand_in_rows_of_eight_and_small_ones_are_enlarged(shape, sheet):
    images = np.random.default_rng(0).integers(0, 255, shape, np.uint8)
    drawn = contact_sheet(images)
    assert drawn.shape == sheet
    factor = -(-64 // max(shape[1:3]))
    first = drawn[2 : 2 + factor * shape[1] : factor, 2 : 2 + factor * shape[2] : factor]
    assert (first[..., 0] == images[0, ..., 0]).all()
    assert (drawn[0] == 255).all()
