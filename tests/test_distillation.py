"""Runs that learn from another run: what the teacher is shown, what is recorded of it, and what is refused."""

import json
import shutil

import pytest
import torch
from tiny import TINY, metrics, set_summary, summary
from torch.nn import functional as F
from torch.testing import assert_close

from cnnbench import Callback, load
from cnnbench.api import train as train_from_python
from cnnbench.assemble import configured_device, make_batches, make_model, make_training, rehearse
from cnnbench.config.compose import compose
from cnnbench.data.find import find_data, read_splits
from cnnbench.errors import ConfigError, DataError
from cnnbench.experiment import run_experiment
from cnnbench.loop import train_step
from cnnbench.runs.checkpoint import load_checkpoint
from cnnbench.trained.teacher import load_teacher

GAP = "model.head=gap"
"""A head that takes images of any size."""


def taught_by(path, *overrides):
    return ["loss=distillation", f"loss.teacher='{path}'", *overrides]


def assembled(*overrides):
    """A training of these overrides as `train` assembles it, its batches, and the teacher's network in eval mode."""
    config = compose([*TINY, *overrides])
    source, device = find_data(config.data), configured_device(config)
    splits = read_splits(source, config.data, config.seed)
    batches = make_batches(config, splits, device)
    teacher = load_teacher(config, source.image_shape, source.class_names, device)
    model = make_model(config, source.image_shape, source.num_classes)
    training = make_training(config, model, batches, source.num_classes, device, teacher=teacher)
    return training, batches, load(config.loss["teacher"])


def by_hand(student, teacher, labels, temperature=4.0, weight=0.9):
    ours, theirs = ((logits / temperature).softmax(1) for logits in (student, teacher))
    divergence = (theirs * (theirs / ours).log()).sum(1).mean()
    return (1 - weight) * F.cross_entropy(student, labels) + weight * temperature**2 * divergence


@pytest.fixture
def teacher(train):
    return train("teacher", "model.widths=[8]", "epochs=2")


@pytest.mark.parametrize("val_fraction", [0.1, 0.5], ids=["same images", "other mean and deviation"])
def test_the_loss_of_the_first_batch_is_the_one_computed_by_hand(teacher, val_fraction):
    training, batches, trained = assembled(*taught_by(teacher, f"data.val_fraction={val_fraction}"))
    is_own = bool(torch.equal(batches.normalize.mean, trained.normalize.mean))
    assert is_own == (val_fraction == 0.1)
    chosen = batches.order(0)[: batches.batch_size]
    ((pixels, labels),) = batches.images.batches(chosen, batches.batch_size)
    with torch.no_grad():
        student = training.model.train()(batches.normalize(pixels))
        expected = by_hand(student, trained.model(trained.normalize(pixels)), labels)
    train_step(training, *next(batches.epoch(0)))
    assert_close(training.sums.loss / training.sums.images, expected, rtol=1e-4, atol=1e-5)


class Watching(Callback):
    """Keeps what a batch has become."""

    def on_batch(self, images, targets):
        self.images, self.targets = images, targets
        return images, targets


@pytest.mark.parametrize(
    "overrides",
    [
        ["regularization=[mixup,cutmix]"],
        ["regularization=[progressive_resizing]", GAP],
        ["regularization=[sam,ema]"],
        ["augmentation=crop_flip"],
    ],
    ids=lambda overrides: overrides[0],
)
def test_the_teacher_is_asked_once_of_the_batch_that_the_student_is_trained_on(train, overrides):
    teacher = train("teacher", "model.widths=[8]", GAP)
    training, batches, trained = assembled(*taught_by(teacher, *overrides))
    asked, seen = [], []
    ask, forward = training.criterion.ask_teacher, training.forward
    training.criterion.ask_teacher = lambda images: asked.append(images) or ask(images)
    training.forward = lambda images: seen.append(images) or forward(images)
    train_step(training, *next(batches.epoch(0)))
    assert len(asked) == 1
    assert len(seen) == 1 + ("sam" in overrides[0])
    assert all(images is asked[0] for images in seen)
    assert ("resizing" in overrides[0]) == (asked[0].shape[2:] != (8, 8))
    with torch.no_grad():
        assert_close(training.criterion.answers, trained.model(asked[0]), rtol=1e-3, atol=1e-4)
    assert not training.criterion.answers.requires_grad


def test_the_teacher_learns_nothing_and_is_no_part_of_the_students_checkpoint(train, teacher):
    before = summary(teacher)["weights_sha256"]
    path = train("student", *taught_by(teacher))
    state = load_checkpoint(path / "checkpoints")
    assert state["callbacks"] == {"loss": {}}
    assert summary(teacher)["weights_sha256"] == before
    assert set(state["model"]) == set(load(path).model.state_dict())


def test_the_summary_says_who_the_teacher_was(train, teacher):
    theirs, ours = summary(teacher), summary(train("student", *taught_by(teacher)))
    shared = {key: theirs[key] for key in ("run_id", "weights_sha256", "group_hash")}
    assert ours["teacher"] == {"path": str(teacher), **shared}
    assert summary(train("plain"))["teacher"] is None


@pytest.mark.parametrize("overrides", [[], ["regularization=[mixup,sam]", "augmentation=crop_flip"]])
def test_a_resumed_student_is_bit_for_bit_the_uninterrupted_one(train, cnnbench, tmp_path, teacher, overrides):
    whole = train("whole", *taught_by(teacher, *overrides))
    with pytest.raises(KeyboardInterrupt):
        run_experiment(compose([*TINY, *taught_by(teacher, *overrides)]), tmp_path / "parts", pause_after=1)
    assert cnnbench("resume", tmp_path / "parts")[0] == 0
    assert summary(tmp_path / "parts")["weights_sha256"] == summary(whole)["weights_sha256"]
    assert metrics(tmp_path / "parts") == metrics(whole)


def test_a_student_is_not_resumed_with_another_teacher(train, cnnbench, tmp_path, teacher):
    with pytest.raises(KeyboardInterrupt):
        run_experiment(compose([*TINY, *taught_by(teacher)]), tmp_path / "student", pause_after=1)
    shutil.rmtree(teacher)
    code, _, error = cnnbench("resume", tmp_path / "student")
    assert (code, "loss.teacher" in error, "not a run folder" in error) == (65, True, True)
    train("teacher", "model.widths=[8]", "epochs=2", "seed=5")
    code, _, error = cnnbench("resume", tmp_path / "student")
    assert code == 65
    assert f"loss.teacher: {teacher} has other weights than when this run began" in error


def test_a_weight_of_0_trains_what_cross_entropy_trains(train, teacher):
    taught = train("taught", *taught_by(teacher, "loss.weight=0", "loss.label_smoothing=0.1"))
    assert summary(taught)["weights_sha256"] == summary(train("plain"))["weights_sha256"]


def test_students_of_teachers_that_repeat_each_other_are_one_group(train):
    teachers = [train(f"teacher{seed}", f"seed={seed}", "epochs=1") for seed in (0, 1)]
    wide = train("wide", "model.widths=[8]", "epochs=1")
    students = [
        summary(train(f"student{seed}", f"seed={seed}", *taught_by(path))) for seed, path in enumerate(teachers)
    ]
    other = summary(train("other", *taught_by(wide)))
    assert students[0]["group_hash"] == students[1]["group_hash"] != other["group_hash"]
    assert len({student["config_hash"] for student in students}) == 2


def test_seeds_of_a_sweep_each_have_their_own_teacher(train, cnnbench, tmp_path):
    teachers = [train(f"teacher-{seed}", f"seed={seed}", "epochs=1") for seed in (0, 1)]
    command = [*TINY, "seed=0,1", "loss=distillation", "loss.teacher=teacher-${seed}", "hydra.sweep.dir=sweep"]
    assert cnnbench("train", "-m", *command)[0] == 0
    found = {summary(path.parent)["seed"]: summary(path.parent) for path in (tmp_path / "sweep").glob("*/summary.json")}
    assert [found[seed]["teacher"]["path"] for seed in (0, 1)] == [str(path) for path in teachers]
    document = json.loads(cnnbench("compare", tmp_path / "sweep", "--json")[1])
    assert [group["n"] for group in document["groups"]] == [2]


def unfinished(path):
    set_summary(path, status="interrupted")


def diverged(path):
    set_summary(path, status="failed", exit_code=3)


def damaged(path):
    for file in (path / "checkpoints").glob("ckpt-*.pt"):
        file.write_bytes(file.read_bytes()[:-100])


@pytest.mark.parametrize(
    ("harm", "line"),
    [
        (shutil.rmtree, "not a run folder (no summary.json); give the path that `train` printed"),
        (unfinished, "is not finished; first `cnnbench resume"),
        (diverged, "has diverged, it has nothing to teach; give a run that finished"),
        (damaged, "checkpoints"),
    ],
)
def test_a_teacher_that_cannot_teach_is_refused_before_anything_is_written(cnnbench, tmp_path, teacher, harm, line):
    harm(teacher)
    code, _, error = cnnbench("train", *TINY, *taught_by(teacher), "hydra.run.dir=student")
    said = [text for text in error.splitlines() if text.startswith("error: ")]
    assert code == 65
    assert all(text.startswith("error: loss.teacher: ") and line in text for text in said)
    assert len(said) == (2 if harm is damaged else 1)  # one for each checkpoint
    assert not (tmp_path / "student").exists()


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (["data.image_shape=[3,8,8]"], "takes 1x8x8 images, this run has 3x8x8; give a run on images of this shape"),
        (["data.num_classes=4"], "knows 3 classes, this run has 4; give a run with these classes"),
    ],
)
def test_a_teacher_of_other_images_or_classes_is_refused(cnnbench, teacher, overrides, line):
    code, _, error = cnnbench("train", *TINY, *taught_by(teacher), *overrides)
    assert code == 65
    assert f"error: loss.teacher: {teacher} {line}" in error


def test_a_teacher_that_has_the_classes_in_another_order_is_refused(teacher):
    config = compose([*TINY, *taught_by(teacher)])
    source = find_data(config.data)
    with pytest.raises(DataError, match=r"has the class 'class 0' where this run has 'class 2'"):
        load_teacher(config, source.image_shape, source.class_names[::-1], configured_device(config))


def test_a_loss_without_a_teacher_asks_which_run_it_is(cnnbench):
    code, _, error = cnnbench("train", *TINY, "loss=distillation")
    assert code == 2
    assert "error: loss.teacher: which run? Give the path that `train` printed, as loss.teacher=PATH" in error


def test_a_teacher_given_from_python_is_refused(tmp_path, cnnbench):
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 3))
    train_from_python(TINY, tmp_path / "own", model=network, quiet=True)
    code, _, error = cnnbench("train", *TINY, *taught_by(tmp_path / "own"))
    assert code == 65
    assert "loss.teacher" in error
    assert "was given from Python" in error


def test_a_teacher_of_fixed_size_is_refused_where_images_are_resized(cnnbench, teacher):
    resized = ["regularization=[progressive_resizing]", GAP]
    code, _, error = cnnbench("train", *TINY, *taught_by(teacher, *resized))
    assert code == 2
    assert "regularization.progressive_resizing: the teacher takes 8x8 images and not 6x6" in error


def test_the_rehearsal_looks_at_the_teacher_but_does_not_load_it(teacher, monkeypatch):
    monkeypatch.setattr("cnnbench.runs.checkpoint.load_checkpoint", None)
    config = compose([*TINY, *taught_by(teacher)])
    rehearse(config, find_data(config.data), None)
    unfinished(teacher)
    with pytest.raises(DataError, match="is not finished"):
        rehearse(config, find_data(config.data), None)


def test_a_path_is_absolute_in_a_checked_config(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert compose(["loss=distillation", "loss.teacher=a/run"]).loss["teacher"] == str(tmp_path / "a" / "run")
    with pytest.raises(ConfigError, match=r"loss\.weight"):
        compose(["loss=distillation", "loss.weight=1.5"])


def test_a_student_is_fine_tuned_with_its_teacher(train, cnnbench, teacher):
    student = train("student", *taught_by(teacher))
    assert cnnbench("compress", student, "compression=masks", "hydra.run.dir=masked")[0] == 0
    set_summary(teacher, weights_sha256="another")
    code, _, error = cnnbench("compress", student, "compression=masks", "hydra.run.dir=again")
    assert code == 65
    assert "has other weights than when this run began" in error


def test_the_teachers_pass_counts_among_what_a_step_costs(cnnbench, teacher):
    costs = []
    for overrides in (taught_by(teacher), []):
        code, out, _ = cnnbench("bench", *TINY, *overrides, "--rounds=1", "--json")
        assert code == 0
        costs.append(json.loads(out)["results"][0]["training_flops"])
    assert costs[0] - costs[1] == 2 * summary(teacher)["macs"]
