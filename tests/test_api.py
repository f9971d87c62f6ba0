from pathlib import Path

import pytest
import torch
from tiny import TINY, metrics, summary
from torch import nn
from torch.utils.data import TensorDataset

from cnnbench import Callback, CnnbenchError, compose, load, resume, train
from cnnbench.errors import ConfigError, DataError, Interrupted


class Own(nn.Module):
    def __init__(self, classes=3):
        super().__init__()
        self.head = nn.Linear(64, classes)

    def forward(self, images):
        return self.head(images.flatten(1))


class Watch(Callback):
    """Remembers what it is told; `stop_after` an epoch it interrupts the run."""

    def __init__(self, stop_after=None):
        self.seen = []
        self.steps = 0
        self.stop_after = stop_after

    def after_step(self, model):
        self.steps += 1

    def epoch_metrics(self, model):
        return {"steps_seen": self.steps}

    def on_metrics(self, metrics):
        self.seen.append(metrics)
        if metrics["epoch"] == self.stop_after:
            raise Interrupted(15)

    def state_dict(self):
        return {"steps": self.steps}

    def load_state_dict(self, state):
        self.steps = state["steps"]


def images(count=60, seed=0, classes=3):
    random = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (count, 1, 8, 8), dtype=torch.uint8, generator=random)
    return TensorDataset(pixels, torch.arange(count) % classes)


@pytest.mark.parametrize("kind", [str, Path])
def test_a_run_is_made_from_overrides_or_a_config_into_a_text_or_a_path(tmp_path, kind):
    first = train(TINY, kind(tmp_path / "a"), quiet=True)
    second = train(compose(TINY), kind(tmp_path / "b"), quiet=True)
    assert dict(first) == summary(tmp_path / "a")
    assert first["weights_sha256"] == second["weights_sha256"]
    assert first.folder == tmp_path / "a"
    assert [line["epoch"] for line in first.history] == [1, 2, 3]
    assert first.history[-1]["val_accuracy"] is not None


@pytest.mark.parametrize(
    ("config", "finding"),
    [
        ("model=deep", "give a list of overrides"),
        (7, "give a list of overrides"),
        (["model=depe"], "did you mean 'deep'"),
        (["lr=0.1"], "optimizer.lr=0.1"),
    ],
)
def test_a_wrong_config_is_refused_as_on_the_command_line(tmp_path, config, finding):
    with pytest.raises(ConfigError, match=finding):
        train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("parts", "finding"),
    [
        ({"model": Own}, "model=: Own is a class"),
        ({"model": "deep"}, "model=: is of type str; give a torch.nn.Module"),
        ({"callbacks": [Watch]}, "callbacks=: Watch is a class"),
        ({"callbacks": [print]}, "callbacks=: is of type builtin_function_or_method; give objects derived from"),
        ({"model": Own(5)}, "model=: gives 5 for an image; give a logit for each of 3 classes"),
        ({"model": nn.Flatten()}, "model=: gives 64 for an image"),
        ({"model": nn.Conv2d(3, 3, 3)}, "model=: does not take 1x8x8 images"),
        ({"dataset": images(classes=5), "model": Own()}, "a logit for each of 5 classes"),
    ],
)
def test_a_part_that_does_not_fit_is_refused_before_the_run_begins(tmp_path, parts, finding):
    with pytest.raises(ConfigError, match=finding):
        train(TINY, tmp_path / "run", **parts, quiet=True)
    assert not (tmp_path / "run").exists()


def test_a_run_trains_and_is_tested_on_the_images_given(tmp_path, cnnbench):
    given = {"train": images(60), "val": images(12, 1), "test": images(9, 2)}
    result = train([*TINY, "data.val_fraction=0.5"], tmp_path / "run", dataset=given)
    first, again = (train(TINY, tmp_path / name, dataset=images(), quiet=True) for name in "ab")
    other = train(TINY, tmp_path / "other", dataset=images(seed=3), quiet=True)
    assert (result["data"], result["image_shape"], result["steps"]) == ("TensorDataset", [1, 8, 8], 3 * (60 // 16))
    assert result["test_accuracy"] in [n / 9 for n in range(10)]
    assert (first["test_accuracy"], first["steps"]) == (None, 3 * (54 // 16))
    assert first["group_hash"] == again["group_hash"] != other["group_hash"]
    assert "simple on TensorDataset" in cnnbench("compare", tmp_path / "run")[1]
    assert load(tmp_path / "run").class_names == ("0", "1", "2")
    exit_code, _, err = cnnbench("evaluate", tmp_path / "run")
    assert (exit_code, err.count("\n")) == (2, 1)
    assert "TensorDataset, was given from Python" in err


def test_images_given_from_python_are_split_by_the_seed_of_each_run(tmp_path):
    overrides = [*TINY, "epochs=1", "data.split_seed=null"]
    for seed in (0, 1):
        train([*overrides, f"seed={seed}"], tmp_path / str(seed), dataset=images(), quiet=True)
    first, second = (summary(tmp_path / str(seed)) for seed in (0, 1))
    assert first["group_hash"] == second["group_hash"]
    assert first["data_fingerprints"]["val"] != second["data_fingerprints"]["val"]
    assert first["data_fingerprints"]["whole"] == second["data_fingerprints"]["whole"]


def test_callbacks_act_in_training_and_write_to_the_metrics(tmp_path):
    watch = Watch()
    result = train(TINY, tmp_path / "run", callbacks=[watch], quiet=True)
    plain = train(TINY, tmp_path / "plain", quiet=True)
    assert [line["steps_seen"] for line in result.history] == [6, 12, 18]
    assert [line["epoch"] for line in watch.seen] == [1, 2, 3]
    assert watch.seen[-1]["val_accuracy"] == result.history[-1]["val_accuracy"]
    assert result["weights_sha256"] == plain["weights_sha256"]
    assert result["group_hash"] != plain["group_hash"]


def test_what_was_given_is_given_again_where_the_run_goes_on(tmp_path):
    def parts(stop_after=None):
        return {"model": Own(), "dataset": images(), "callbacks": [Watch(stop_after)], "quiet": True}

    torch.manual_seed(0)
    straight = train(TINY, tmp_path / "straight", **parts())
    torch.manual_seed(0)
    with pytest.raises(Interrupted):
        train([*TINY, "checkpoint.every_seconds=0.0001"], tmp_path / "run", **parts(stop_after=2))
    run = tmp_path / "run"
    for missing, finding in {
        "model": "Own, was given",
        "dataset": "TensorDataset, was given",
        "callbacks": "Watch",
    }.items():
        with pytest.raises(ConfigError, match=finding):
            resume(run, **parts() | {missing: () if missing == "callbacks" else None})
    with pytest.raises(ConfigError, match="model=: the run was trained with Own"):
        resume(run, **parts() | {"model": nn.Sequential(nn.Flatten(), nn.Linear(64, 3))})
    with pytest.raises(ConfigError, match="dataset=: the run was trained with TensorDataset"):
        resume(run, **parts() | {"dataset": images(seed=1)})
    resumed = resume(run, **parts())
    assert resumed["weights_sha256"] == straight["weights_sha256"]
    assert metrics(run) == metrics(tmp_path / "straight")


def test_a_finished_run_is_given_back_unchanged(tmp_path):
    first = train(TINY, tmp_path / "run", quiet=True)
    assert dict(resume(tmp_path / "run")) == dict(first)


def test_a_lengthened_run_follows_the_longer_schedule_and_is_a_group_of_its_own(tmp_path, cnnbench):
    short = train([*TINY, "schedule=cosine"], tmp_path / "run", quiet=True)
    long = train([*TINY, "schedule=cosine", "epochs=5"], tmp_path / "long", quiet=True)
    result = resume(tmp_path / "run", epochs=5, quiet=True)
    assert [line["epoch"] for line in result.history] == [1, 2, 3, 4, 5]
    assert result.history[3]["lr"] == long.history[3]["lr"] > short.history[2]["lr"]
    assert (result["status"], result["epochs"], result["test_reads"]) == ("finished", 5, 2)
    assert result["lengthened"][0] | {"epochs": 3, "to": 5} == result["lengthened"][0]
    assert result["lengthened"][0]["test_accuracy"] == short["test_accuracy"]
    assert len({run["group_hash"] for run in (short, long, result)}) == 3
    assert "lengthened_at=[3]" in cnnbench("compare", tmp_path)[1]


def test_a_lengthened_run_that_is_interrupted_goes_on_and_can_be_lengthened_again(tmp_path, cnnbench):
    train(TINY, tmp_path / "run", callbacks=[Watch()], quiet=True)
    with pytest.raises(Interrupted):
        resume(tmp_path / "run", epochs=6, callbacks=[Watch(stop_after=5)], quiet=True)
    with pytest.raises(ConfigError, match="is not finished"):
        resume(tmp_path / "run", epochs=9, callbacks=[Watch()])
    assert resume(tmp_path / "run", callbacks=[Watch()], quiet=True)["epochs"] == 6
    result = resume(tmp_path / "run", epochs=7, callbacks=[Watch()], quiet=True)
    assert [part["to"] for part in result["lengthened"]] == [6, 7]
    assert cnnbench("verify", tmp_path / "run")[0] == 0


def test_a_run_that_cannot_be_lengthened_says_why(tmp_path):
    train(TINY, tmp_path / "run", quiet=True)
    stopping = ["regularization=[early_stopping]", "regularization.early_stopping.patience=1", "optimizer.lr=1e-30"]
    train([*TINY, *stopping, "epochs=9"], tmp_path / "stopped", quiet=True)
    before = summary(tmp_path / "run")
    for run, epochs, finding in (
        ("run", 3, "the run has 3; give more"),
        ("run", 0, "should be a whole number >= 1"),
        ("stopped", 12, "ended by itself after"),
    ):
        with pytest.raises(ConfigError, match=finding):
            resume(tmp_path / run, epochs=epochs)
    assert summary(tmp_path / "run") == before
    with pytest.raises(DataError, match="not a run folder"):
        resume(tmp_path / "none", epochs=4)


def test_a_run_whose_parts_are_not_given_again_stays_finished(tmp_path):
    train(TINY, tmp_path / "run", dataset=images(), callbacks=[Watch()], quiet=True)
    before = summary(tmp_path / "run")
    for parts in ({}, {"dataset": images()}, {"dataset": images(seed=1), "callbacks": [Watch()]}):
        with pytest.raises(ConfigError, match=r"given from Python|was trained with"):
            resume(tmp_path / "run", epochs=5, **parts)
    assert summary(tmp_path / "run") == before


def test_a_finding_is_a_line_of_its_own(tmp_path):
    with pytest.raises(CnnbenchError) as caught:
        train(["model=depe", "epochs=0"], tmp_path / "run")
    assert len(caught.value.findings) == 2
