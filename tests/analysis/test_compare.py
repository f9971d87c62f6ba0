"""`cnnbench compare`: the document, the tables, and what a hostile run folder can do to them."""

import csv
import json
import subprocess
import sys

import numpy as np
import pytest
from run_folders import CONFIG, make_run, save_predictions

from cnnbench.cli import run
from cnnbench.commands.interval_bars import draw_intervals
from cnnbench.disk import read_regular
from cnnbench.runs.read import read_summary


def lr(value):
    return {"optimizer": CONFIG["optimizer"] | {"lr": value}}


@pytest.fixture
def sweep(tmp_path):
    """Eight seeds of a baseline and of a group two points better."""
    for seed in range(8):
        noise = (seed * 7 % 8 - 3.5) / 2000
        make_run(tmp_path / "runs" / f"a{seed}", 0.9 + noise, seed=seed, train_seconds=10 + seed)
        make_run(tmp_path / "runs" / f"b{seed}", 0.92 - noise, seed=seed, config=lr(0.5), train_seconds=20 + seed)
    return tmp_path / "runs"


def compared(capsys, *arguments):
    assert run(["compare", *map(str, arguments), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_the_document_has_groups_comparisons_and_what_was_skipped(sweep, capsys):
    make_run(sweep / "failed", status="failed", error="model.width=0: too small")
    document = compared(capsys, sweep)
    assert (document["metric"], document["margin"]) == ("test_accuracy", 0.002)
    baseline, better = document["groups"]
    assert (baseline["label"], baseline["n"], baseline["seeds"]) == ("optimizer.lr=0.1", 8, list(range(8)))
    assert better["mean"] == pytest.approx(0.92)
    assert better["sd"] == pytest.approx(np.std([(s * 7 % 8 - 3.5) / 2000 for s in range(8)], ddof=1))
    assert (better["train_seconds"], better["parameters"], better["latency_ms"]) == (23.5, 1000, None)
    (comparison,) = document["comparisons"]
    assert (comparison["baseline"], comparison["candidate"]) == (baseline["group_hash"], better["group_hash"])
    assert comparison["verdict"] == "helps"
    assert comparison["n_pairs"] == 8
    assert comparison["mean_difference"] == pytest.approx(0.02)
    assert comparison["ci95"][0] < 0.02 < comparison["ci95"][1]
    assert comparison["p_value"] == comparison["p_holm"] == comparison["p_floor"] == 2 / 2**8
    assert document["skipped"] == [{"path": str(sweep / "failed"), "reason": "failed: model.width=0: too small"}]


def test_a_cheaper_group_is_on_the_front_even_where_it_is_worse(sweep, capsys):
    make_run(sweep / "dear", 0.9, config=lr(9.0), train_seconds=99)
    groups = compared(capsys, sweep)["groups"]
    assert ["train_seconds" in group["on_front_of"] for group in groups] == [True, True, False]


def test_a_place_on_a_front_says_how_sure_it_is(sweep, capsys):
    baseline, better = compared(capsys, sweep)["groups"]
    assert (baseline["front_share"]["train_seconds"], better["front_share"]["train_seconds"]) == (1.0, 1.0)
    assert baseline["dominated_at"] == better["dominated_at"] == []
    for seed in range(8):
        make_run(sweep / f"c{seed}", 0.85 + seed / 10_000, seed=seed, config=lr(7.0), train_seconds=90 + seed)
    *others, worse = compared(capsys, sweep)["groups"]
    assert worse["dominated_at"] == ["train_seconds"]
    assert worse["front_share"]["train_seconds"] == 0.0
    assert [group["dominated_at"] for group in others] == [[], []]
    assert run(["compare", str(sweep)]) == 0
    assert "93.5†" in capsys.readouterr().out


def test_times_that_do_not_compare_are_told_where_times_are_compared(sweep, capsys):
    for path in sweep.iterdir():
        day = 1 if path.name.startswith("a") else 2
        summary = read_summary(path) | {"run_id": f"2026010{day}T00{path.name[1]}000-00000000"}
        (path / "summary.json").write_text(json.dumps(summary))
    expected = "all runs of optimizer.lr=0.5 were made after those of the baseline: their times do not compare"
    assert compared(capsys, sweep)["times"] == [expected]
    assert run(["compare", str(sweep)]) == 0
    assert expected not in " ".join(capsys.readouterr().err.split())
    assert run(["compare", str(sweep), "--metric", "train_seconds"]) == 0
    assert expected in " ".join(capsys.readouterr().err.split())


def test_all_pairs_are_compared_without_a_baseline(sweep, capsys):
    for seed in range(8):
        make_run(sweep / f"c{seed}", 0.94 + seed / 10_000, seed=seed, config=lr(7.0))
    document = compared(capsys, sweep, "--all-pairs")
    assert len(document["comparisons"]) == 3
    assert {comparison["family"] for comparison in document["comparisons"]} == {3}
    assert run(["compare", str(sweep), "--all-pairs"]) == 0
    assert "2 against 1" in capsys.readouterr().out
    assert run(["compare", str(sweep), "--all-pairs", "--baseline", "optimizer.lr=7.0"]) == 2
    assert "leave out --baseline" in capsys.readouterr().err


def test_a_margin_that_is_not_given_is_one_of_the_metric(sweep, capsys):
    assert compared(capsys, sweep)["margin"] == 0.002
    assert compared(capsys, sweep, "--metric", "train_seconds")["margin"] == pytest.approx(0.02 * 13.5)


def test_the_other_group_can_be_the_baseline(sweep, capsys):
    document = compared(capsys, sweep, "--baseline", "optimizer.lr=0.5")
    assert document["comparisons"][0]["mean_difference"] == pytest.approx(-0.02)
    assert document["comparisons"][0]["verdict"] == "hurts"


def test_the_margin_decides_what_is_no_practical_effect(sweep, capsys):
    assert compared(capsys, sweep, "--margin", "5")["comparisons"][0]["verdict"] == "no practical effect"


def test_the_time_to_a_target_counts_a_miss_as_infinity(tmp_path, capsys):
    target = {"target": {"metric": "val_accuracy", "value": 0.8}}
    for seed, seconds in enumerate([5.0, 7.0, None]):
        make_run(tmp_path / f"a{seed}", seed=seed, config=target, time_to_target=seconds)
        make_run(
            tmp_path / f"b{seed}", seed=seed, config=target | lr(0.5), time_to_target=seconds if seed < 1 else None
        )
    first, second = (group["target"] for group in compared(capsys, tmp_path)["groups"])
    assert (first["value"], first["median_seconds"], first["missed"], first["ci95"]) == (0.8, 7.0, 1, None)
    assert (second["median_seconds"], second["missed"]) == (None, 2)


def test_the_screen_shows_verdicts_costs_and_what_is_left_out(sweep, capsys):
    make_run(sweep / "failed", status="failed")
    make_run(sweep / "lonely", seed=99)
    assert run(["compare", str(sweep)]) == 0
    shown = capsys.readouterr()
    assert "test_accuracy of 2 groups, 17 runs" in shown.out
    row = next(line for line in shown.out.splitlines() if "optimizer.lr=0.5" in line)
    assert "92.00 ± 0.12" in row
    assert "+2.00 [+1.78" in row
    assert "helps" in row
    assert "●" in row
    assert "note: left out: 1 failed" in shown.err
    assert "seeds 99 have no partner" in shown.err


def test_too_few_seeds_are_said_with_the_floor_and_the_number_needed(tmp_path, capsys):
    for seed in range(3):
        make_run(tmp_path / f"a{seed}", 0.9 + seed / 1000, seed=seed)
        make_run(tmp_path / f"b{seed}", 0.95 - seed / 1000, seed=seed, config=lr(0.5))
    assert run(["compare", str(tmp_path)]) == 0
    row = next(line for line in capsys.readouterr().out.splitlines() if "undecided" in line)
    assert "floor 0.25" in row
    assert "undecided, 6 seeds would do" in row


def test_the_csv_has_a_row_for_each_group(sweep, tmp_path):
    assert run(["compare", str(sweep), "--csv", str(tmp_path / "t.csv")]) == 0
    baseline, better = csv.DictReader((tmp_path / "t.csv").read_text().splitlines())
    assert (baseline["role"], baseline["verdict"]) == ("baseline", "")
    assert (better["role"], better["verdict"], better["n"]) == ("candidate", "helps", "8")
    assert float(better["ci95_low"]) < float(better["mean_difference"]) < float(better["ci95_high"])


def test_predictions_are_compared_on_request(tmp_path, capsys):
    labels = np.array([0, 1, 2, 0, 1, 2])
    for name, wrong, config in (("a", 3, {}), ("b", 1, lr(0.5))):
        for seed in range(2):
            answers = np.where(np.arange(6) < wrong, (labels + 1) % 3, labels)
            save_predictions(make_run(tmp_path / f"{name}{seed}", seed=seed, config=config), np.eye(3)[answers], labels)
    found = compared(capsys, tmp_path, "--predictions")["predictions"]
    assert [group["ensemble_accuracy"] for group in found["groups"]] == [0.5, 5 / 6]
    assert [group["churn"] for group in found["groups"]] == [0, 0]
    (pair,) = found["comparisons"]
    assert (pair["only_baseline_right"], pair["only_candidate_right"]) == (0, 2)
    assert (pair["mcnemar_p"], pair["churn"]) == (0.5, pytest.approx(2 / 6))
    assert found["hardest"][0] == {"image": 0, "label": 0, "wrong_share": 1.0, "most_frequent_wrong": 1}
    assert run(["compare", str(tmp_path), "--predictions"]) == 0
    assert "McNemar" in capsys.readouterr().out


def test_predictions_that_are_missing_or_damaged_are_named(tmp_path, capsys):
    for seed in range(2):
        save_predictions(make_run(tmp_path / str(seed), seed=seed), np.eye(2), np.array([0, 1]))
    (tmp_path / "1" / "predictions.npz").write_bytes(b"PK")
    found = compared(capsys, tmp_path, "--predictions")["predictions"]
    assert found["left_out"] == [str(tmp_path / "1")]
    assert found["groups"][0]["n"] == 1


HOSTILE = [
    "</script><script>alert(1)</script>",
    "[/]",
    "[bold]x",
    "\x1b[31mred",
    "=cmd()",
    "a\nb",
    "\u202egnp.exe",
    "'",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_values_stay_text(tmp_path, capsys, text):
    make_run(tmp_path / "a", config={"select": text})
    make_run(tmp_path / "b", config={"select": "best"})
    make_run(tmp_path / "c", status="failed", error=text, seed=1)
    assert run(["compare", str(tmp_path), "--csv", str(tmp_path / "t.csv")]) == 0
    shown = capsys.readouterr()
    assert not {"\x1b", "\u202e"} & set(shown.out + shown.err)
    for row in csv.reader((tmp_path / "t.csv").read_text().splitlines()):
        assert not any(cell.startswith(("=", "+", "@")) for cell in row)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["{}/missing"], "missing: no such folder"),
        (["{}", "--metric", "test_acuracy"], "metric=test_acuracy: no such metric; did you mean 'test_accuracy'"),
        (["{}", "--baseline", "optimizer.lr=0.2"], "did you mean"),
        (["{}", "--margin", "-1"], "--margin -1.0: should be"),
        (["{}", "--margin", "nan"], "--margin nan: should be"),
        (["{}", "--marginn", "1"], "--marginn"),
        ([], "DIR"),
    ],
)
def test_a_mistake_is_one_line(sweep, capsys, arguments, said):
    assert run(["compare", *(argument.format(sweep) for argument in arguments)]) in (2, 65)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    assert said in lines[0]


def test_different_splits_are_refused(tmp_path, capsys):
    make_run(tmp_path / "a")
    make_run(tmp_path / "b", config={"data": CONFIG["data"] | {"split_seed": 3}})
    assert run(["compare", str(tmp_path)]) == 65
    assert "data.split_seed" in capsys.readouterr().err


def test_intervals_are_drawn_on_one_scale():
    lines = draw_intervals([None, 1.0, -0.5], [None, (0.5, 1.5), (-0.5, -0.5)], width=21)
    assert lines == [
        "     │               ",
        "     │    ─────●─────",
        "●    │               ",
    ]
    assert draw_intervals([0.0], [(0.0, 0.0)], width=3) == ["●  "]


def test_comparing_does_not_wait_for_torch(sweep):
    script = f"""
import sys
from cnnbench.cli import run
run(["compare", {str(sweep)!r}, "--json"])
assert "torch" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_reading_many_runs_reads_each_summary_once(sweep, monkeypatch):
    read = []
    for module in ("cnnbench.runs.read", "cnnbench.config.plain_yaml"):
        monkeypatch.setattr(f"{module}.read_regular", lambda path: read.append(path.name) or read_regular(path))
    run(["compare", str(sweep), "--json"])
    assert (read.count("summary.json"), read.count("config.yaml")) == (16, 2)


TARGET = {"metric": "val_accuracy", "value": 0.9}


def test_the_group_that_reaches_the_target_sooner_helps_and_a_miss_is_the_slowest(tmp_path, cnnbench):
    for seed in range(8):
        slow = {"time_to_target": 20.0 + seed if seed < 6 else None, "target": TARGET}
        make_run(tmp_path / "slow" / f"{seed}", seed=seed, **slow)
        fast = {"time_to_target": 5.0 + seed, "target": TARGET}
        make_run(tmp_path / "slow" / f"fast{seed}", seed=seed, config={"epochs": 9}, **fast)
    document = json.loads(cnnbench("compare", tmp_path, "--metric", "time_to_target", "--json")[1])
    (row,) = document["comparisons"]
    assert (row["n_pairs"], row["verdict"], row["p_value"]) == (8, "helps", 2 / 2**8)
    assert (row["mean_difference"], row["ci95"]) == (None, None)
    slow, fast = document["groups"]
    assert (slow["n"], slow["mean"], slow["best"]) == (8, None, 20.0)
    assert (fast["mean"], fast["best"]) == (8.5, 5.0)
    shown = cnnbench("compare", tmp_path, "--metric", "time_to_target")[1]
    assert "missed by some" in shown


def test_the_best_loss_is_the_smallest(tmp_path, cnnbench):
    for seed in range(3):
        make_run(tmp_path / f"{seed}", seed=seed, test_loss=1.0 + seed)
    (group,) = json.loads(cnnbench("compare", tmp_path, "--metric", "test_loss", "--json")[1])["groups"]
    assert group["best"] == 1.0


def test_groups_of_an_ablation_are_called_by_their_techniques(tmp_path, capsys):
    make_run(tmp_path / "a", config={"select": "best"})
    make_run(tmp_path / "b", config={"select": "last"})
    variants = {
        name: {"group_hash": read_summary(tmp_path / folder)["group_hash"]}
        for name, folder in {"base line": "a", "the last weights": "b"}.items()
    }
    (tmp_path / "ablation.json").write_text(json.dumps({"variants": variants}))
    assert run(["compare", str(tmp_path)]) == 0
    assert "the last weights" in capsys.readouterr().out
    assert run(["compare", str(tmp_path), "--baseline", "the last weights", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [group["technique"] for group in document["groups"]] == ["base line", "the last weights"]
    assert document["comparisons"][0]["baseline"] == variants["the last weights"]["group_hash"]


def test_an_ablation_is_compared_with_its_own_baseline_whichever_run_was_started_first(tmp_path, capsys):
    make_run(tmp_path / "b", config={"select": "last"}, run_id="20260101T000000-00000000")
    make_run(tmp_path / "a", config={"select": "best"}, run_id="20260102T000000-00000000")
    hashes = {path.name: read_summary(path)["group_hash"] for path in tmp_path.iterdir()}
    variants = {"baseline": {"group_hash": hashes["a"]}, "last": {"group_hash": hashes["b"]}}
    (tmp_path / "ablation.json").write_text(json.dumps({"variants": variants}))
    document = compared(capsys, tmp_path)
    assert [group["technique"] for group in document["groups"]] == ["baseline", "last"]
    assert document["comparisons"][0]["baseline"] == hashes["a"]
    assert not document["chosen_afterwards"]
