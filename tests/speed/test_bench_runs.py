import contextlib
import importlib
import io
import json
import re
import shutil
import subprocess
import sys

import pytest
import torch
from tiny import summary

from cnnbench import cli
from cnnbench.commands import bench_screen
from cnnbench.errors import DataError
from cnnbench.speed import clock, subjects
from cnnbench.speed.subjects import open_subject
from cnnbench.trained.load import load_trained

pytest.importorskip("onnxruntime")

WAYS = ["eager", "policy", "compiled", "onnxruntime", "onnxruntime int8"]
CPU = ["device=cpu", "device.threads=1"]
SMALL = ["model=deep", "model.widths=[8,16]", "model.hidden=16", "epochs=4"]
NUMBERS = ("images_per_second", "images_per_second_range", "latency_ms", "peak_memory_bytes", "speedup")


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """A run on the digits in bf16, and of it one in int8; nothing is compiled, and hardly anything timed."""
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(io.StringIO()):
        patch.setattr(clock, "compiled", lambda model, images: model)
        patch.setattr(clock, "FEWEST_ROUNDS", 2)
        patch.setattr(clock, "SECONDS", 0)
        run = ["train", *CPU, *SMALL, "device.precision=bf16", f"hydra.run.dir={folder / 'digits'}"]
        assert cli.run(run) == 0
        assert (
            cli.run(["compress", str(folder / "digits"), "compression=int8", f"hydra.run.dir={folder / 'int8'}"]) == 0
        )
    return folder / "digits"


@pytest.fixture
def bench(cnnbench, monkeypatch):
    """Times runs, compiling nothing; gives back the document and what was said on stderr."""
    monkeypatch.setattr(clock, "compiled", lambda model, images: model)

    def run(*arguments):
        exit_code, out, err = cnnbench("bench", *arguments, "--rounds", "3", "--json")
        assert exit_code == 0, err
        return json.loads(out), err

    return run


def content(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def notes(err, about):
    return [line for line in err.splitlines() if about in line]


def test_each_way_to_run_a_network_is_a_row_that_gives_its_answers(digits, bench):
    before = content(digits)
    document, _ = bench(digits)
    rows = document["results"]
    assert [row["way"] for row in rows] == WAYS
    assert [row["precision"] for row in rows] == ["fp32", "bf16", "bf16", "fp32", "int8"]
    assert [row["memory_format"] for row in rows[:2]] == ["contiguous", "channels_last"]
    assert [row["problem"] for row in rows] == [None] * 5
    assert {row["run"]: row["split"] for row in rows} == {"digits": "val"}
    assert all(row["agreement"] == 1 for row in rows if row["precision"] == "fp32")
    assert all(row["agreement"] >= 0.9 for row in rows)
    assert all(row["largest_difference"] < 0.2 * row["largest_logit"] for row in rows)
    assert rows[0]["bytes"] > 1.9 * rows[1]["bytes"]  # which has half of the bits, but norms' buffers
    assert content(digits) == before


def test_the_numbers_of_a_row_go_together(digits, bench):
    document, _ = bench(digits)
    assert (document["baseline"], document["threads"]) == ("digits eager", 1)
    assert document["rounds"] == {"1": 3, "64": 3, "256": 3}
    assert len(document["load_average"]) == 2
    for row in document["results"]:
        low, high = row["images_per_second_range"]
        assert 0 < low <= row["images_per_second"] <= high
        assert [0 < ms["p50"] <= ms["p95"] for ms in row["latency_ms"].values()] == [True, True]
        assert list(row["latency_ms"]) == ["1", "64"]
    for row in document["results"][1:]:
        assert all(0 < low < ratio < high for ratio, low, high in row["speedup"].values())
    assert [ratio for ratio, *_ in document["results"][0]["speedup"].values()] == pytest.approx([1, 1, 1])


def test_one_round_has_no_intervals(digits, cnnbench, monkeypatch):
    monkeypatch.setattr(clock, "compiled", lambda model, images: model)
    exit_code, out, _ = cnnbench("bench", digits, "--rounds", "1")
    assert exit_code == 0
    assert re.search(r"^policy bf16 +[\d,]+ +[\d.]+x +[\d.]+ / ", out, re.MULTILINE)


def test_a_run_in_int8_is_not_imitated_step_by_step(digits, bench):
    int8 = digits.with_name("int8")
    document, _ = bench(int8)
    assert [(row["way"], row["precision"]) for row in document["results"]] == [
        ("compiled", "int8"),
        ("onnxruntime int8", "int8"),
    ]
    assert document["baseline"] == "int8 compiled"
    document, _ = bench(int8, digits, digits)
    assert [row["run"] for row in document["results"]] == ["int8"] * 2 + ["digits"] * 5
    assert document["baseline"] == "digits eager"


def test_without_onnxruntime_its_rows_are_left_out_with_one_note(digits, bench, monkeypatch):
    found = importlib.import_module

    def missing(name, *rest):
        if name.startswith("onnxruntime"):
            raise ModuleNotFoundError(name)
        return found(name, *rest)

    monkeypatch.setattr(importlib, "import_module", missing)
    document, err = bench(digits)
    left_out = document["results"][3:]
    assert [[row[key] for key in NUMBERS] for row in left_out] == [[None] * 5] * 2
    assert [row["problem"] for row in document["results"][:3]] == [None] * 3
    assert notes(err, "onnxruntime is not installed") == [
        "note: digits onnxruntime and digits onnxruntime int8 left out: bench RUN: onnxruntime is not installed; "
        "pip install 'cnnbench[compress]'"
    ]


def test_without_a_compiler_all_else_is_measured(digits, bench, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    document, err = bench(digits)
    assert [row["way"] for row in document["results"] if row["problem"]] == ["compiled"]
    assert "digits compiled left out: bench RUN: needs a C++ compiler" in err


def test_what_computes_something_else_has_no_numbers(digits, bench, monkeypatch):
    monkeypatch.setattr(clock, "compiled", lambda model, images: lambda images: -model(images))
    document, err = bench(digits)
    (row,) = (row for row in document["results"] if row["problem"])
    assert row["way"] == "compiled"
    assert row["problem"].startswith("computes something else: ")
    assert row["images_per_second"] is row["speedup"] is None
    assert "digits compiled left out: computes something else: " in err


def test_without_the_images_of_the_run_noise_is_timed_and_int8_left_out(digits, bench, monkeypatch):
    def gone(*arguments):
        raise DataError("photos: not there")

    monkeypatch.setattr(subjects, "read_images", gone)
    document, err = bench(digits)
    assert {row["split"] for row in document["results"]} == {None}
    assert [row["way"] for row in document["results"] if row["problem"]] == ["onnxruntime int8"]
    assert len(notes(err, "photos: not there; timed on noise")) == 1
    trained = load_trained(digits)
    assert torch.equal(open_subject(digits, "a", trained).images, open_subject(digits, "b", trained).images)


def test_runs_and_settings_are_not_mixed(digits, cnnbench):
    exit_code, out, err = cnnbench("bench", digits, "model=deep", "outputs/dighits")
    assert (exit_code, out) == (2, "")
    assert [line.partition(": is no run")[0] for line in err.splitlines()] == [
        "error: model=deep",
        "error: outputs/dighits",
    ]
    exit_code, _, err = cnnbench("bench", digits, "-m")
    assert (exit_code, err) == (
        2,
        "error: -m, --config-dir: are for settings, and bench was given runs; leave them out\n",
    )


def test_a_run_that_cannot_be_loaded_is_its_usual_error(digits, cnnbench, tmp_path):
    damaged = shutil.copytree(digits.with_name("int8"), tmp_path / "damaged")
    (damaged / "model.safetensors").write_bytes(b"")
    exit_code, _, err = cnnbench("bench", digits, damaged)
    assert exit_code != 0
    assert "model.safetensors: is damaged" in err


def test_the_table_has_runs_side_by_side_and_less_where_there_is_no_room(digits, cnnbench, monkeypatch):
    monkeypatch.setattr(clock, "compiled", lambda model, images: model)
    other = shutil.copytree(digits, digits.with_name("other"), dirs_exist_ok=True)
    exit_code, out, _ = cnnbench("bench", digits, other, "--rounds", "2")
    lines = out.splitlines()
    assert exit_code == 0
    assert lines[0].split()[:4] == ["run", "way", "images/s", "ratio"]
    assert [line.split()[0] for line in lines[1:11]] == ["digits"] * 5 + ["other"] * 5
    assert [line.split()[2] for line in lines[2:4]] == ["bf16", "bf16"]
    assert max(map(len, lines[:11])) <= 110
    assert "digits: the same class" in out
    monkeypatch.setattr(bench_screen, "has_room", lambda characters: False)
    _, out, _ = cnnbench("bench", digits, "--rounds", "2")
    assert out.split()[:2] == ["way", "images/s"]
    assert max(map(len, out.splitlines()[:6])) <= 75
    assert " / " not in out.splitlines()[1]


@pytest.mark.slow
def test_networks_that_take_turns_are_compiled_once_each(digits, cnnbench):
    from torch._dynamo.utils import counters

    other = shutil.copytree(digits, digits.with_name("other"), dirs_exist_ok=True)
    before = counters["stats"]["unique_graphs"]
    exit_code, out, err = cnnbench("bench", digits, other, digits.with_name("int8"), "--rounds", "2", "--json")
    assert exit_code == 0, err
    assert counters["stats"]["unique_graphs"] - before == 3 * 3
    rows = [row for row in json.loads(out)["results"] if row["way"] == "compiled"]
    assert [row["problem"] for row in rows] == [None] * 3
    assert all(row["agreement"] >= 0.9 for row in rows)
    assert summary(digits)["precision"] == "bf16"


@pytest.mark.slow
def test_a_network_loaded_in_int8_is_compiled_to_integers_in_a_process_that_has_quantised_nothing(digits):
    script = f"""
from torch._dynamo.utils import counters
from cnnbench import load
from cnnbench.speed.clock import noise, of_network
trained = load({str(digits.with_name("int8"))!r})
of_network("int8", trained.model, "compiled", trained.device, trained.normalize, noise(trained.image_shape)).start(8)
print(counters["inductor"]["qconv_weight_prepack_matcher_count"])
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert int(done.stdout) >= 2
