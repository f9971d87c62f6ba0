"""A checkpoint with the right hash may hold anything: what is loaded from it is judged first."""

import re
import shutil
from collections import OrderedDict

import pytest
import torch
from tiny import TINY, summary

from cnnbench.config.compose import compose
from cnnbench.errors import Interrupted
from cnnbench.experiment import run_experiment
from cnnbench.recorder import Recorder
from cnnbench.runs.checkpoint import load_checkpoint, save_checkpoint

SETTINGS = [
    "epochs=2",
    "model.norm=batch",
    "optimizer=adamw",
    "regularization=[ema,swa,lookahead,early_stopping]",
    "pruning=magnitude",
    "device.precision=fp16",
]
BATCHES = 6  # of an epoch


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """A run killed within its second epoch, and what its newest checkpoint holds."""
    path = tmp_path_factory.mktemp("stopped") / "run"
    after_batch = Recorder.after_batch

    def stop(self, training, images):
        if training.epoch == 1 and training.batch == 2:
            self.signals.received = 15
        after_batch(self, training, images)

    config = compose([*TINY, *SETTINGS])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Recorder, "after_batch", stop)
        with pytest.raises(Interrupted):
            run_experiment(config, path)
    return path, load_checkpoint(path / "checkpoints")


def copy_with(stopped, tmp_path, change):
    """A copy of the run whose newest checkpoint holds what `change` leaves of it."""
    source, state = stopped
    path = tmp_path / "run"
    shutil.copytree(source, path)
    state = {key: value for key, value in copied(state).items() if key != "format"}
    change(state)
    save_checkpoint(path / "checkpoints", 99, state, is_best=True, keep=2)
    return path


def resume_with(stopped, tmp_path, cnnbench, change):
    return cnnbench("resume", copy_with(stopped, tmp_path, change))


def copied(value):
    if isinstance(value, dict):
        return {key: copied(item) for key, item in value.items()}
    if isinstance(value, list):
        return [copied(item) for item in value]
    return value.clone() if isinstance(value, torch.Tensor) else value


def put(value, *keys):
    """A change of the state: `value` at the place that the keys lead to."""

    def change(state):
        for key in keys[:-1]:
            state = state[key]
        state[keys[-1]] = value

    return change


def drop(*keys):
    def change(state):
        for key in keys[:-1]:
            state = state[key]
        del state[keys[-1]]

    return change


NAN = float("nan")
MOMENT = ("optimizer", "state", "state", 0, "exp_avg")
GROUP = ("optimizer", "state", "param_groups", 0)
HOSTILE = {
    "no position": (drop("position"), "position is missing"),
    "no model": (drop("model"), "model is missing"),
    "no data": (drop("data"), "data is missing"),
    "position a list": (put([1], "position"), "position does not hold epoch"),
    "position short": (drop("position", "batch"), "position does not hold epoch"),
    "epoch -10^6": (put(-(10**6), "position", "epoch"), "position.epoch is not a whole number >= 0"),
    "epoch 10^12": (put(10**12, "position", "epoch"), "position is not within 2 epochs of 6 steps"),
    "epoch 10^80": (put(10**80, "position", "epoch"), "position.epoch is not a whole number"),
    "epoch 10^5000": (put(10**5000, "position", "epoch"), "99.pt: is not a checkpoint"),
    "epoch a text": (put("1", "position", "epoch"), "position.epoch is not a whole number >= 0"),
    "epoch a bool": (put(True, "position", "epoch"), "position.epoch is not a whole number >= 0"),
    "batch beyond": (put(BATCHES, "position", "batch"), "position is not within 2 epochs of 6 steps"),
    "another step": (put(3, "position", "step"), "position contradicts itself"),
    "best epoch to come": (put(2, "position", "best_epoch"), "position contradicts itself"),
    "seconds nan": (put(NAN, "position", "train_seconds"), "position.train_seconds is not a number >= 0"),
    "stopped a number": (put(1, "position", "stopped"), "position.stopped is not true or false"),
    "moment larger": (put(torch.zeros(9000), *MOMENT), r"optimizer.state.state.0.exp_avg is \(9000,\)"),
    "moment double": (put(torch.zeros(4, 1, 3, 3).double(), *MOMENT), "exp_avg is .*float64 against .*float32"),
    "moment stride 0": (put(torch.zeros(1).expand(4, 1, 3, 3), *MOMENT), "exp_avg is not a dense tensor"),
    "moment nan": (put(torch.full((4, 1, 3, 3), NAN), *MOMENT), "exp_avg is not finite"),
    "moment a list": (put([0.0], *MOMENT), "exp_avg is not a dense tensor"),
    "moment missing": (drop(*MOMENT), "exp_avg is missing"),
    "step negative": (put(torch.tensor(-5.0), *MOMENT[:-1], "step"), "step is not a count of steps"),
    "state of no parameter": (put({}, "optimizer", "state", "state", 99), "a parameter that is not here"),
    "another lr": (put(0.5, *GROUP, "initial_lr"), "initial_lr is not the one of the config"),
    "other betas": (put((0.5, 0.5), *GROUP, "betas"), "betas is not the one of the config"),
    "capturable a list": (put([[[]] * 9] * 9, *GROUP, "capturable"), "capturable is not true or false"),
    "betas a text": (put("ab", *GROUP, "betas"), "betas is not a list"),
    "params swapped": (put([1, 0], *GROUP, "params"), "params"),
    "no groups": (put([], "optimizer", "state", "param_groups"), "param_groups is not a list of 2 groups"),
    "no optimizer": (put(None, "optimizer"), r"saved with another optimizer \(nothing, now AdamW\)"),
    "optimizer state a text": (put("x", "optimizer", "state"), "optimizer.state is not the state of an optimizer"),
    "ema a list": (put([], "callbacks", "ema"), "callbacks.ema is not a mapping"),
    "ema of another shape": (put(torch.zeros(7), "callbacks", "ema", "average", "stages.0.0.conv.weight"), ""),
    "ema updates negative": (put(-20, "callbacks", "ema", "updates"), "ema.updates is not a whole number from 0"),
    "swa a text": (put("1", "callbacks", "swa", "snapshots"), "swa.snapshots is not a whole number"),
    "early stopping a text": (put("x", "callbacks", "early_stopping", "best"), "best is not a finite number"),
    "masks cut": (lambda state: state["callbacks"]["pruning"]["masks"].pop(), "callbacks.pruning.masks has"),
    "masks of numbers": (put([], "callbacks", "pruning", "masks"), "callbacks.pruning.masks has 0 entries"),
    "another callback": (put({}, "callbacks", "mixup"), "callbacks.mixup is unknown here"),
    "averaged a number": (put(3, "averaged"), "averaged is not a mapping"),
    "sums of no image": (put(0, "sums", "images"), "sums contradict themselves"),
    "sums nan": (put(torch.tensor(NAN), "sums", "loss"), "sums.loss is not finite"),
    "sums a number": (put(1, "sums", "correct"), "sums.correct is not a dense tensor"),
    "scale 0": (put(0.0, "scaler", "scale"), "scaler is not that of a loss scale"),
    "scale nan": (put(NAN, "scaler", "scale"), "scaler.scale is not a finite number"),
    "growth": (put(1e9, "scaler", "growth_factor"), "scaler is not that of a loss scale"),
    "rng short": (put(torch.zeros(3, dtype=torch.uint8), "rng", "cpu"), r"rng.cpu is \(3,\)"),
    "rng zeros": (lambda state: state["rng"]["cpu"].zero_(), "rng is not the state of a generator"),
    "rng a number": (put(7, "rng"), "rng.cpu is missing"),
    "metrics to come": (put(10**9, "metrics", "bytes"), "metrics.jsonl: does not hold the 1 epochs"),
    "metrics negative": (put(-1, "metrics", "bytes"), "metrics.bytes is not a whole number from 0"),
    "bits a list": (put([], "bits"), "bits is not a mapping"),
    "weights in order": (lambda state: state.update(model=OrderedDict(x=1)), "is missing"),
    "an extra part": (put(1, "extra"), "extra is unknown here"),
}


@pytest.mark.parametrize(("change", "said"), HOSTILE.values(), ids=HOSTILE)
def test_what_this_run_did_not_save_is_refused_in_one_line(stopped, tmp_path, cnnbench, change, said):
    exit_code, _, err = resume_with(stopped, tmp_path, cnnbench, change)
    assert (exit_code, err.count("\n")) == (65, 1), err
    assert err.startswith("error: ")
    assert re.search(said, err), err


def test_the_state_as_it_was_saved_is_resumed(stopped, tmp_path, cnnbench):
    assert resume_with(stopped, tmp_path, cnnbench, lambda state: None)[0] == 0
    assert summary(tmp_path / "run")["epochs"] == 2


UNUSABLE = {
    "no weights": (drop("averaged"), "averaged is missing"),
    "no facts": (drop("data"), "data.mean is not a list"),
    "mean a text": (put("abc", "data", "mean"), "data.mean is not a list, each a number"),
    "std 0": (put([0.0], "data", "std"), "data.std is not a list, each a number > 0"),
    "two means": (put([0.1, 0.2], "data", "mean"), "data does not describe images of classes"),
    "giant images": (put([1, 10**6, 10**6], "data", "image_shape"), "data.image_shape is larger than any image"),
    "large images": (put([1, 2**15, 2**15], "data", "image_shape"), r" against \(8, "),
    "images without end": (put([1, 8, 10**17], "data", "image_shape"), "data.image_shape is larger than any image"),
    "no channels": (put([0, 8, 8], "data", "image_shape"), "data.image_shape is not a list, each a whole number >= 1"),
    "flat images": (put([1, 8], "data", "image_shape"), "data does not describe images of classes"),
    "more classes": (put(list("abcde"), "data", "class_names"), r" against \(5, "),
    "classes of numbers": (put([1, 2, 3], "data", "class_names"), "data.class_names is not a list, each a text"),
}


@pytest.mark.parametrize("verb", ["evaluate", "predict"])
@pytest.mark.parametrize(("change", "said"), UNUSABLE.values(), ids=UNUSABLE)
def test_a_model_that_cannot_be_this_runs_is_not_used(stopped, tmp_path, cnnbench, change, said, verb):
    path = copy_with(stopped, tmp_path, change)
    exit_code, _, err = cnnbench(verb, path, *(["image.png"] if verb == "predict" else []))
    assert (exit_code, err.count("\n")) == (65, 1), err
    assert re.search(said, err), err
