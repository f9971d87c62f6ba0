import dataclasses
import hashlib
import json
import shutil
import statistics
import xml.etree.ElementTree as ElementTree

import pytest
import torch
from tiny import summary

from cnnbench import compose, compress, train
from cnnbench.assemble import make_model
from cnnbench.compression import sensitivity as measuring
from cnnbench.compression.parents import load_parent
from cnnbench.compression.sensitivity import parts_of, sensitivity_of, without_filters
from cnnbench.errors import DataError
from cnnbench.techniques.filter_groups import removable_filters
from cnnbench.trained.load import load_trained

SHAPE = (1, 8, 8)
DIGITS = [
    "device=cpu", "device.threads=1", "data=digits", "data.val_fraction=0.2", "batch_size=32", "epochs=4",
    "optimizer=adam", "optimizer.lr=0.005",
]  # fmt: skip
DEEP = ["model=deep", "model.widths=[8,16]", "model.hidden=16"]
LAYERS = ["stages.0.0.branch.0.conv", "stages.1.0.branch.0.conv", "head.hidden1", "head.logits"]
WAYS = ["0.25", "0.5", "0.75", "int8"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two runs that differ in their seed, one of another config, one without validation images."""
    folder = tmp_path_factory.mktemp("digits")
    for seed in (0, 1):
        train([*DIGITS, *DEEP, f"seed={seed}"], folder / "seeds" / f"{seed}", quiet=True)
    train([*DIGITS, *DEEP, "epochs=1"], folder / "shorter", quiet=True)
    train([*DIGITS, *DEEP, "epochs=1", "data.val_fraction=0"], folder / "unjudged", quiet=True)
    return folder


@pytest.fixture(scope="module")
def found(runs):
    return sensitivity_of(load_parent(runs / "seeds" / "0"), "x")


@pytest.fixture(scope="module")
def second(runs):
    return sensitivity_of(load_parent(runs / "seeds" / "1"), "x")


def hashes(folder):
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()}


def one_line(result):
    code, _, errors = result
    assert (code, errors.count("\n")) == (2, 1), errors
    return errors


def with_network(parent, change):
    """The parent with a network that `change` has changed."""
    trained = load_trained(parent.path)
    change(trained.model)
    return dataclasses.replace(parent, trained=trained)


def test_the_network_as_it_is_has_the_accuracy_that_the_run_found(found, runs):
    assert found.accuracy == pytest.approx(summary(runs / "seeds" / "0")["best_val_accuracy"])
    assert found.accuracy > 0.8
    assert found.images == found.val_images == 288


def test_removing_no_filter_changes_no_answer(runs):
    model = load_trained(runs / "seeds" / "0").model
    images = torch.randn(16, *SHAPE)
    assert torch.equal(without_filters(model, LAYERS, SHAPE, 0.0)(images), model(images))


@pytest.mark.parametrize(("amount", "left"), [(0.25, 6), (0.5, 4), (0.75, 2), (0.99, 1)])
def test_a_layer_alone_loses_its_share_of_filters_those_of_the_lowest_norm(amount, left, runs):
    model = load_trained(runs / "seeds" / "0").model
    smaller = without_filters(model, [LAYERS[0]], SHAPE, amount)
    sizes = [smaller.get_submodule(name).weight.shape[0] for name in LAYERS]
    assert sizes == [left, 16, 16, 10]
    conv, norm, reader = (model.get_submodule(name) for name in (LAYERS[0], "stages.0.0.branch.0.norm", LAYERS[1]))
    weights = [conv.weight, norm.weight.view(-1, 1), reader.weight.transpose(0, 1)]
    norms = sum(weight.detach().flatten(1).square().sum(1) for weight in weights)
    best = norms.argsort(descending=True)[:left].sort().values
    assert torch.equal(smaller.get_submodule(LAYERS[0]).weight, conv.weight[best])


def test_each_part_is_measured_as_the_network_without_those_filters(found, runs):
    trained = load_trained(runs / "seeds" / "0")
    from cnnbench.data.find import find_data, read_splits

    splits = read_splits(find_data(trained.config.data), trained.config.data, 0)
    ((images, labels),) = splits.val.batches(torch.arange(len(splits.val)), len(splits.val))
    for place, name in enumerate(LAYERS[:3]):
        smaller = without_filters(trained.model, [name], SHAPE, 0.5)
        with torch.no_grad():
            accuracy = (smaller(trained.normalize(images)).argmax(1) == labels).double().mean()
        assert found.accuracies["0.5"][place] == pytest.approx(float(accuracy), abs=1.5 / len(labels))
    assert found.together["0.75"] < found.accuracy - 0.1


def test_a_layer_with_one_filter_that_is_not_zero_can_bear_everything(runs):
    def leave_one_filter(model):
        unit = model.get_submodule("stages.1.0.branch.0")
        with torch.no_grad():
            for parameter in (unit.conv.weight, unit.norm.weight, unit.norm.bias):
                parameter[1:] = 0.0

    parent = with_network(load_parent(runs / "seeds" / "0"), leave_one_filter)
    changed = sensitivity_of(parent, "x")
    assert [changed.accuracies[way][1] for way in WAYS[:3]] == [changed.accuracy] * 3
    assert changed.accuracies["0.75"][0] != changed.accuracy


def test_int8_of_one_layer_costs_little_and_of_every_layer_too(found):
    for accuracy in (*found.accuracies["int8"], found.together["int8"]):
        assert abs(accuracy - found.accuracy) < 0.03


def test_parts_stand_in_the_order_of_the_network_and_share_it(found):
    assert [part.name for part in found.parts] == LAYERS
    assert [part.filters for part in found.parts] == [8, 16, 16, None]
    assert [part.uncut for part in found.parts] == [None, None, None, "gives the logits"]
    assert [found.accuracies[way][3] for way in WAYS[:3]] == [None] * 3
    assert sum(part.macs for part in found.parts) == pytest.approx(1)
    weights = 8 * 9 + 8 * 16 * 9 + 64 * 16 + 16 + 16 * 10 + 10
    assert found.parts[2].parameters == pytest.approx((64 * 16 + 16) / (weights + 2 * 8 + 2 * 16))


@pytest.mark.parametrize("name", ["resnet", "deep_residual", "inception", "airbench", "separable"])
def test_every_layer_is_in_one_part_in_the_order_in_which_an_image_meets_them(name):
    model = make_model(compose([f"model={name}"]), (3, 32, 32), 10).eval()
    parts = parts_of(model, (3, 32, 32))
    met = []
    for layer_name, layer in model.named_modules():
        if isinstance(layer, torch.nn.Conv2d | torch.nn.Linear):
            layer.register_forward_hook(lambda *_, name=layer_name: met.append(name))
    model(torch.zeros(1, 3, 32, 32))
    assert sorted(layer for part in parts for layer in part.layers) == sorted(met)
    assert [part.layers[0] for part in parts] == sorted((part.layers[0] for part in parts), key=met.index)
    assert all(list(part.layers) == sorted(part.layers, key=met.index) for part in parts)
    groups, _ = removable_filters(model, torch.zeros(1, 3, 32, 32))
    assert {frozenset(group.members) for group in groups} == {
        frozenset(part.layers) for part in parts if part.filters is not None
    }
    assert parts[-1].uncut == "gives the logits"


def test_layers_that_are_added_up_go_together():
    parts = parts_of(make_model(compose(["model=resnet"]), (1, 8, 8), 10).eval(), (1, 8, 8))
    assert parts[0].name == "stages.stem.conv +3"
    assert parts[0].layers[1:] == tuple(f"stages.stage1.{block}.branch.1.conv" for block in range(3))


def test_the_test_images_stay_unread_and_the_run_as_it_was(runs, monkeypatch, cnnbench):
    def read_unread(*arguments):
        def read_test():
            raise AssertionError("the test images were read")

        return dataclasses.replace(read_splits(*arguments), read_test=read_test)

    read_splits = measuring.read_splits
    monkeypatch.setattr(measuring, "read_splits", read_unread)
    run = runs / "seeds" / "0"
    before, reads = hashes(run), summary(run)["test_reads"]
    assert cnnbench("compress", run, "--sensitivity", "--json")[0] == 0
    assert summary(run)["test_reads"] == reads == 1
    assert hashes(run) == before


def test_the_document_says_everything(found, runs, cnnbench, tmp_path):
    code, out, errors = cnnbench("compress", runs / "seeds" / "0", "--sensitivity", "--json")
    assert (code, errors) == (0, "")
    document = json.loads(out)
    assert list(document) == [
        "runs", "split", "images", "val_images", "accuracy", "score", "amounts", "calibration_images", "rows", "all",
        "figure",
    ]  # fmt: skip
    assert document["runs"] == [{"path": str(runs / "seeds" / "0"), "seed": 0, "accuracy": found.accuracy}]
    assert document["split"] == "val"
    assert document["accuracy"] == {"mean": found.accuracy, "sd": None, "values": [found.accuracy]}
    assert [row["name"] for row in document["rows"]] == LAYERS
    for place, row in enumerate(document["rows"]):
        assert list(row) == ["name", "layers", "filters", "uncut", "parameters", "macs", "differences"]
        assert list(row["differences"]) == WAYS
        for way, difference in row["differences"].items():
            accuracy = found.accuracies[way][place]
            if accuracy is None:
                assert difference is None
            else:
                change = accuracy - found.accuracy
                assert difference == {"mean": change, "sd": None, "values": [change]}
    assert document["all"]["macs"] == pytest.approx(1)
    assert document["all"]["differences"]["0.5"]["mean"] == pytest.approx(found.together["0.5"] - found.accuracy)
    assert (tmp_path / document["figure"]).is_file()


def test_the_table_has_a_row_for_each_layer_and_says_what_is_not_cut(found, runs, cnnbench):
    code, out, _ = cnnbench("compress", runs / "seeds" / "0", "--sensitivity")
    lines = out.splitlines()
    assert code == 0
    assert f"validation accuracy {100 * found.accuracy:.2f} %, 288 images" in lines[1]
    rows = {line.split()[0]: line.split()[1:] for line in lines if line.split() and line.split()[0] in LAYERS}
    assert list(rows) == LAYERS
    half = 100 * (found.accuracies["0.5"][0] - found.accuracy)
    assert rows[LAYERS[0]][5] == f"{half:+.2f}"
    assert len(rows["head.logits"]) == 5  # two shares with their signs, and int8
    assert "not cut: head.logits gives the logits" in lines
    assert lines[-1] == "figure: 0-sensitivity.svg"


def test_the_figure_is_an_svg_with_every_layer_and_number(found, runs, cnnbench, tmp_path):
    assert cnnbench("compress", runs / "seeds" / "0", "--sensitivity", "-o", "here.svg")[0] == 0
    root = ElementTree.fromstring((tmp_path / "here.svg").read_text())
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {*LAYERS, "all of them", "0", "int8"} <= set(texts)
    assert f"validation accuracy {100 * found.accuracy:.2f} %, 288 images" in texts
    shown = f"{100 * (found.accuracies['0.75'][1] - found.accuracy):+.2f}".replace("-", "−")
    assert shown in texts
    titles = [element.text for element in root.iter("{http://www.w3.org/2000/svg}title")]
    assert f"{LAYERS[1]}, filters −75 %: {shown}" in titles
    assert not (tmp_path / "0-sensitivity.svg").exists()


def test_runs_of_several_seeds_give_means_and_deviations(found, second, runs, cnnbench, tmp_path):
    document = json.loads(cnnbench("compress", runs / "seeds", "--sensitivity", "--json")[1])
    assert [run["seed"] for run in document["runs"]] == [0, 1]
    values = [each.accuracies["0.5"][1] - each.accuracy for each in (found, second)]
    half = document["rows"][1]["differences"]["0.5"]
    assert half["values"] == pytest.approx(values)
    assert half["mean"] == pytest.approx(statistics.fmean(values))
    assert half["sd"] == pytest.approx(statistics.stdev(values))
    assert document["figure"] == "seeds-sensitivity.svg"
    _, out, _ = cnnbench("compress", runs / "seeds" / "0", runs / "seeds" / "1", "--sensitivity")
    assert "288 images, mean of seeds 0, 1: " in out
    assert f"{100 * half['mean']:+.2f} ± {100 * half['sd']:.2f}" in out


def test_runs_of_other_configs_and_one_seed_twice_are_refused(runs, cnnbench, tmp_path):
    said = one_line(cnnbench("compress", runs / "seeds", runs / "shorter", "--sensitivity"))
    assert "differ in more than the seed; give runs of one config" in said
    shutil.copytree(runs / "seeds" / "0", tmp_path / "again")
    said = one_line(cnnbench("compress", runs / "seeds" / "0", tmp_path / "again", "--sensitivity"))
    assert "have one seed; give one of them" in said


def test_a_run_without_validation_images_is_refused(runs, cnnbench):
    said = one_line(cnnbench("compress", runs / "unjudged", "--sensitivity"))
    assert "has no validation images" in said
    assert "data.val_fraction" in said


def test_a_run_whose_images_have_changed_is_refused(runs):
    parent = load_parent(runs / "seeds" / "0")
    other = dataclasses.replace(parent, summary=dict(parent.summary) | {"data_fingerprints": {"val": "0" * 64}})
    with pytest.raises(DataError, match="its val images have changed"):
        sensitivity_of(other, "x")


def test_a_run_in_bf16_is_refused(runs, quick_clock, tmp_path, cnnbench):
    compress(runs / "shorter", ["compression=bf16"], tmp_path / "low", quiet=True)
    assert "is bf16 already" in one_line(cnnbench("compress", tmp_path / "low", "--sensitivity"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--sensitivity", "compression=filters"], "compression=filters: --sensitivity has ways of its own"),
        (["--sensitivity", "-m"], "--multirun: --sensitivity has ways of its own"),
        (["--sensitivity", "--clock"], "not allowed with argument"),
        (["compression=int8", "-o", "a.svg"], "-o a.svg: goes with --sensitivity"),
    ],
)
def test_what_does_not_go_together_is_refused_in_one_line(words, said, runs, cnnbench):
    assert said in one_line(cnnbench("compress", runs / "seeds" / "0", *words))


def test_no_figure_is_put_into_a_run_or_into_no_folder(runs, cnnbench, monkeypatch):
    run = runs / "seeds" / "0"
    for file in (run / "a.svg", run.parent / "absent" / "a.svg", run):
        code, _, errors = cnnbench("compress", run, "--sensitivity", "-o", file)
        assert (code, errors.count("\n")) == (74, 1)
    monkeypatch.chdir(run)
    before = hashes(run)
    code, _, errors = cnnbench("compress", ".", "--sensitivity")
    assert code == 74
    assert "lies in a run folder" in errors
    assert hashes(run) == before


def test_of_very_many_images_a_part_with_every_class_is_used_and_said(runs, monkeypatch, cnnbench):
    monkeypatch.setattr(measuring, "MOST_IMAGES", 50)
    parent = load_parent(runs / "seeds" / "0")
    splits = measuring.read_splits(measuring.find_data(parent.trained.config.data), parent.trained.config.data, 0)
    images = measuring.validation_images(parent, splits)
    assert len(images) == 50
    assert set(images.labels.bincount(minlength=10).tolist()) <= {4, 5, 6}
    assert torch.equal(images.labels, measuring.validation_images(parent, splits).labels)
    assert "50 of 288 images" in cnnbench("compress", runs / "seeds" / "0", "--sensitivity")[1]


def test_what_cannot_be_cut_at_all_is_still_tried_in_int8(runs):
    class Opaque(torch.nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def forward(self, images):
            with torch.no_grad():  # through which torch-pruning sees nothing
                return self.inner(images)

    parent = load_parent(runs / "seeds" / "0")
    opaque = dataclasses.replace(parent.trained, model=Opaque(parent.trained.model))
    changed = sensitivity_of(dataclasses.replace(parent, trained=opaque), "x")
    assert [part.name for part in changed.parts] == [f"inner.{name}" for name in LAYERS]
    assert [part.filters for part in changed.parts] == [None] * 4
    assert [changed.together[way] for way in WAYS[:3]] == [None] * 3
    assert None not in changed.accuracies["int8"]
