import contextlib
import copy
import io
import json
import re
import subprocess
import sys
import venv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from printed import ROOT
from tiny import TINY, summary, write_image

from cnnbench import cli, load
from cnnbench.progress import Wait
from cnnbench.techniques.compression import COMPRESSIONS
from cnnbench.trained.export import check, to_file
from cnnbench.trained.export.network import Deployed

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
safetensors = pytest.importorskip("safetensors")

GUIDE = ROOT / "docs" / "deploy.md"
CPU = ["device=cpu", "device.threads=1", "device.precision=fp32"]
NEEDED = ("onnxruntime", "numpy", "numpy.libs", "PIL", "pillow.libs", "flatbuffers", "google", "packaging")


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """A run on the digits that has learnt something."""
    run = tmp_path_factory.mktemp("digits") / "run"
    with contextlib.redirect_stdout(io.StringIO()):
        assert cli.run(["train", *CPU, "epochs=6", f"hydra.run.dir={run}"]) == 0
    return run


@pytest.fixture
def export(cnnbench):
    """Exports a run as the document says it was; its file lies in the current folder."""

    def run(path, form, *arguments):
        exit_code, out, err = cnnbench("export", path, "--format", form, "--json", *arguments)
        assert (exit_code, err) == (0, "")
        return json.loads(out)

    return run


def answers(file, images):
    """Logits and probabilities of uint8 (N, C, H, W) by onnxruntime."""
    session = onnxruntime.InferenceSession(file)
    return session.run(["logits", "probabilities"], {"images": images.numpy()})


def noise(run, count):
    return torch.randint(0, 256, (count, *load(run).image_shape), dtype=torch.uint8)


def test_onnx_gives_the_runs_answers_for_any_number_of_images(digits, export):
    document = export(digits, "onnx", "-o", "model.onnx")
    images = noise(digits, 5)
    logits, probabilities = answers("model.onnx", images)
    expected = load(digits).logits(images)
    np.testing.assert_allclose(logits, expected, atol=1e-5 * float(expected.abs().max()))
    np.testing.assert_allclose(probabilities, expected.softmax(1), atol=1e-5)
    for number in range(5):
        np.testing.assert_allclose(answers("model.onnx", images[number : number + 1])[0][0], logits[number], atol=1e-5)
    assert (logits.dtype, probabilities.dtype) == (np.float32, np.float32)
    assert document["bytes"] == Path("model.onnx").stat().st_size
    assert (document["images"], document["split"]) == (144, "val")
    assert (document["agreement"], document["changed"]) == (1, 0)
    assert 0 < document["largest_difference"] < 1e-4 < document["largest_logit"]


def test_onnx_says_what_it_takes_and_where_it_comes_from_but_not_of_which_machine(digits, export):
    export(digits, "onnx")
    content = Path("run.onnx").read_bytes()
    session = onnxruntime.InferenceSession(content)
    facts = session.get_modelmeta().custom_metadata_map
    trained = load(digits)
    assert json.loads(facts["class_names"]) == list(trained.class_names) == [str(number) for number in range(10)]
    assert json.loads(facts["image_shape"]) == [1, 8, 8]
    assert facts["run_id"] == summary(digits)["run_id"]
    assert re.fullmatch("[0-9a-f]{64}", facts["weights_sha256"])
    assert set(facts) == {"class_names", "image_shape", "run_id", "weights_sha256", "cnnbench_version"}
    (taken,), given = session.get_inputs(), session.get_outputs()
    assert (taken.name, taken.type, taken.shape) == ("images", "tensor(uint8)", ["batch", 1, 8, 8])
    assert [(each.name, each.shape) for each in given] == [("logits", ["batch", 10]), ("probabilities", ["batch", 10])]
    assert str(ROOT).encode() not in content
    assert sys.prefix.encode() not in content


def test_batch_norms_are_folded_and_the_hash_of_a_run_that_takes_its_last_epoch_is_the_summarys(train, export):
    run = train("last", "select=last", "model=deep", "model.widths=[4,4]")
    facts = export(run, "onnx")
    assert facts["weights_sha256"] == summary(run)["weights_sha256"]
    kinds = [node.op_type for node in onnx.load("last.onnx").graph.node]
    assert "BatchNormalization" not in kinds
    assert kinds.count("Conv") == len([m for m in load(run).model.modules() if isinstance(m, torch.nn.Conv2d)])


def tampered(trained):
    """The run's network with one weight of the last layer changed."""
    network = to_file.as_trained(trained)
    with torch.no_grad():
        list(network.parameters())[-1][0] += 0.5
    return network


@pytest.mark.parametrize("form", ["onnx", "torch_export"])
def test_a_file_that_gives_other_answers_is_not_written(digits, cnnbench, monkeypatch, form):
    monkeypatch.setattr(to_file, "as_exported", tampered)
    exit_code, out, err = cnnbench("export", digits, "--format", form, "-o", "model")
    assert (exit_code, out, err.count("\n")) == (65, "", 1)
    assert re.search(r"of 144 images get another class, and logits, .* differ by up to 0\.5\b", err)
    assert list(Path().iterdir()) == []
    Path("model").write_text("what was there before")
    assert cnnbench("export", digits, "--format", form, "-o", "model")[0] == 65
    assert Path("model").read_text() == "what was there before"


def test_weights_that_are_others_are_not_written(digits, cnnbench, monkeypatch):
    def flipped(*arguments):
        content = made(*arguments)
        return content[:-1] + bytes([content[-1] ^ 1])

    made = to_file.to_safetensors
    monkeypatch.setattr(to_file, "to_safetensors", flipped)
    exit_code, _, err = cnnbench("export", digits, "--format", "safetensors")
    assert (exit_code, err.count("\n")) == (65, 1)
    assert "1 tensors are not the run's" in err
    assert list(Path().iterdir()) == []


def test_answers_may_differ_where_the_runs_own_two_best_are_nearer_than_the_rounding():
    ours, theirs = torch.tensor([[1.0, 1.0005, 0], [9, 1, 0]]), torch.tensor([[1.0, 0.9996, 0], [9, 1, 0]])
    found = compared(ours, theirs)
    assert (found.agreement, found.changed) == (0.5, 0)
    assert found.largest_difference == pytest.approx(9e-4, abs=1e-6)
    check.refuse_other_answers(found)
    far = compared(torch.tensor([[1.0, 2, 0], [9, 1, 0]]), torch.tensor([[1.5, 1.4, 0], [9, 1, 0]]))
    assert (far.agreement, far.changed) == (0.5, 1)
    for other in (far, compared(ours, theirs * torch.nan), compared(ours, ours + 1)):
        with pytest.raises(check.DataError, match="nothing was written"):
            check.refuse_other_answers(other)


def compared(ours, theirs):
    rows = [torch.arange(2)]
    return check.compare(lambda rows: (ours[rows], rows), lambda rows: (theirs[rows], rows), rows, Wait(None, None))


def test_int8_is_smaller_and_keeps_the_answers_and_the_precision_of_the_logits(digits, export):
    whole, small = export(digits, "onnx"), export(digits, "onnx", "--int8", "-o", "int8.onnx")
    assert small["bytes"] < 0.4 * whole["bytes"]
    assert 0.97 <= small["agreement"] <= 1
    assert whole["largest_difference"] < small["largest_difference"] < 0.1 * small["largest_logit"]
    graph = onnx.load("int8.onnx").graph
    assert {tensor.name for tensor in graph.initializer} <= {name for node in graph.node for name in node.input}
    nodes = {node.output[0]: node for node in graph.node}
    assert nodes["logits"].op_type == "Gemm"
    assert {nodes[name].op_type for name in nodes["logits"].input if name in nodes} == {"DequantizeLinear"}
    logits, probabilities = answers("int8.onnx", noise(digits, 300))
    assert len(np.unique(logits)) > 2500  # rounded to 8 bits they would have 256 values
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-5)


def test_int8_that_loses_answers_is_not_written(digits, cnnbench, monkeypatch):
    monkeypatch.setattr(to_file, "calibrating_images", lambda *_: torch.zeros(4, 1, 8, 8, dtype=torch.uint8))
    exit_code, _, err = cnnbench("export", digits, "--format", "onnx", "--int8")
    assert (exit_code, err.count("\n")) == (65, 1)
    assert re.search(r"int8: \d+\.\d\d% of 144 images get another class.*3% are allowed", err)
    assert list(Path().iterdir()) == []


def test_a_graph_of_torch_is_opened_without_cnnbench_and_gives_the_runs_answers(digits, export):
    document = export(digits, "torch_export")
    extra = {"facts.json": ""}
    graph = torch.export.load("run.pt2", extra_files=extra).module()
    assert json.loads(json.loads(extra["facts.json"])["class_names"]) == list(load(digits).class_names)
    images = noise(digits, 5)
    logits, probabilities = graph(images)
    torch.testing.assert_close(logits, load(digits).logits(images), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(probabilities, logits.softmax(1))
    torch.testing.assert_close(graph(images[:1])[0], logits[:1], atol=1e-5, rtol=1e-5)
    assert document["largest_difference"] < 1e-4
    code = "import sys, torch; torch.export.load('run.pt2'); print('cnnbench' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"


def test_safetensors_hold_the_runs_weights_and_what_they_need(digits, export):
    document = export(digits, "safetensors")
    trained = load(digits)
    weights = trained.model.state_dict()
    with safetensors.safe_open("run.safetensors", "pt") as file:
        facts = file.metadata()
        assert set(file.keys()) == set(weights)
        assert all(torch.equal(file.get_tensor(name), tensor) for name, tensor in weights.items())
    assert document["tensors"] == len(weights)
    assert json.loads(facts["model"]) == trained.config.model
    images = noise(digits, 3)
    mean, std = (torch.tensor(json.loads(facts[key])).view(1, -1, 1, 1) for key in ("mean", "std"))
    torch.testing.assert_close((images / 255 - mean) / std, trained.normalize(images), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("form", ["onnx", "safetensors"])
def test_a_network_in_bf16_is_compared_in_float32_and_its_weights_stay_what_they_are(digits, export, monkeypatch, form):
    trained = load(digits)
    lowered = replace(trained, model=trained.model.to(torch.bfloat16))
    monkeypatch.setattr(to_file, "load_trained", lambda run: lowered)
    export(digits, form, "-o", "low")
    if form == "onnx":
        images = noise(digits, 4)
        floats = Deployed(lowered.model.float(), trained.normalize.mean, trained.normalize.std)
        np.testing.assert_allclose(answers("low", images)[0], floats(images)[0].detach(), atol=1e-4)
    else:
        with safetensors.safe_open("low", "pt") as file:
            assert {file.get_tensor(name).dtype for name in file.keys()} == {torch.bfloat16}  # noqa: SIM118


@pytest.mark.parametrize(
    "model",
    [
        ["model=torchvision", "model.architecture=resnet18", "data.image_shape=[3,16,16]"],
        ["model=airbench", "model.widths=[8,8]", "data.image_shape=[3,16,16]"],
        ["model=inception", "model.width_multiplier=0.1", "data.image_shape=[1,16,16]"],
        ["model=separable", "data.image_shape=[1,16,16]"],
    ],
    ids=lambda model: model[0],
)
def test_networks_of_every_kind_agree_in_both_graphs(cnnbench, export, model):
    settings = [text for text in TINY if not text.startswith(("model.", "data.image_shape"))]
    assert cnnbench("train", *settings, "epochs=1", "data.train_images=60", *model, "hydra.run.dir=run")[0] == 0
    for form in ("onnx", "torch_export"):
        document = export("run", form)
        assert document["changed"] == 0
        assert document["largest_difference"] <= 1e-3 * document["largest_logit"]


def test_a_run_without_validation_is_compared_on_training_images_and_left_as_it_was(train, export, cnnbench):
    run = train("run", "data.val_fraction=0", "epochs=1")
    before = sorted((path, path.stat().st_mtime_ns) for path in run.rglob("*"))
    document = export(run, "onnx", "-o", "model.onnx")
    assert (document["images"], document["split"]) == (120, "train")
    assert sorted((path, path.stat().st_mtime_ns) for path in run.rglob("*")) == before


def test_images_that_are_gone_or_others_are_named(train, cnnbench, tmp_path):
    for number in range(12):
        write_image(tmp_path / "photos" / f"class{number % 2}" / f"{number}.png", seed=number)
    folder = ["data=image_folder", f"data.root={tmp_path / 'photos'}", "data.image_size=[8,8]", "epochs=1"]
    assert cnnbench("train", *CPU, *folder, "batch_size=4", "hydra.run.dir=run")[0] == 0
    assert cnnbench("export", "run", "--format", "onnx")[0] == 0
    assert json.loads(onnxruntime.InferenceSession("run.onnx").get_modelmeta().custom_metadata_map["grey_range"])
    write_image(tmp_path / "photos" / "class0" / "0.png", seed=100)
    exit_code, _, err = cnnbench("export", "run", "--format", "onnx")
    assert (exit_code, err.count("\n")) == (65, 1)
    assert "its images are not those of" in err
    (tmp_path / "photos").rename(tmp_path / "elsewhere")
    exit_code, _, err = cnnbench("export", "run", "--format", "onnx")
    assert (exit_code, err.count("\n")) == (65, 1)
    assert "photos" in err


def test_people_see_a_table_the_file_last_and_a_note_on_views(train, cnnbench):
    run = train("run", "epochs=1", "test_time_augmentation=flip")
    exit_code, out, err = cnnbench("export", run, "--format", "onnx", "-o", "model.onnx")
    assert (exit_code, out.splitlines()[-1]) == (0, "export: model.onnx")
    assert re.search(r"^compared on +12 val images$", out, re.MULTILINE)
    assert re.search(r"^same class +100.00 %$", out, re.MULTILINE)
    assert err.startswith("note: test_time_augmentation=flip: ")


def test_what_cannot_be_written_or_asked_for_is_one_line_with_its_code(digits, cnnbench, monkeypatch, tmp_path):
    def ends(code, said, *arguments):
        exit_code, out, err = cnnbench("export", *arguments)
        assert (exit_code, out, err.count("\n")) == (code, "", 1)
        assert said in err

    ends(74, "is a folder", digits, "--format", "onnx", "-o", tmp_path)
    ends(74, "/proc/model.onnx", digits, "--format", "onnx", "-o", "/proc/model.onnx")
    ends(2, "--format", digits)
    ends(2, "tflite", digits, "--format", "tflite")
    ends(2, "there is no int8 of --format safetensors", digits, "--format", "safetensors", "--int8")
    ends(65, "not a run folder", tmp_path, "--format", "onnx")
    for package in ("onnxscript", "onnxruntime", "safetensors"):
        with monkeypatch.context() as without:
            without.setitem(sys.modules, package, None)
            form = "safetensors" if package == "safetensors" else "onnx"
            ends(69, f"export --format {form}: {package} is not installed", digits, "--format", form)


def test_a_run_in_int8_becomes_onnx_in_int8_and_is_not_quantized_twice(digits, export, cnnbench, monkeypatch):
    whole = export(digits, "onnx", "-o", "whole.onnx")
    trained = load(digits)
    pytest.importorskip("torchao")
    examples = [(trained.normalize(noise(digits, 64)), torch.zeros(64))]
    quantized = COMPRESSIONS["int8"](calibration_images=64).finish(copy.deepcopy(trained.model), examples)
    lowered = replace(trained, model=quantized)
    noted = summary(digits) | {"parent": {"run_id": "x", "path": "outputs/parent", "weights_sha256": "x"}}
    monkeypatch.setattr(to_file, "load_trained", lambda run: lowered)
    monkeypatch.setattr(to_file, "read_summary", lambda run: noted)
    document = export(digits, "onnx", "-o", "int8.onnx")
    assert document["bytes"] < 0.4 * whole["bytes"]
    assert document["agreement"] >= 0.97
    assert document["int8"]
    assert {"QuantizeLinear", "DequantizeLinear"} < {node.op_type for node in onnx.load("int8.onnx").graph.node}
    exit_code, _, err = cnnbench("export", digits, "--format", "onnx", "--int8")
    assert (exit_code, err.count("\n")) == (2, 1)
    assert "export its parent, outputs/parent" in err


def test_the_lines_of_the_guide_answer_as_predict_where_there_is_no_torch(digits, export, cnnbench, tmp_path):
    (lines,) = re.findall(r"^```python\n(.*?)^```$", GUIDE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    assert len([line for line in lines.splitlines() if line]) == 12
    export(digits, "onnx", "-o", "model.onnx")
    write_image(tmp_path / "photo.png", (11, 13, 3))
    venv.create(tmp_path / "env")
    (packages,) = (tmp_path / "env" / "lib").glob("python*/site-packages")
    installed = Path(onnxruntime.__file__).parents[1]
    for name in NEEDED:
        if (installed / name).exists():
            (packages / name).symlink_to(installed / name)
    lines += "import sys\nassert not {'torch', 'cnnbench'} & set(sys.modules)\n"
    done = subprocess.run([tmp_path / "env" / "bin" / "python", "-I", "-c", lines], capture_output=True, text=True)
    assert done.stderr == ""
    name, probability = done.stdout.rsplit(maxsplit=1)
    (expected,) = json.loads(cnnbench("predict", digits, "photo.png", "--json")[1])
    assert name == expected["class"]
    assert float(probability) == pytest.approx(expected["probabilities"][name], abs=1e-5)
    absent = subprocess.run([tmp_path / "env" / "bin" / "python", "-I", "-c", "import torch"], capture_output=True)
    assert absent.returncode == 1
