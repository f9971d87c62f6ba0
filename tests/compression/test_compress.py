import hashlib
import json
from functools import partial

import pytest
import torch
from safetensors.torch import load_file
from tiny import metrics, set_summary, summary, write_image
from torch import nn

from cnnbench import CnnbenchError, compress, train
from cnnbench.compression import run as compression_run
from cnnbench.recorder import Recorder
from cnnbench.trained.load import load_trained

FILTERS = ("compression=filters", "compression.round_to=1")
ALL = {
    "filters": (*FILTERS, "compression.epochs=1"),
    "masks": ("compression=masks", "compression.epochs=1"),
    "bf16": ("compression=bf16",),
    "int8": ("compression=int8", "compression.calibration_images=32"),
    "int8_qat": ("compression=int8_qat", "compression.calibration_images=32"),
}


def images_of(run, count=64):
    generator = torch.Generator().manual_seed(0)
    return torch.randint(256, (count, *summary(run)["image_shape"]), dtype=torch.uint8, generator=generator)


SLOW_QAT = pytest.param("int8_qat", marks=pytest.mark.slow)  # torchao searches the graph for half a minute


@pytest.mark.parametrize("technique", ["filters", "masks", "bf16", "int8", SLOW_QAT])
def test_a_compressed_run_is_a_run_that_every_verb_takes(technique, parent, compress, cnnbench, tmp_path):
    path = compress(parent, technique, *ALL[technique])
    found, before = summary(path), summary(parent)
    assert (found["status"], found["exit_code"], found["test_reads"]) == ("finished", 0, 1)
    assert found["parent"] == {
        "run_id": before["run_id"], "path": str(parent), "weights_sha256": before["weights_sha256"]
    }  # fmt: skip
    assert found["data_fingerprints"] == before["data_fingerprints"]
    assert cnnbench("verify", path)[0] == 0
    evaluation = json.loads(cnnbench("evaluate", path, "--json")[1])
    assert evaluation["accuracy"] == pytest.approx(found["test_accuracy"])
    assert evaluation["loss"] == pytest.approx(found["test_loss"], rel=1e-4)
    write_image(tmp_path / "a.png", (12, 12))
    (prediction,) = json.loads(cnnbench("predict", path, tmp_path / "a.png", "--json")[1])
    assert sum(prediction["probabilities"].values()) == pytest.approx(1, abs=1e-3)
    document = json.loads(cnnbench("compare", parent, path, "--json")[1])
    assert [group["label"] for group in document["groups"]] == ["compression=[]", f"compression=[{technique}]"]
    (row,) = document["compressed"]
    assert row["speedup"][0] == pytest.approx(found["speedup"])
    assert cnnbench("report", tmp_path, "-o", tmp_path / "report.html")[0] == 0
    assert "What compression gains" in (tmp_path / "report.html").read_text()


def test_filters_are_gone_and_counted_as_torch_pruning_counts(parent, compress):
    tp = pytest.importorskip("torch_pruning")
    path = compress(parent, "child", *FILTERS, "compression.amount=0.5", "compression.epochs=0")
    model = load_trained(path).model
    macs, parameters = tp.utils.count_ops_and_params(model, torch.zeros(1, 1, 12, 12))
    found = summary(path)
    assert [m.out_channels for m in model.modules() if isinstance(m, nn.Conv2d)] == [4, 8]
    assert found["parameters"] == parameters == sum(p.numel() for p in model.parameters())
    convs_and_linear = found["macs"]
    others = macs - convs_and_linear  # torch-pruning counts norms and poolings too
    assert 0 <= others < 0.2 * macs
    assert found["parameters"] < summary(parent)["parameters"] / 2
    assert found["disk_bytes"] == (path / "model.safetensors").stat().st_size


def test_nothing_removed_and_nothing_trained_is_the_same_network(parent, compress):
    path = compress(parent, "child", *FILTERS, "compression.amount=0", "compression.epochs=0")
    assert summary(path)["weights_sha256"] == summary(parent)["weights_sha256"]
    assert summary(path)["test_accuracy"] == summary(parent)["test_accuracy"]
    assert (summary(path)["epochs"], summary(path)["steps"], summary(path)["train_seconds"]) == (0, 0, 0.0)


@pytest.mark.parametrize("scope", ["layer", "global"])
def test_of_each_layer_one_filter_stays(scope, parent, compress):
    path = compress(parent, "child", *FILTERS, f"compression.scope={scope}", "compression.amount=0.99",
                    "compression.epochs=0")  # fmt: skip
    model = load_trained(path).model
    counts = [m.out_channels for m in model.modules() if isinstance(m, nn.Conv2d)]
    assert min(counts) == 1
    assert summary(path)["test_accuracy"] is not None


def test_filters_are_rounded_up_to_a_multiple(parent, compress):
    path = compress(parent, "child", "compression=filters", "compression.round_to=4", "compression.amount=0.7",
                    "compression.epochs=0")  # fmt: skip
    model = load_trained(path).model
    assert [m.out_channels for m in model.modules() if isinstance(m, nn.Conv2d)] == [4, 8]  # of 2.4 and 4.8


@pytest.mark.parametrize("score", ["l1", "l2", "taylor", "bn_scale", "random"])
def test_every_score_removes_as_many(score, parent, compress):
    path = compress(parent, score, *FILTERS, f"compression.score={score}", "compression.steps=2",
                    "compression.epochs=0")  # fmt: skip
    model = load_trained(path).model
    assert [m.out_channels for m in model.modules() if isinstance(m, nn.Conv2d)] == [4, 8]
    assert ("head.hidden1 has no norm" in (path / "train.log").read_text()) is (score == "bn_scale")


def test_masked_weights_are_zero_and_stay_so(parent, compress):
    path = compress(parent, "child", "compression=masks", "compression.amount=0.9", "compression.epochs=2")
    model = load_trained(path).model
    weights = [m.weight for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    zeros = sum(int((weight == 0).sum()) for weight in weights)
    assert zeros == round(0.9 * sum(weight.numel() for weight in weights))
    assert summary(path)["parameters"] == summary(parent)["parameters"]
    assert summary(path)["nonzero_parameters"] < summary(parent)["nonzero_parameters"]
    assert "no speed-up expected" in (path / "train.log").read_text()


def test_bf16_halves_the_weights_and_keeps_the_answers(parent, compress):
    path = compress(parent, "child", "compression=bf16")
    tensors = load_file(path / "model.safetensors")
    assert {t.dtype for name, t in tensors.items() if name.endswith("weight")} == {torch.bfloat16}
    assert not any("norm" in name for name in tensors)  # folded
    assert summary(path)["size_ratio"] > 1.6
    ours, theirs = (load_trained(run).logits(images_of(parent)) for run in (path, parent))
    assert (ours - theirs).norm() < 0.02 * theirs.norm()
    assert summary(path)["precision"] == "bf16"


@pytest.mark.parametrize("technique", ["int8", "int8_qat"])
def test_int8_stores_int8_and_answers_nearly_as_before(technique, parent, compress):
    path = compress(parent, "child", *ALL[technique])
    tensors = load_file(path / "model.safetensors")
    weights = [t for t in tensors.values() if t.dtype == torch.int8]
    assert sum(t.numel() for t in weights) == sum(
        m.weight.numel() for m in load_trained(parent).model.modules() if isinstance(m, nn.Conv2d | nn.Linear)
    )
    assert summary(path)["disk_bytes"] < summary(parent)["model_bytes"] / 1.5  # a tiny network has many names
    if technique == "int8":
        ours, theirs = (load_trained(run).logits(images_of(parent)) for run in (path, parent))
        assert (ours - theirs).norm() < 0.2 * theirs.norm()


def test_filters_then_int8(parent, compress, cnnbench):
    path = compress(parent, "filters", *FILTERS, "compression.epochs=1")
    both = compress(path, "both", *ALL["int8"])
    found = summary(both)
    assert found["parent"]["path"] == str(path)
    assert found["origin"]["path"] == str(parent)
    assert found["parameters"] == summary(path)["parameters"]
    assert found["speedup_over_eager"] > 0
    document = json.loads(cnnbench("compare", parent, both, "--json")[1])
    assert document["groups"][1]["label"] == "compression=[filters,int8]"


def test_filters_twice(parent, compress):
    once = compress(parent, "once", *FILTERS, "compression.epochs=0")
    twice = compress(once, "twice", *FILTERS, "compression.epochs=0")
    assert [m.out_channels for m in load_trained(twice).model.modules() if isinstance(m, nn.Conv2d)] == [2, 4]


@pytest.mark.parametrize("technique", ["int8", "bf16"])
def test_what_comes_last_cannot_be_compressed_again(technique, parent, compress, cnnbench):
    path = compress(parent, "child", *ALL[technique])
    exit_code, _, err = cnnbench("compress", path, "compression=int8")
    assert exit_code == 2
    assert err == f"error: {path}: is {technique} already, which comes last; compress {parent}\n"


def test_seeds_pair_and_amounts_do_not(train, compress, quick_clock):
    parents = [train(f"seed{seed}", f"seed={seed}") for seed in (0, 1)]
    half = [compress(run, f"{run.name}-half", *FILTERS, "compression.epochs=0") for run in parents]
    less = compress(parents[0], "less", *FILTERS, "compression.epochs=0", "compression.amount=0.3")
    hashes = [summary(run)["group_hash"] for run in (*half, less, *parents)]
    assert hashes[0] == hashes[1]
    assert len(set(hashes)) == 3


def test_several_runs_and_amounts_at_once_and_not_again(train, cnnbench, tmp_path, quick_clock):
    for seed in (0, 1):
        train(f"runs/seed{seed}", f"seed={seed}")
    command = ("compress", tmp_path / "runs", "-m", *FILTERS, "compression.amount=0.3,0.5", "compression.epochs=0",
               f"hydra.sweep.dir={tmp_path}/made")  # fmt: skip
    assert cnnbench(*command)[0] == 0
    made = sorted((tmp_path / "made").iterdir())
    assert len(made) == 4
    before = {path: (path / "summary.json").stat().st_mtime_ns for path in made}
    assert cnnbench(*command)[0] == 0
    assert {path: (path / "summary.json").stat().st_mtime_ns for path in made} == before
    assert cnnbench("compress", "--clock", tmp_path / "made")[0] == 0
    assert all((path / "summary.json").stat().st_mtime_ns != before[path] for path in made)
    assert cnnbench("verify", *made)[0] == 0


def test_one_of_several_that_fails_is_named_and_the_others_are_done(train, cnnbench, tmp_path, quick_clock):
    train("runs/good")
    wrong = train("runs/wrong", "optimizer.lr=1e30", exit_code=3)
    good, made = tmp_path / "runs" / "good", tmp_path / "made"
    exit_code, _, err = cnnbench("compress", good, wrong, *FILTERS, "compression.epochs=0", f"hydra.sweep.dir={made}")
    assert exit_code == 5
    assert "has diverged, there is no network to compress" in err
    assert [summary(path)["status"] for path in made.iterdir()] == ["finished"]


def test_a_parent_is_left_as_it_was(parent, compress):
    def hashes():
        return {p: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(parent.rglob("*")) if p.is_file()}

    before = hashes()
    compress(parent, "child", *ALL["filters"])
    assert hashes() == before


@pytest.mark.parametrize("technique", ["filters", "masks", SLOW_QAT])
def test_interrupted_fine_tuning_goes_on_bit_for_bit(technique, parent, compress, cnnbench, tmp_path, monkeypatch):
    overrides = (*ALL[technique], "compression.epochs=3")
    straight = compress(parent, "straight", *overrides)
    with monkeypatch.context() as patch:
        patch.setattr(compression_run, "Recorder", lambda *args, **named: Recorder(*args, **named | {"pause_after": 1}))
        broken = compress(parent, "broken", *overrides, exit_code=143)
    assert summary(broken)["status"] == "interrupted"
    assert cnnbench("resume", broken)[0] == 0
    assert summary(broken)["weights_sha256"] == summary(straight)["weights_sha256"]
    assert metrics(broken) == metrics(straight)
    assert cnnbench("verify", broken)[0] == 0


def test_one_that_was_stopped_before_it_had_saved_begins_again(parent, compress, cnnbench, monkeypatch):
    straight = compress(parent, "straight", *ALL["filters"])
    with monkeypatch.context() as patch:
        patch.setattr(compression_run, "cut", partial(pytest.fail, "stopped"))
        broken = compress(parent, "broken", *ALL["filters"], exit_code=1)
    assert cnnbench("evaluate", broken)[0] == 65
    assert cnnbench("resume", broken)[0] == 0
    assert summary(broken)["weights_sha256"] == summary(straight)["weights_sha256"]


def test_more_epochs_are_refused(parent, compress, cnnbench):
    path = compress(parent, "child", *ALL["filters"])
    exit_code, _, err = cnnbench("resume", path, "epochs=9")
    assert exit_code == 2
    assert "was compressed; compress its parent with compression.epochs" in err


@pytest.mark.parametrize("file", ["model.safetensors", "model.json"])
@pytest.mark.parametrize("technique", ["filters", "int8"])
def test_a_changed_byte_is_found(file, technique, parent, compress, cnnbench):
    path = compress(parent, "child", *ALL[technique])
    content = bytearray((path / file).read_bytes())
    content[len(content) // 2] ^= 1
    (path / file).write_bytes(content)
    exit_code, _, err = cnnbench("evaluate", path)
    assert exit_code == 65
    assert err == f"error: {path / file}: is damaged (its SHA-256 is not the one written)\n"
    assert cnnbench("verify", path)[0] == 65


def test_a_graph_that_would_call_something_else_is_refused(parent, compress, cnnbench):
    path = compress(parent, "child", *ALL["int8"])
    content = (path / "model.json").read_text().replace("aten.relu.default", "aten.from_file.default").encode()
    (path / "model.json").write_bytes(content)
    set_summary(path, files=summary(path)["files"] | {"model.json": hashlib.sha256(content).hexdigest()})
    exit_code, _, err = cnnbench("evaluate", path)
    assert exit_code == 65
    assert "it wants to call 'aten.from_file.default'" in err


def test_layers_larger_than_the_config_builds_are_refused(parent, compress, cnnbench):
    path = compress(parent, "child", *ALL["filters"])
    document = json.loads((path / "model.json").read_text())
    next(layer for layer in document["layers"].values() if "out_channels" in layer)["out_channels"] = 10**9
    content = json.dumps(document).encode()
    (path / "model.json").write_bytes(content)
    set_summary(path, files=summary(path)["files"] | {"model.json": hashlib.sha256(content).hexdigest()})
    exit_code, _, err = cnnbench("evaluate", path)
    assert exit_code == 65
    assert "cannot have the sizes" in err


@pytest.mark.parametrize(
    ("overrides", "finding"),
    [
        (["compression=filters", "compression.amount=1"], "compression.amount=1: should be a number >= 0 and < 1"),
        (["compression=filters", "compression.amount=-0.1"], "should be a number >= 0 and < 1"),
        (["compression=filter"], "did you mean 'filters'?"),
        (["compression=filters", "compression.ammount=0.3"], "did you mean compression.amount=0.3?"),
        (["compression=int8", "compression.calibration_images=0"], "should be a whole number >= 1"),
        (["compression=none"], "does nothing; choose from: filters"),
        ([], "does nothing; choose from: filters"),
        (["compression=filters", "epochs=3"], "a run is compressed as it was trained"),
        (["compression=filters", "hydra.job.chdir=true"], "compress takes hydra.run.dir=PATH"),
        (["compression=filters", "compression.epochs=1.5"], "should be a whole number >= 0"),
    ],
)
def test_mistakes_are_one_line_before_anything_is_done(overrides, finding, parent, cnnbench, tmp_path):
    exit_code, _, err = cnnbench("compress", parent, *overrides)
    assert exit_code == 2
    assert finding in err
    assert not (tmp_path / "outputs").exists()


def test_what_is_no_finished_run_is_refused(train, cnnbench, tmp_path, parent):
    assert cnnbench("compress", "compression=filters")[0] == 2
    (tmp_path / "empty").mkdir()
    assert cnnbench("compress", tmp_path / "empty", "compression=bf16")[0] == 65
    set_summary(parent, status="interrupted", exit_code=130)
    exit_code, _, err = cnnbench("compress", parent, "compression=bf16")
    assert exit_code == 65
    assert "is not finished; first `cnnbench resume" in err


def test_calibration_with_one_image(parent, compress):
    path = compress(parent, "child", "compression=int8", "compression.calibration_images=1")
    assert summary(path)["status"] == "finished"


class OneConvolution(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 3, 12)

    def forward(self, images):
        return self.conv(images).flatten(1)


def test_a_network_of_ones_own_that_is_one_convolution(tmp_path, quick_clock):
    overrides = ["device=cpu", "data=synthetic", "data.image_shape=[1,12,12]", "data.num_classes=3",
                 "data.train_images=60", "data.test_images=12", "epochs=1", "batch_size=16"]  # fmt: skip
    train(overrides, tmp_path / "run", model=OneConvolution(), quiet=True)
    with pytest.raises(CnnbenchError, match="nothing can be removed from this network: conv gives the logits"):
        compress(tmp_path / "run", ["compression=filters"], tmp_path / "a", model=OneConvolution(), quiet=True)
    with pytest.raises(CnnbenchError, match="give it there again as model="):
        compress(tmp_path / "run", ["compression=bf16"], tmp_path / "b", quiet=True)
    made = compress(tmp_path / "run", ["compression=int8"], tmp_path / "c", model=OneConvolution(), quiet=True)
    assert made["status"] == "finished"
    assert load_trained(tmp_path / "c").logits(torch.zeros(1, 1, 12, 12, dtype=torch.uint8)).shape == (1, 3)


def test_data_of_ones_own_are_given_again(tmp_path, quick_clock):
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (90, 1, 8, 8), dtype=torch.uint8, generator=generator)
    labels = (images.float().mean((1, 2, 3)) > 127).long().tolist()
    given = {
        part: list(zip(images[i::3], labels[i::3], strict=True)) for i, part in enumerate(("train", "val", "test"))
    }
    train(["device=cpu", "epochs=1", "batch_size=8"], tmp_path / "run", dataset=given, quiet=True)
    with pytest.raises(CnnbenchError, match="dataset="):
        compress(tmp_path / "run", ["compression=bf16"], tmp_path / "a", quiet=True)
    made = compress(tmp_path / "run", ["compression=bf16"], tmp_path / "b", dataset=given, quiet=True)
    assert (made["status"], made["test_reads"]) == ("finished", 1)
    other = {part: own[:-1] for part, own in given.items()}
    with pytest.raises(CnnbenchError, match="images have changed"):
        compress(tmp_path / "run", ["compression=bf16"], tmp_path / "c", dataset=other, quiet=True)


def test_without_a_compiler_int8_says_what_to_install(parent, cnnbench, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    exit_code, _, err = cnnbench("compress", parent, "compression=int8")
    assert exit_code == 69
    assert err.startswith("error: compression=int8: needs a C++ compiler, and finds no no-such-compiler; apt-get")


def test_without_the_package_the_command_that_installs_it_is_said(parent, cnnbench, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "torch_pruning", None)
    exit_code, _, err = cnnbench("compress", parent, "compression=filters")
    assert exit_code == 69
    assert err == "error: compression=filters: torch-pruning is not installed; pip install 'cnnbench[compress]'\n"
