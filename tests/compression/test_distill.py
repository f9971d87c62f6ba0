"""`cnnbench compress RUN compression=distill model=...`: another network, taught by the run and timed beside it."""

import json

import pytest
from tiny import metrics, summary

from cnnbench.compression import distill
from cnnbench.experiment import run_experiment
from cnnbench.runs.read import load_config

SMALL = ("compression=distill", "model=simple", "model.widths=[4]", "model.hidden=8")


def test_the_student_is_a_run_of_the_parents_recipe_with_its_own_network_and_clock(parent, compress, cnnbench):
    path = compress(parent, "student", *SMALL, "compression.temperature=2")
    found, theirs, before = summary(path), load_config(path), load_config(parent)
    assert theirs.loss == {
        "name": "distillation", "teacher": str(parent), "temperature": 2.0, "weight": 0.9, "label_smoothing": 0.0
    }  # fmt: skip
    assert (theirs.model["name"], theirs.model["widths"]) == ("simple", [4])
    same = ("seed", "epochs", "batch_size", "data", "optimizer", "schedule", "regularization", "augmentation")
    assert all(getattr(theirs, key) == getattr(before, key) for key in same)
    assert found["status"] == "finished"
    assert found["parent"]["weights_sha256"] == found["teacher"]["weights_sha256"] == summary(parent)["weights_sha256"]
    assert found["origin"] == found["parent"]
    assert found["size_ratio"] == pytest.approx(found["clock"]["disk_bytes"]["origin"] / found["disk_bytes"])
    assert found["size_ratio"] > 1
    assert all(found[key] > 0 for key in ("speedup", "speedup_over_eager"))
    assert cnnbench("verify", path)[0] == 0
    (row,) = json.loads(cnnbench("compare", parent, path, "--json")[1])["compressed"]
    assert row["speedup"][0] == pytest.approx(found["speedup"])


def test_it_is_the_run_that_train_makes_with_this_teacher(parent, compress, train):
    path = compress(parent, "student", *SMALL)
    same = ["model=simple", "model.widths=[4]", "model.hidden=8", "data.image_shape=[1,12,12]"]
    trained = train("trained", *same, "loss=distillation", f"loss.teacher='{parent}'")
    assert summary(path)["weights_sha256"] == summary(trained)["weights_sha256"]
    assert summary(path)["config_hash"] == summary(trained)["config_hash"]


def test_one_that_was_stopped_goes_on_bit_for_bit_and_is_timed(parent, compress, cnnbench, tmp_path, monkeypatch):
    whole = compress(parent, "whole", *SMALL)
    with monkeypatch.context() as patched:
        stopped = lambda *args, **parts: run_experiment(*args, **parts, pause_after=1)  # noqa: E731
        patched.setattr(distill, "run_experiment", stopped)
        assert cnnbench("compress", parent, *SMALL, "hydra.run.dir=parts")[0] == 143
    assert summary(tmp_path / "parts")["clock"] is None
    assert cnnbench("resume", "parts")[0] == 0
    assert metrics(tmp_path / "parts") == metrics(whole)
    assert summary(tmp_path / "parts")["weights_sha256"] == summary(whole)["weights_sha256"]
    assert summary(tmp_path / "parts")["speedup"] > 0
    assert cnnbench("compress", "--clock", "parts")[0] == 0


def test_several_students_are_made_once(parent, cnnbench, tmp_path):
    command = ["compress", parent, "-m", *SMALL[:2], "model.hidden=8", "model.widths=[4],[8]", "hydra.sweep.dir=all"]
    assert cnnbench(*command)[0] == 0
    before = {path: path.read_text() for path in (tmp_path / "all").glob("*/summary.json")}
    assert len(before) == 2
    assert cnnbench(*command)[0] == 0
    assert {path: path.read_text() for path in (tmp_path / "all").glob("*/summary.json")} == before


def test_a_student_is_compressed_further(parent, compress):
    student = compress(parent, "student", *SMALL)
    smaller = compress(student, "smaller", "compression=masks", "compression.epochs=1")
    assert summary(smaller)["origin"]["run_id"] == summary(parent)["run_id"]
    assert summary(smaller)["teacher"] == summary(student)["teacher"]
    assert summary(smaller)["group_hash"] != summary(student)["group_hash"]


@pytest.mark.parametrize(
    ("overrides", "finding"),
    [
        (["compression=distill"], "which network learns? Add model=NAME"),
        (["compression=distill", "model=simpel"], "did you mean 'simple'?"),
        (["compression=distill", "model=simple", "model.width=[4]"], "did you mean"),
        (["compression=distill", "model=simple", "compression.weight=2"], "should be a number >= 0 and <= 1"),
        (["compression=distill", "model=simple", "optimizer.lr=1"], "a run is compressed as it was trained"),
        (["compression=masks", "model=simple"], "compression=distill alone takes a model"),
    ],
)
def test_mistakes_are_one_line_before_anything_is_done(overrides, finding, parent, cnnbench, tmp_path):
    exit_code, _, err = cnnbench("compress", parent, *overrides)
    assert exit_code == 2
    assert finding in err
    assert not (tmp_path / "outputs").exists()
