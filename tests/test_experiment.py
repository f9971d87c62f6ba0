import json
import os
import re
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from tiny import TINY, metrics, summary, without_waits, write_image
from torch import nn

from cnnbench import load
from cnnbench.assemble import configured_device, make_model, rehearse
from cnnbench.config import settings as lookup
from cnnbench.config.compose import compose
from cnnbench.config.settings import PositiveInt
from cnnbench.data.batches import Normalize
from cnnbench.data.find import find_data
from cnnbench.errors import CheckpointError
from cnnbench.experiment import run_experiment
from cnnbench.recorder import Recorder
from cnnbench.runs.identity import weights_sha256
from cnnbench.speed.latency import LATENCY_SECONDS, measure_latency
from cnnbench.techniques.optimizers import OPTIMIZERS

DESIGN_KEYS = {
    "format", "status", "error", "exit_code", "run_id", "config_hash", "group_hash", "seed", "model", "data", "epochs",
    "steps", "best_epoch", "best_val_accuracy", "test_accuracy", "test_top5_accuracy", "test_loss", "test_reads",
    "objective", "train_seconds", "total_seconds", "images_per_second", "parameters", "nonzero_parameters", "macs",
    "model_bytes", "peak_memory_bytes", "weights_sha256", "device", "precision", "memory_format", "compile", "threads",
    "time_to_target", "target", "latency_ms",
}  # fmt: skip


class Own(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Flatten(), nn.Linear(64, 3))


def test_equal_seeds_give_equal_weights_and_metrics_and_other_seeds_others(train):
    settings = ["augmentation=crop_flip", "regularization=[mixup]", "model.dropout=0.2"]
    first, again, other = (train(name, *settings, f"seed={seed}") for name, seed in (("a", 3), ("b", 3), ("c", 4)))
    assert summary(first)["weights_sha256"] == summary(again)["weights_sha256"]
    assert metrics(first) == metrics(again)
    assert summary(first)["weights_sha256"] != summary(other)["weights_sha256"]
    assert summary(first)["group_hash"] == summary(other)["group_hash"]
    assert summary(first)["config_hash"] != summary(other)["config_hash"]


def test_the_run_folder_is_as_designed(train):
    path = train("run", "target.value=0.1")
    document = summary(path)
    assert document.keys() >= DESIGN_KEYS
    assert [key for key in DESIGN_KEYS if document[key] is None] == ["error"]
    assert (document["status"], document["exit_code"], document["test_reads"]) == ("finished", 0, 1)
    assert (document["epochs"], document["steps"]) == (3, metrics(path)[-1]["step"])
    assert document["best_val_accuracy"] == max(line["val_accuracy"] for line in metrics(path)) == document["objective"]
    assert {entry.name for entry in path.iterdir()} == {
        "config.yaml", "environment.json", "metrics.jsonl", "summary.json", "checkpoints", "predictions.npz",
        "train.log", ".lock",
    }  # fmt: skip
    assert compose([*TINY, "target.value=0.1"]).as_dict() == yaml.safe_load((path / "config.yaml").read_text())
    assert json.loads((path / "environment.json").read_text())["command"].startswith("cnnbench train device=cpu ")


def test_the_load_of_the_machine_is_noted_before_and_after_the_training(train, monkeypatch):
    trained = []
    monkeypatch.setattr("cnnbench.experiment.load_per_processor", lambda: 2.5 if trained else 0.25)
    after_epoch = Recorder.after_epoch
    monkeypatch.setattr(Recorder, "after_epoch", lambda *arguments: trained.append(1) or after_epoch(*arguments))
    document = summary(train("run"))
    assert (document["load_at_start"], document["load_at_end"]) == (0.25, 2.5)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_predictions_are_those_of_the_reported_accuracy(train, precision):
    path = train("run", f"device.precision={precision}")
    predictions = np.load(path / "predictions.npz")
    assert predictions["logits"].dtype == np.float16
    assert predictions["logits"].shape == (30, 3)
    assert (predictions["predicted"] == predictions["labels"]).mean() == summary(path)["test_accuracy"]


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_last_good_checkpoint(cnnbench, tmp_path, monkeypatch):
    after_epoch = Recorder.after_epoch

    def raise_lr(self, training, metrics, is_best):
        after_epoch(self, training, metrics, is_best)
        training.optimizer.param_groups[0]["initial_lr"] = 1e30

    monkeypatch.setattr(Recorder, "after_epoch", raise_lr)
    settings = ["optimizer=sgd", "schedule=constant", "hydra.run.dir=run"]
    exit_code, _, err = cnnbench("train", *TINY, *settings)
    document = summary(tmp_path / "run")
    assert exit_code == 3
    assert err == f"error: {document['error']}\n"
    assert document["error"].startswith("training diverged: the loss is not finite at epoch 2, step ")
    assert ", lr 1e+30; " in document["error"]
    assert (document["status"], document["test_reads"], document["test_accuracy"]) == ("failed", 0, None)
    assert len(metrics(tmp_path / "run")) == 1
    assert cnnbench("evaluate", "run", "--split", "val")[0] == 0


def test_a_finished_run_is_not_overwritten(train, cnnbench):
    path = train("run")
    before = (path / "summary.json").read_bytes()
    exit_code, _, err = cnnbench("train", *TINY, f"hydra.run.dir={path}")
    assert exit_code == 65
    assert err == f"error: {path}: holds a run already; continue it with `cnnbench resume {path}` or choose another\n"
    assert (path / "summary.json").read_bytes() == before


@pytest.mark.parametrize(
    ("settings", "exit_code", "message"),
    [
        (["device=cuda"], 69, "device=cuda: this machine has no CUDA device"),
        (["device=cpu", "device.precision=tf32"], 69, "device.precision=tf32: this cpu has no TF32"),
        (["data=image_folder", "data.root=/nope"], 65, "/nope: cannot be listed (No such file or directory)"),
        (["data=mnist", "data.root=/nope", "data.download=false"], 65, "/nope/MNIST/raw/train-images-idx3-ubyte.gz: "),
        (["hydra.run.dir=/proc/run"], 74, "/proc/run: "),
    ],
)
def test_what_is_missing_is_one_line_and_leaves_no_folder(cnnbench, tmp_path, settings, exit_code, message):
    result = cnnbench("train", *settings)
    assert result[0] == exit_code
    assert result[2].startswith(f"error: {message}")
    assert result[2].count("\n") == 1
    assert [path for path in tmp_path.rglob("*") if path.name != "outputs" and path.parent.name != "outputs"] == []


def test_a_full_disk_is_74_and_the_earlier_checkpoint_stays(train, cnnbench, monkeypatch):
    save, saved = Recorder.save, []

    def filling(self, *, is_best):
        if saved:
            monkeypatch.setattr("os.fsync", _full)
        saved.append(self)
        save(self, is_best=is_best)

    monkeypatch.setattr(Recorder, "save", filling)
    path = train("run", exit_code=74)
    monkeypatch.undo()
    assert cnnbench("resume", path)[0] == 0
    assert summary(path)["epochs"] == 3


def _full(_):
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize("settings", [["data.train_images=1"], ["batch_size=100000"], ["data.train_images=4"]])
@pytest.mark.parametrize("norm", ["none", "batch"])
def test_one_image_and_a_batch_larger_than_the_data_work(train, settings, norm):
    path = train("run", *settings, f"model.norm={norm}")
    assert summary(path)["steps"] == 3
    assert summary(path)["test_accuracy"] is not None


def test_grey_colour_and_transparent_images_mix_and_unreadable_ones_are_left_out_and_listed(cnnbench, tmp_path):
    for number, shape in enumerate([(8, 8), (8, 8, 3), (8, 8, 4), (8, 8)]):
        for name in "ab":
            write_image(tmp_path / "images" / name / f"{number}.png", shape)
    (tmp_path / "images" / "a" / "text.jpg").write_text("hello")
    data = ["data=image_folder", f"data.root={tmp_path / 'images'}", "device=cpu", "device.threads=1", "epochs=1"]
    exit_code, _, err = cnnbench("train", *data, "hydra.run.dir=bad")
    assert exit_code == 65
    assert err.startswith(f"error: {tmp_path / 'images' / 'a' / 'text.jpg'}: is no image of a known format")
    exit_code, _, err = cnnbench("train", *data, "data.on_bad_image=skip", "data.test_fraction=0", "hydra.run.dir=run")
    assert exit_code == 0
    assert err.endswith(
        f"note: 1 images cannot be read and are left out; {tmp_path / 'run' / 'train.log'} lists them\n"
    )
    assert "text.jpg: is no image" in (tmp_path / "run" / "train.log").read_text()


def test_a_model_of_one_image_size_is_not_trained_on_others(train, cnnbench):
    settings = ["regularization=progressive_resizing"]
    exit_code, _, err = cnnbench("train", *TINY, *settings, "hydra.run.dir=run")
    assert exit_code == 2
    assert err == (
        "error: regularization.progressive_resizing: this model takes 8x8 images and not 6x6; "
        "use model.head=gap, a model that has it, or a scale nearer to 1\n"
    )
    assert summary(train("gap", *settings, "model.head=gap"))["status"] == "finished"


def test_rehearsing_gives_back_the_model_as_it_was_built():
    config = compose([*TINY, "model=deep_residual", "regularization=[stochastic_depth]", "pruning=filter"])
    source = find_data(config.data)
    model, _ = rehearse(config, source, None)
    built = make_model(config, source.image_shape, source.num_classes)
    assert all(torch.equal(value, built.state_dict()[key]) for key, value in model.state_dict().items())
    assert {m.drop_probability for m in model.modules() if hasattr(m, "drop_probability")} == {0}


def test_a_training_without_compilation_does_not_wait_for_the_compiler(tmp_path):
    script = f"""
import sys
from cnnbench.cli import run
for optimizer in {sorted(OPTIMIZERS)}:
    code = run(["train", *sys.argv[1:], f"optimizer={{optimizer}}", f"hydra.run.dir={{optimizer}}"])
    sys.stderr.write(f"{{code}} {{'torch._dynamo' in sys.modules}} ")
"""
    command = [sys.executable, "-c", script, *TINY, "model=deep_residual", "epochs=1"]
    variables = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=variables)
    assert without_waits(done.stderr) == len(OPTIMIZERS) * "0 False "


def test_a_model_of_ones_own_is_trained_from_python_again_and_again(tmp_path):
    config = compose([*TINY, "model=simple"])
    first, second = (run_experiment(config, tmp_path / name, model=Own()) for name in "ab")
    assert first["parameters"] == second["parameters"] == 64 * 3 + 3
    assert first["run_id"] != second["run_id"]
    assert first == summary(tmp_path / "a")


def test_a_model_from_python_is_recorded_as_its_class_and_architecture_and_never_pools_with_the_configs(tmp_path):
    config = compose(TINY)
    ours, own, again, other = (
        run_experiment(config, tmp_path / str(number), model=model)
        for number, model in enumerate((None, Own(), Own(), nn.Sequential(nn.Flatten(), nn.Linear(64, 3))))
    )
    assert [summary["model"] for summary in (ours, own, other)] == ["simple", "Own", "Sequential"]
    assert own["group_hash"] == again["group_hash"]
    assert len({summary["group_hash"] for summary in (ours, own, other)}) == 3


def test_a_model_from_python_is_loaded_into_one_of_the_same_architecture(tmp_path, cnnbench):
    path = tmp_path / "run"
    run_experiment(compose(TINY), path, model=Own())
    images = torch.zeros(2, 1, 8, 8, dtype=torch.uint8)
    assert load(path, model=Own()).logits(images).shape == (2, 3)
    with pytest.raises(CheckpointError, match="was trained with another network"):
        load(path, model=nn.Sequential(nn.Flatten(), nn.Linear(64, 3)))
    exit_code, _, err = cnnbench("evaluate", path)
    assert (exit_code, err.count("\n")) == (2, 1)
    assert "Own, was given from Python" in err


def test_a_model_may_take_its_initial_weights_from_training_images_that_are_not_augmented(tmp_path):
    class Looking(Own):
        def initialize_from_images(self, images):
            self.seen = images

    plain, augmented = Looking(), Looking()
    run_experiment(compose(TINY), tmp_path / "a", model=plain)
    run_experiment(compose([*TINY, "augmentation=crop_flip", "batch_size=5"]), tmp_path / "b", model=augmented)
    assert torch.equal(plain.seen, augmented.seen)
    assert plain.seen.shape == (108, 1, 8, 8)
    assert plain.seen.mean().abs() < 0.01


class Hungry(Own):
    def forward(self, images):
        return super().forward(images) + torch.ones(2**26).sum() * 0  # 256 MiB


@pytest.mark.skipif(sys.platform != "linux", reason="other systems keep one peak for the process")
def test_the_peak_of_an_earlier_run_in_the_process_is_not_this_ones(tmp_path):
    config = compose([*TINY, "epochs=1"])
    hungry, small = (run_experiment(config, tmp_path / m.__name__, model=m()) for m in (Hungry, Own))
    assert hungry["peak_memory_bytes"] - small["peak_memory_bytes"] > 200 * 2**20
    assert small["peak_memory_bytes"] > 50 * 2**20


def test_a_model_of_ones_own_has_its_yaml_in_a_folder_of_ones_own(cnnbench, tmp_path, monkeypatch):
    def own(image_shape, num_classes, *, hidden: PositiveInt):
        return nn.Sequential(nn.Flatten(), nn.Linear(64, hidden), nn.Linear(hidden, num_classes))

    entry = EntryPoint("own", "a_package:own", "from an installed package")
    monkeypatch.setattr(EntryPoint, "load", lambda _: own)
    monkeypatch.setattr(lookup, "entry_points", lambda group, name: [entry] if name == "own" else [])
    (tmp_path / "conf" / "model").mkdir(parents=True)
    (tmp_path / "conf" / "model" / "mine.yaml").write_text("name: own\nhidden: 5\n")
    tiny = [setting for setting in TINY if not setting.startswith("model.")]
    arguments = ["train", "--config-dir", "conf", "model=mine", *tiny, "hydra.run.dir=run"]
    assert cnnbench(*arguments, "model.hidden=0")[2] == "error: model.hidden=0: should be a whole number >= 1\n"
    assert cnnbench(*arguments)[0] == 0
    assert summary(tmp_path / "run")["parameters"] == 64 * 5 + 5 + 5 * 3 + 3
    assert cnnbench("evaluate", "run")[0] == 0


def test_the_results_are_aligned_and_say_nothing_of_what_was_not_measured(train, cnnbench):
    out = cnnbench("train", *TINY, "data.val_fraction=0", "hydra.run.dir=run")[1]
    table = [line.rstrip() for line in out[out.index("\nresult") + 1 :].splitlines()]
    assert [re.split("  +", line)[0] for line in table[1:-1]] == ["test accuracy", "training time", "total time"]
    assert len({re.search(r"\d [%s]", line).end() for line in table[1:-1]}) == 1


def test_an_epoch_fits_a_terminal_of_80_columns(train):
    log = (train("run") / "train.log").read_text().splitlines()
    epochs = [line.split("Z ", 1)[1] for line in log if re.search(r"epoch +\d", line)]
    assert epochs
    assert all(len(line) <= 80 for line in epochs)


def test_the_latency_is_measured_and_draws_no_random_numbers():
    config = compose([*TINY])
    device = configured_device(config)
    model = make_model(config, (1, 8, 8), 3)
    normalize = Normalize(torch.tensor([0.5]), torch.tensor([0.25]), device)
    before, weights = torch.get_rng_state(), weights_sha256(model.state_dict())
    milliseconds = measure_latency(model, (1, 8, 8), normalize, device)
    assert 0 < milliseconds < 1000 * LATENCY_SECONDS
    assert torch.equal(torch.get_rng_state(), before)
    assert weights_sha256(model.state_dict()) == weights
    assert model.training


@pytest.mark.parametrize(
    ("overrides", "keys"),
    [
        (["data.val_fraction=0", "regularization=[early_stopping]", "target.value=0.5"],
         ["regularization.early_stopping", "target.value=0.5"]),
        (["batch_size=1", "model.norm=batch", "model.widths=[4,4,4]", "model.depth=1", "model.head=gap"], None),
        (["batch_size=1", "model.norm=batch", "model.widths=[4,4,4,4]", "model.pool_ceil_mode=true", "model.head=gap"],
         ["batch_size=1"]),
    ],
)  # fmt: skip
def test_what_cannot_be_trained_is_told_before_data_is_read(cnnbench, tmp_path, monkeypatch, overrides, keys):
    monkeypatch.setattr("cnnbench.experiment.read_before_training", lambda *_: pytest.fail("read the data"))
    if keys is None:  # maps of two pixels: two values suffice
        monkeypatch.undo()
        monkeypatch.chdir(tmp_path)
    exit_code, _, err = cnnbench("train", *TINY, "epochs=1", "hydra.run.dir=run", *overrides)
    assert exit_code == (2 if keys else 0), err
    assert [line.split(":")[1].strip() for line in err.splitlines()] == (keys or [])
    assert (tmp_path / "run").exists() == (keys is None)


def test_a_share_for_validation_that_comes_to_no_image_is_told_before_training(cnnbench):
    exit_code, out, err = cnnbench("train", *TINY, "data.val_fraction=0.0001", "regularization=[early_stopping]")
    assert (exit_code, err.count("\n")) == (2, 1)
    assert "this run has no validation images; raise data.val_fraction" in err
    assert "policy" not in out
