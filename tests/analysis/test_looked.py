"""What earlier looks make of a comparison."""

import json

import pytest
from run_folders import CONFIG, make_run

from cnnbench.analysis.looked import warnings_of
from cnnbench.analysis.statistics.looks import error_of_looks
from cnnbench.cli import run
from cnnbench.runs.looks import Look, looks_at

OTHER = {"optimizer": CONFIG["optimizer"] | {"lr": 0.5}}
NOW = Look("test_accuracy", {"a": 10, "b": 10})


def test_fewer_seeds_before_raise_the_error():
    (warning,) = warnings_of([Look("test_accuracy", {"a": 6, "b": 6}), Look("test_accuracy", {"a": 8, "b": 8})], NOW)
    assert warning.startswith("compared before with 6 and 8 seeds")
    assert f"in {error_of_looks([6, 8, 10]):.0%} of cases, not 5%" in warning


@pytest.mark.parametrize(
    "earlier",
    [
        [],
        [NOW],
        [Look("test_accuracy", {"a": 12, "b": 12})],
        [Look("test_accuracy", {"a": 4, "b": 4})],  # nothing could be decided
        [Look("test_accuracy", {"a": 6, "other": 6})],  # another comparison
    ],
)
def test_other_looks_cost_nothing(earlier):
    assert warnings_of(earlier, NOW) == []


def test_a_second_metric_is_said():
    first = Look("test_loss", {"a": 10, "b": 10})
    (warning,) = warnings_of([first], NOW)
    assert "compared by test_loss before: of 2 metrics" in warning
    assert "up to 10% of cases" in warning
    assert warnings_of([first], first) == []


def test_planned_looks_are_judged_elsewhere():
    (warning,) = warnings_of([], NOW, planned=True)
    assert "ablate --table" in warning


def runs(folder, seeds):
    for seed in seeds:
        make_run(folder / f"a{seed}", 0.9 + seed / 1000, seed=seed)
        make_run(folder / f"b{seed}", 0.9 + seed / 900, seed=seed, config=OTHER)


def test_compare_remembers_and_says_so(tmp_path, capsys):
    runs(tmp_path, range(6))
    for _ in range(2):
        assert run(["compare", str(tmp_path)]) == 0
        assert "compared before" not in capsys.readouterr().err
    runs(tmp_path, range(6, 8))
    assert run(["compare", str(tmp_path)]) == 0
    assert "compared before with 6 seeds" in " ".join(capsys.readouterr().err.split())
    assert run(["compare", str(tmp_path), "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["warnings"]) == 1
    assert len(looks_at([tmp_path]).read_text().splitlines()) == 2


def test_compare_works_where_nothing_can_be_noted(tmp_path, capsys):
    runs(tmp_path, range(2))
    looks_at([tmp_path]).mkdir(parents=True)
    assert run(["compare", str(tmp_path)]) == 0
