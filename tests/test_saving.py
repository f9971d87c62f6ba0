import time

import pytest
import torch
from tiny import TINY, metrics, set_summary, summary
from torch import nn

from cnnbench import saving
from cnnbench.config.compose import compose
from cnnbench.errors import DiskError, DivergedError
from cnnbench.recorder import Recorder
from cnnbench.runs.checkpoint import load_checkpoint, read_manifest
from cnnbench.runs.identity import config_hash, group_hash
from cnnbench.saving import Saver, bytes_needed


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still, and on which a save takes a second."""

    class Clock:
        now = 1000.0

    def slow(*arguments, **options):
        Clock.now += 1
        return save(*arguments, **options)

    save = saving.save_checkpoint
    monkeypatch.setattr(saving.time, "monotonic", lambda: Clock.now)
    monkeypatch.setattr(saving, "save_checkpoint", slow)
    return Clock


def state(step):
    return {"position": {"step": step}, "weights": torch.full((2,), float(step))}


def test_saving_takes_one_percent_of_the_time_and_within_an_epoch_waits_for_its_turn(tmp_path, clock):
    saver = Saver(tmp_path, every_seconds=120.0, keep=2)
    assert saver.is_due(within_epoch=False)
    assert not saver.is_due(within_epoch=True)
    saver.save(state(1), is_best=False)
    for seconds, epoch_ends, within in ((99.5, False, False), (1.0, True, False), (20.0, True, True)):
        clock.now += seconds
        assert (saver.is_due(within_epoch=False), saver.is_due(within_epoch=True)) == (epoch_ends, within)
    saver.every_seconds = 1.0
    saver.save(state(2), is_best=False)
    clock.now += 99.5
    assert not saver.is_due(within_epoch=True)  # the share comes before the wish


def test_a_best_state_for_which_it_was_too_early_is_written_before_the_next_one(tmp_path, clock):
    saver = Saver(tmp_path, every_seconds=60.0, keep=1)
    best = state(2)
    saver.remember_best(best)
    best["weights"].zero_()  # training goes on in the same memory
    saver.save(state(3), is_best=False)
    saver.save(state(4), is_best=False)
    assert [(entry["step"], entry["best"]) for entry in read_manifest(tmp_path)] == [(2, True), (4, False)]
    assert load_checkpoint(tmp_path, best=True)["weights"].tolist() == [2.0, 2.0]


def test_a_better_state_takes_the_place_of_the_one_in_memory(tmp_path, clock):
    saver = Saver(tmp_path, every_seconds=60.0, keep=1)
    saver.remember_best(state(2))
    saver.save(state(3), is_best=True)
    saver.write_best()
    assert [entry["step"] for entry in read_manifest(tmp_path)] == [3]


@pytest.mark.parametrize("keep", [1, 3])
def test_as_many_checkpoints_are_kept_as_the_config_says_and_the_best(train, monkeypatch, keep):
    monkeypatch.setattr(saving, "LARGEST_SHARE", 1e9)
    path = train("run", "epochs=5", f"checkpoint.keep={keep}", "optimizer.lr=0.1")
    entries = read_manifest(path / "checkpoints")
    assert [entry["step"] for entry in entries[-keep:]] == [6 * epoch for epoch in range(6 - keep, 6)]
    assert sum(entry["best"] for entry in entries) == 1
    assert len(entries) <= keep + 1


def test_a_kill_within_a_long_epoch_costs_no_more_than_the_time_between_two_saves(train, cnnbench, monkeypatch):
    monkeypatch.setattr(saving, "LARGEST_SHARE", 1e9)
    straight = train("straight", "epochs=1", "model.dropout=0.2")
    settings = ["epochs=1", "model.dropout=0.2", "checkpoint.every_seconds=1e-9", "checkpoint.keep=5"]
    after_batch = Recorder.after_batch

    def killed(self, training, images):
        after_batch(self, training, images)
        if training.batch == 4:
            raise RuntimeError("killed")

    monkeypatch.setattr(Recorder, "after_batch", killed)
    path = train("killed", *settings, exit_code=1)
    assert [entry["step"] for entry in read_manifest(path / "checkpoints")] == [1, 2, 3, 4]
    monkeypatch.setattr(Recorder, "after_batch", after_batch)
    config = path / "config.yaml"  # how often a run is saved may be changed before it goes on
    config.write_text(config.read_text().replace("keep: 5", "keep: 1"))
    assert cnnbench("resume", path)[0] == 0
    assert summary(path)["weights_sha256"] == summary(straight)["weights_sha256"]
    assert metrics(path) == metrics(straight)


def test_how_often_a_run_is_saved_separates_no_groups():
    often = compose([*TINY, "checkpoint.every_seconds=5", "checkpoint.keep=9"]).as_dict()
    seldom = compose(TINY).as_dict()
    assert (config_hash(often), group_hash(often)) == (config_hash(seldom), group_hash(seldom))


@pytest.mark.parametrize("setting", ["every_seconds=0", "keep=0", "keep=1.5", "every=3"])
def test_a_wrong_setting_is_named(cnnbench, setting):
    exit_code, _, err = cnnbench("train", f"checkpoint.{setting}")
    assert exit_code == 2
    assert err.startswith(f"error: checkpoint.{setting.split('=')[0]}")


def test_weights_that_the_last_step_has_broken_are_not_saved(train, monkeypatch):
    after_batch = Recorder.after_batch

    def break_weights(self, training, images):
        if training.batch == 3:
            next(training.model.parameters()).data.view(-1)[0] = float("nan")
            self.signals.received = 15
        after_batch(self, training, images)

    monkeypatch.setattr(Recorder, "after_batch", break_weights)
    path = train("run", exit_code=DivergedError.exit_code)
    assert "the state of the training is not finite at epoch 1, step 3" in summary(path)["error"]
    assert read_manifest(path / "checkpoints") == []


def test_a_disk_without_room_ends_the_run_before_data_are_read(cnnbench, tmp_path, monkeypatch):
    from cnnbench import disk, experiment

    def nearly_full(path):
        return type("Stat", (), {"f_bavail": 3, "f_frsize": 4096, "f_blocks": 10**6})

    monkeypatch.setattr(disk.os, "statvfs", nearly_full)
    monkeypatch.setattr(experiment, "read_before_training", pytest.fail)
    exit_code, _, err = cnnbench("train", *TINY, "hydra.run.dir=run")
    assert exit_code == DiskError.exit_code
    assert err.startswith(f"error: {tmp_path / 'run'}: needs about ")
    assert "bytes, 12,288 are free; choose another folder" in err


def test_the_room_that_is_asked_for_is_that_of_all_checkpoints_and_the_predictions():
    model = nn.Linear(99, 10)  # 1000 parameters of 4 bytes
    assert bytes_needed(model, 10, keep=2) == 5 * 4000 * 4 + 4 * 10_000 * 10


def test_leftovers_go_when_the_run_goes_on(train, cnnbench):
    path = train("run", "epochs=1")
    set_summary(path, status="interrupted")
    leftovers = [path / ".tmp-summary.json-77", path / "checkpoints" / ".tmp-ckpt-00000002.pt-77"]
    for leftover in leftovers:
        leftover.write_text("")
    assert cnnbench("resume", path)[0] == 0
    assert [leftover for leftover in leftovers if leftover.exists()] == []


def test_the_total_time_is_that_of_all_parts_of_a_run(train, cnnbench, monkeypatch):
    after_batch = Recorder.after_batch

    def slow_then_stopped(self, training, images):
        if training.epoch == 1 and training.batch == 2:
            time.sleep(0.5)
            self.signals.received = 15
        after_batch(self, training, images)

    monkeypatch.setattr(Recorder, "after_batch", slow_then_stopped)
    path = train("run", exit_code=143)
    stopped = summary(path)["total_seconds"]
    assert stopped > 0.5
    monkeypatch.setattr(Recorder, "after_batch", after_batch)
    started = time.monotonic()
    assert cnnbench("resume", path)[0] == 0
    document = summary(path)
    assert document["total_seconds"] > document["train_seconds"]
    assert 0.5 < document["total_seconds"] - stopped + 0.5 < time.monotonic() - started + 0.5
