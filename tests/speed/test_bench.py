import json

import pytest
import torch
from tiny import TINY
from torch import nn

from cnnbench.assemble import configured_device
from cnnbench.commands import bench
from cnnbench.config.compose import compose
from cnnbench.config.overrides import groups_of
from cnnbench.config.sweeping import every_job
from cnnbench.data.find import find_data
from cnnbench.device import candidate_policies
from cnnbench.speed import bench as measure
from cnnbench.speed import timed as contender
from cnnbench.speed.timed import TimedConfig, training_flops

PEAKS = {"fp32": 4e9, "bf16": 8e9, "fp16": 1e9}
CONV_MACS, LINEAR_MACS = 4 * 9 * 64, 64 * 8 + 8 * 3  # of TINY: one 3x3 convolution to 4 channels, pooled to 4x4


@pytest.fixture
def run(cnnbench, monkeypatch):
    """Benchmarks the tiny run as fast as can be, against made-up peaks; gives back the JSON document."""
    monkeypatch.setattr(measure, "measure_peaks", lambda kind, precisions: dict(PEAKS))
    monkeypatch.setattr(measure, "computes_in", lambda precision, kind: precision != "fp16")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.mps, "is_available", lambda: False)
    monkeypatch.setattr(measure, "SAMPLES", 2)
    monkeypatch.setattr(contender, "TRAINING_SECONDS", 0.001)

    def run(*arguments):
        exit_code, out, err = cnnbench("bench", *TINY, "--rounds", "1", "--json", *arguments)
        assert exit_code == 0, err
        return json.loads(out)

    return run


def fail_above(monkeypatch, batch_size, error):
    """Trying out a policy fails with `error` where the batch is larger than `batch_size`."""
    try_out = TimedConfig.try_out

    def failing(self):
        if self.batch_size > batch_size:
            raise error
        try_out(self)

    monkeypatch.setattr(TimedConfig, "try_out", failing)


def test_utilisation_is_speed_times_flops_over_the_peak(run):
    document = run()
    (row,) = document["results"]
    assert row["macs"] == CONV_MACS + LINEAR_MACS
    assert row["parameters"] == (4 * 9 + 4) + (64 * 8 + 8) + (8 * 3 + 3)
    training = 2 * (2 * CONV_MACS + 3 * LINEAR_MACS)  # the first layer's input needs no gradient
    assert document["peak_gflops"]["cpu"] == {"fp32": 4, "bf16": 8, "fp16": 1}
    assert row["training_utilisation"] == pytest.approx(row["training_images_per_second"] * training / 4e9)
    inference = 2 * (CONV_MACS + LINEAR_MACS)
    assert row["inference_utilisation"] == pytest.approx(row["inference_images_per_second"] * inference / 4e9)


@pytest.mark.parametrize(
    ("settings", "macs"),
    [
        # 8x8 images are 6x6 at first; the head sees the mean of each of the 4 maps
        (["regularization=progressive_resizing", "model.head=gap"], 2 * 4 * 9 * 36 + 3 * 4 * 3),
        (["regularization=freeze_first_layer"], 2 * CONV_MACS + 3 * LINEAR_MACS),
        (["regularization=freeze_first_layer", "regularization.freeze_first_layer.after=0"],
         CONV_MACS + 3 * LINEAR_MACS - 64 * 8),
        (["regularization=sam"], 2 * (2 * CONV_MACS + 3 * LINEAR_MACS)),
    ],
)  # fmt: skip
def test_the_flops_counted_are_those_of_the_steps_that_are_timed(run, settings, macs):
    (row,) = run(*settings)["results"]
    assert row["training_flops"] == 2 * macs
    assert row["training_utilisation"] == pytest.approx(row["training_images_per_second"] * 2 * macs / 4e9)


def test_however_long_it_is_timed_progressive_resizing_stays_at_its_first_size():
    config = compose([*TINY, "regularization=progressive_resizing", "model.head=gap"])
    model = TimedConfig(config, find_data(config.data), configured_device(config), 16)
    sizes = set()
    forward = model.training.forward
    model.training.forward = lambda images: sizes.add(images.shape[2:]) or forward(images)
    model.steps = 100
    model.train()
    assert sizes == {(6, 6)}


def test_a_layer_that_is_frozen_from_the_start_has_no_gradients_to_compute():
    model = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.Conv2d(2, 2, 3, padding=1), nn.Conv2d(2, 2, 1))
    first, second, third = 64 * 2 * 9, 64 * 4 * 9, 64 * 4
    assert training_flops(model, (1, 8, 8)) == 2 * (2 * first + 3 * second + 3 * third)
    model[0].requires_grad_(False)
    assert training_flops(model, (1, 8, 8)) == 2 * (first + 2 * second + 3 * third)
    model[0].bias.requires_grad_(True)  # as airbench's whitening
    assert training_flops(model, (1, 8, 8)) == 2 * (first + 3 * second + 3 * third)


def test_a_row_holds_its_policy_a_range_and_percentiles(run):
    document = run("device.memory_format=contiguous", "batch_size=8")
    (row,) = document["results"]
    policy = ("device", "precision", "memory_format", "compile", "threads", "batch_size", "problem")
    assert [row[key] for key in policy] == ["cpu", "fp32", "contiguous", False, 1, 8, None]
    low, high = row["training_images_per_second_range"]
    assert 0 < low <= row["training_images_per_second"] <= high
    assert [0 < ms["p50"] <= ms["p95"] for ms in row["latency_ms"].values()] == [True, True]
    assert list(row["latency_ms"]) == ["1", "64"]
    assert len(document["load_average"]) == 2
    assert document["machine"]["cores"] >= 1


def test_what_is_left_to_auto_is_measured_in_every_form_and_emulation_is_named(run):
    rows = run("device=auto")["results"]
    assert [(row["precision"], row["memory_format"]) for row in rows] == candidate_policies("cpu")
    for row in rows:
        emulated = row["precision"] == "fp16"
        assert (row["training_images_per_second"] is None) == emulated
        assert (row["problem"] or "").startswith("emulated: trains at less than half the speed of fp32") == emulated
    stated = run("device=auto", "device.precision=fp16", "device.memory_format=contiguous")["results"]
    assert [(row["precision"], row["problem"]) for row in stated] == [("fp16", None)]


def test_compilation_is_measured_beside_the_plain_policy_unless_everything_is_stated():
    open_choice = compose([*TINY, "device=auto", "device.precision=bf16", "device.compile=true"])
    variants = measure.variants(open_choice.device, configured_device(open_choice))
    assert variants == [
        (("bf16", "contiguous"), False),
        (("bf16", "contiguous"), True),
        (("bf16", "channels_last"), False),
        (("bf16", "channels_last"), True),
    ]
    stated = compose([*TINY, "device.compile=true"])
    assert measure.variants(stated.device, configured_device(stated)) == [(("fp32", "channels_last"), True)]


def test_a_sweep_is_one_document_with_every_combination(run):
    rows = run("-m", "data.num_classes=3,4", "batch_size=8,4", "device.memory_format=contiguous")["results"]
    assert [[*row["overrides"][-3:-1], row["batch_size"]] for row in rows] == [
        ["data.num_classes=3", "batch_size=8", 8],
        ["data.num_classes=3", "batch_size=4", 4],
        ["data.num_classes=4", "batch_size=8", 8],
        ["data.num_classes=4", "batch_size=4", 4],
    ]
    assert [row["parameters"] for row in rows] == [587, 587, 596, 596]


def test_every_kind_of_sweep_is_written_out():
    jobs = every_job(
        ["model=glob([le*,simple])", "seed=range(0,2)", "regularization=[mixup],[]", "epochs=1"], groups_of(None)
    )
    assert len(jobs) == 8
    assert jobs[0] == ["model=lenet", "seed=0", "regularization=[mixup]", "epochs=1"]
    assert jobs[-1] == ["model=simple", "seed=1", "regularization=[]", "epochs=1"]


@pytest.mark.parametrize(("fitting", "tried"), [(16, 16), (8, 8), (7, 4)])
def test_out_of_memory_falls_to_half_of_the_batch_and_half_of_that(run, monkeypatch, fitting, tried):
    fail_above(monkeypatch, fitting, MemoryError())
    (row,) = run()["results"]
    assert row["batch_size"] == tried
    assert row["training_images_per_second"] > 0
    assert row["problem"] == (None if tried == 16 else "out of memory at batch 16")


@pytest.mark.parametrize(
    ("error", "problem"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), "out of memory at batch 16 and at a quarter of it"),
        (RuntimeError("no kernel for this\nC++ trace"), "no kernel for this"),
    ],
)
def test_a_policy_that_fails_is_listed_without_numbers(run, monkeypatch, error, problem):
    fail_above(monkeypatch, 3, error)
    (row,) = run()["results"]
    assert row["problem"] == problem
    assert row["training_images_per_second"] is row["latency_ms"] is row["training_utilisation"] is None


def test_policies_that_do_not_fit_side_by_side_are_listed_and_the_sweep_goes_on(run, monkeypatch):
    take_turns = measure.take_turns

    def failing(actions, rounds):
        if len(actions) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return take_turns(actions, rounds)

    monkeypatch.setattr(measure, "take_turns", failing)
    rows = run("-m", "device=auto,cpu")["results"]
    assert [row["problem"] for row in rows if row["precision"] != "fp16"] == ["CUDA out of memory"] * 4 + [None]


def test_the_tables_name_what_is_swept_and_what_was_not_measured(run, cnnbench):
    swept = ["-m", "data.num_classes=3,4", "device=auto", "device.precision=fp32"]
    exit_code, out, _ = cnnbench("bench", *TINY, "--rounds", "1", *swept)
    lines = [line.split() for line in out.splitlines()]
    assert exit_code == 0
    assert [line[:3] for line in lines if line[1:2] == ["fp32"]] == 2 * [
        ["3", "fp32", "contiguous"],
        ["3", "fp32", "channels_last"],
        ["4", "fp32", "contiguous"],
        ["4", "fp32", "channels_last"],
    ]
    assert "peak of cpu in matrix products, GFLOP/s: fp32 4, bf16 8, fp16 1" in out
    exit_code, out, _ = cnnbench("bench", *TINY, "--rounds", "1", "device=auto")
    assert out.startswith("simple on synthetic images, random ones: 587 parameters")
    assert "\nfp16 contiguous: emulated: " in out


def test_cells_are_rounded_and_what_is_unknown_is_a_dash():
    row = {
        "batch_size": 128,
        "training_images_per_second": 2391.4,
        "training_images_per_second_range": [2040, 2461],
        "training_utilisation": 0.426,
        "inference_images_per_second": 9000,
        "inference_utilisation": None,
        "latency_ms": {"1": {"p50": 1.234, "p95": 2.5}, "64": {"p50": 14, "p95": 15}},
        "peak_memory_bytes": None,
    }
    assert bench.training_cells(row) == ("128", "2,391", "2,040 to 2,461", "43 %", "-")
    assert bench.inference_cells(row) == ("256", "9,000", "-", "1.23 / 2.50", "14.00 / 15.00")


def test_latencies_are_percentiles_of_the_samples():
    assert measure.percentiles_ms([i / 1000 for i in range(101)]) == {
        "p50": pytest.approx(50),
        "p95": pytest.approx(95),
    }
    assert measure.percentiles_ms([0.002]) == {"p50": 2, "p95": 2}


@pytest.mark.parametrize(
    ("arguments", "starts"),
    [
        (["model=dep", "epohcs=3", "batch_size=0"], ["model=dep: no such model", "epohcs: unknown", "batch_size=0"]),
        (["-m", "model=simple,dep"], ["model=dep: no such model; did you mean 'deep'?"]),
        (["model=simple,deep"], ["model=simple,deep: several values; sweep over them with -m"]),
        (
            ["-m", "optimizer.lr=interval(0,1)", "model.depht=3"],
            ["optimizer.lr=interval(0,1): stands for no values", "model.depht: unknown key"],
        ),
        (["hydra.sweep.dir=x", "hydra/launcher=joblib"], ["hydra.sweep.dir=x: bench", "hydra/launcher=joblib: bench"]),
        (["model._target_=os.system"], ["model._target_: refused"]),
        (["--rounds", "0"], ["--rounds=0: should be a whole number >= 1"]),
        (["--fast"], ["unrecognized arguments: --fast; see `cnnbench bench --help`"]),
        (["model=plain", "model.padding=0", "model.kernel_size=11"], ["model: "]),
    ],
)
def test_mistakes_are_told_at_once(cnnbench, arguments, starts):
    exit_code, out, err = cnnbench("bench", *arguments)
    lines = [line.removeprefix("error: ") for line in err.splitlines()]
    assert (exit_code, out, len(lines)) == (2, "", len(starts))
    assert all(any(line.startswith(start) for line in lines) for start in starts), lines


def test_a_set_whose_shape_is_in_missing_files_is_an_error_and_not_downloaded(cnnbench, tmp_path):
    exit_code, _, err = cnnbench("bench", "data=mnist", f"data.root='{tmp_path}'")
    assert exit_code == 65
    assert "not there; `cnnbench data mnist` downloads it" in err
    assert list(tmp_path.iterdir()) == []


def test_training_is_the_loops_own_and_a_forward_pass_changes_nothing():
    config = compose([*TINY, "augmentation=flip", "regularization=[ema,mixup]", "optimizer=sgd"])
    model = TimedConfig(config, find_data(config.data), configured_device(config), 16)
    model.try_out()
    model.steps, before = 3, model.training.step
    weights = [parameter.clone() for parameter in model.training.model.parameters()]
    model.train()
    trained = [parameter.clone() for parameter in model.training.model.parameters()]
    assert model.training.step == before + 3
    assert model.training.sums.images == (before + 3) * 16
    assert not any(map(torch.equal, weights, trained))
    model.training.model.eval()
    model.forward("64")
    assert all(map(torch.equal, trained, model.training.model.parameters()))
