import json
import shutil

import numpy as np
import pytest
from tiny import set_summary, summary

from cnnbench.runs.format import SUMMARY_KEYS


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    from tiny import TINY

    from cnnbench.config.compose import compose
    from cnnbench.experiment import run_experiment

    path = tmp_path_factory.mktemp("finished") / "run"
    run_experiment(compose(TINY), path)
    return path


@pytest.fixture
def run(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "run")


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


def newest(run):
    return max((run / "checkpoints").glob("*.pt"))


def replace(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


@pytest.mark.parametrize("key", SUMMARY_KEYS)
def test_a_summary_without_one_of_its_keys_is_named_by_every_verb(run, cnnbench, key):
    document = summary(run)
    del document[key]
    (run / "summary.json").write_text(json.dumps(document))
    for arguments in (["verify", run], ["resume", run, "epochs=9"], ["resume", run], ["compare", run]):
        exit_code, _, err = cnnbench(*arguments)
        assert exit_code in (0, 2, 65), (arguments, err)
        assert exit_code == 65 or arguments[0] != "verify"


def test_a_run_as_it_was_written_is_verified_also_after_it_was_evaluated(run, cnnbench):
    assert cnnbench("evaluate", run)[0] == 0
    exit_code, out, err = cnnbench("verify", run)
    assert (exit_code, err) == (0, "")
    assert out.splitlines()[1].split() == [str(run), "finished", "0"]


DAMAGES = {
    "checkpoint": (lambda run: flip(newest(run)), ".pt: is damaged"),
    "checkpoint gone": (lambda run: newest(run).unlink(), ".pt: cannot be read"),
    "manifest": (lambda run: replace(run / "checkpoints" / "manifest.json", 'sha256": "', 'sha256": "0'), "damaged"),
    "manifest gone": (lambda run: (run / "checkpoints" / "manifest.json").unlink(), "manifest.json: is missing"),
    "checkpoints gone": (lambda run: shutil.rmtree(run / "checkpoints"), "checkpoints: holds no checkpoint"),
    "config": (lambda run: replace(run / "config.yaml", "epochs: 3", "epochs: 4"), "config.yaml: was changed"),
    "config of nothing computed": (lambda run: replace(run / "config.yaml", "keep: 2", "keep: 3"), "config.yaml: was"),
    "metrics": (lambda run: replace(run / "metrics.jsonl", '"epoch": 1', '"epoch": 9'), "metrics.jsonl: was changed"),
    "metrics gone": (lambda run: (run / "metrics.jsonl").unlink(), "metrics.jsonl: "),
    "predictions": (lambda run: flip(run / "predictions.npz"), "predictions.npz: was changed"),
    "environment": (lambda run: flip(run / "environment.json"), "environment.json: was changed"),
    "summary": (lambda run: replace(run / "summary.json", '"test_reads": 1', '"test_reads": 0'), "summary.json: was"),
    "summary gone": (lambda run: (run / "summary.json").unlink(), "not a run folder"),
    "summary cut": (lambda run: (run / "summary.json").write_text("{"), "summary.json: cannot be read"),
    "a better accuracy": (lambda run: set_summary(run, test_accuracy=0.999), "test_accuracy is 0.999, its"),
    "a better validation": (lambda run: set_summary(run, best_val_accuracy=1.5), "best_val_accuracy is 1.5, its"),
    "fewer epochs": (lambda run: set_summary(run, epochs=2), "epochs is 2, its files say 3"),
    "less time": (lambda run: set_summary(run, train_seconds=0.001), "train_seconds is 0.001, its files say"),
    "other weights": (lambda run: set_summary(run, weights_sha256="0" * 64), "weights_sha256 is not that of"),
}


@pytest.mark.parametrize(("damage", "said"), DAMAGES.values(), ids=DAMAGES)
def test_what_differs_is_named_and_ends_with_65(run, cnnbench, damage, said):
    damage(run)
    exit_code, _, err = cnnbench("verify", run)
    assert exit_code == 65
    assert all(line.startswith("error: ") for line in err.splitlines())
    assert said in err


def test_json_lists_the_differences_of_every_run(run, finished, cnnbench):
    flip(run / "predictions.npz")
    exit_code, out, _ = cnnbench("verify", run, finished, "--json")
    first, second = json.loads(out)["runs"]
    assert exit_code == 65
    assert first["differences"][0].split(": ")[0] == str(run / "predictions.npz")
    assert second == {"run": str(finished), "status": "finished", "differences": []}


def test_the_accuracy_is_that_of_the_saved_answers(run):
    with np.load(run / "predictions.npz") as saved:
        accuracy = float((saved["logits"].argmax(1) == saved["labels"]).mean())
    assert accuracy == json.loads((run / "summary.json").read_text())["test_accuracy"]


@pytest.mark.slow
def test_a_machine_that_repeats_a_training_says_so(cnnbench):
    exit_code, out, _ = cnnbench("verify", "--json")
    document = json.loads(out)
    assert (exit_code, document["deterministic"]) == (0, True)
    assert [training["equal_weights"] for training in document["trainings"][:2]] == [True, True]
    assert any("device=auto measures" in reason for reason in document["reasons"])
