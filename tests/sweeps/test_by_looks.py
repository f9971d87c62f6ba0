"""Seeds added where a verdict is open: what each look grants, what the budget pays for, that a stop loses nothing."""

import json
from dataclasses import replace

import numpy as np
import pytest
from tiny import TINY

from cnnbench.errors import ConfigError
from cnnbench.sweeps.ablation_folder import Looks, Plan, PlannedVariant, all_jobs, read_plan, unfinished, write_plan
from cnnbench.sweeps.by_looks import grant_seeds, seconds_in, take_look
from cnnbench.sweeps.effects import margin_for, measure_effects, read_groups

GAINS = {"baseline": 0.0, "clear": 0.03, "small": 0.003, "nothing": 0.0, "noisy": 0.0, "idle": 0.0, "calm": 0.0}
SPREADS = {"baseline": 0.002, "clear": 0.002, "small": 0.002, "noisy": 0.2, "nothing": 1e-4, "idle": 1e-4, "calm": 1e-4}
RUN_SECONDS = 10.0


def plan_with(seeds=(8, 14, 20), budget=None):
    variants = {name: PlannedVariant((), [], name) for name in GAINS}
    looks = Looks(list(seeds), "test_accuracy", 0.002, budget, dict.fromkeys(GAINS, 0), [])
    techniques = {name: [] for name in GAINS if name != "baseline"}
    return Plan("articles", "add_one", [], [], [], techniques, variants, looks)


def accuracy(name, seed):
    shared = np.random.default_rng(seed).normal(0.9, 0.01)
    own = np.random.default_rng([seed, list(GAINS).index(name)]).normal()
    return float(shared + GAINS[name] + SPREADS[name] * own * (name != "baseline"))


def train_all(folder, plan):
    """Writes the runs that the plan waits for; says how many there were."""
    jobs = unfinished(folder, plan)
    for job in jobs:
        content = {"format": 1, "status": "finished", "group_hash": job.variant, "seed": job.seed}
        content |= {"test_accuracy": accuracy(job.variant, job.seed), "total_seconds": RUN_SECONDS}
        (folder / job.folder).mkdir(parents=True)
        (folder / job.folder / "summary.json").write_text(json.dumps(content))
    return len(jobs)


def after_every_look(folder, plan, seconds=1.0):
    expected = dict.fromkeys(GAINS, seconds)
    plan, runs = grant_seeds(folder, plan, expected), []
    while not plan.looks.is_over:
        runs.append(train_all(folder, plan))
        plan = grant_seeds(folder, take_look(folder, plan), expected)
    return plan, runs


def test_seeds_go_to_what_is_open_until_nothing_is(tmp_path):
    plan, runs = after_every_look(tmp_path, plan_with())
    first, *later = (look["stands"] for look in plan.looks.taken)
    assert (first["clear"], first["nothing"], first["noisy"]) == ("helps", "no practical effect", "futile")
    assert first["small"] == "open"
    assert all(look["small"] in ("open", "helps", "at the end") for look in later)
    assert runs[0] == 7 * 8
    assert all(count <= 3 * 6 for count in runs[1:])  # those of the baseline and what is open
    granted = plan.looks.granted
    assert (granted["clear"], granted["nothing"], granted["noisy"]) == (8, 8, 8)
    assert granted["small"] == granted["baseline"] == plan.looks.taken[-1]["seeds"]
    assert {look["level"] for look in plan.looks.taken} == {0.0221}


def test_the_table_says_what_the_looks_said(tmp_path):
    plan, _ = after_every_look(tmp_path, plan_with())
    found = measure_effects(plan, read_groups(tmp_path, plan, "test_accuracy"), "test_accuracy", 0.002)
    effects = {effect.technique: effect for effect in found}
    assert effects["clear"].comparison.verdict == "helps"
    assert effects["clear"].stands == (8, "decided")
    assert effects["noisy"].stands == (8, "futile")
    last = plan.looks.taken[-1]["stands"]["small"]
    assert effects["small"].comparison.verdict == ("undecided" if last == "at the end" else last)


def test_the_table_goes_by_the_margin_of_the_looks_unless_another_is_given(tmp_path):
    plan, _ = after_every_look(tmp_path, plan_with())
    groups = read_groups(tmp_path, plan, "test_accuracy")
    plan = replace(plan, looks=replace(plan.looks, margin=0.05))
    assert margin_for(plan, groups, "test_accuracy", None) == 0.05
    assert margin_for(plan, groups, "test_accuracy", 0.01) == 0.01
    assert margin_for(replace(plan, looks=None), groups, "test_accuracy", None) == 0.002


def test_the_budget_pays_for_what_needs_the_fewest_seeds_first(tmp_path):
    whole, _ = after_every_look(tmp_path / "whole", plan_with())
    plan, runs = after_every_look(tmp_path / "short", plan_with(budget=56 * RUN_SECONDS + 5))
    assert runs == [56, 0]
    assert plan.looks.taken[-1]["stands"]["small"] == "budget"
    assert len(whole.looks.taken) > 1


def test_the_budget_is_what_the_runs_took_not_what_was_expected(tmp_path):
    plan = grant_seeds(tmp_path, plan_with(budget=57 * RUN_SECONDS), dict.fromkeys(GAINS, 1.0))
    train_all(tmp_path, plan)
    plan = grant_seeds(tmp_path, take_look(tmp_path, plan), dict.fromkeys(GAINS, 0.001))
    assert unfinished(tmp_path, plan) == []


def test_a_plan_read_again_goes_on_where_it_was(tmp_path):
    plan = grant_seeds(tmp_path, plan_with(), dict.fromkeys(GAINS, 1.0))
    write_plan(tmp_path, plan)
    assert read_plan(tmp_path) == plan
    assert len(all_jobs(plan)) == 56
    again = grant_seeds(tmp_path, read_plan(tmp_path), dict.fromkeys(GAINS, 1.0))
    assert again == plan


def test_a_diverged_run_is_an_outcome_that_no_look_waits_for(tmp_path):
    plan = grant_seeds(tmp_path, plan_with(), dict.fromkeys(GAINS, 1.0))
    train_all(tmp_path, plan)
    for seed in range(3):
        file = tmp_path / f"clear-seed{seed}" / "summary.json"
        content = json.loads(file.read_text()) | {"status": "failed", "exit_code": 3, "test_accuracy": None}
        file.write_text(json.dumps(content))
    assert unfinished(tmp_path, plan) == []
    assert take_look(tmp_path, plan).looks.taken[0]["stands"]["clear"] == "open"


@pytest.mark.parametrize(("text", "seconds"), [("90m", 5400), ("2h", 7200), ("1.5d", 129_600), ("30s", 30)])
def test_a_budget_is_a_number_with_a_unit(text, seconds):
    assert seconds_in(text) == seconds


@pytest.mark.parametrize("text", ["2", "h", "-2h", "0h", "2 hours", "1e3s"])
def test_anything_else_is_refused(text):
    with pytest.raises(ConfigError, match="a number with a unit"):
        seconds_in(text)


def test_the_command_adds_seeds_by_looks_and_goes_on_after_a_stop(cnnbench, tmp_path):
    arguments = ["ablate", "--yes", "--json", *TINY, "epochs=1", "techniques=[dropout,l1]", "hydra.sweep.dir=abl"]
    exit_code, out, err = cnnbench(*arguments, "seeds=auto", "most_seeds=9", "margin=10")
    assert exit_code == 0, err
    document = json.loads(out)
    assert document["looks"]["seeds"] == [8, 9]
    assert document["looks"]["taken"][0]["level"] == 0.0294
    assert {effect["stopped"]["seeds"] for effect in document["effects"]} <= {8, 9}
    assert "looks at 8, 9 seeds" in err
    assert "look at 8 seeds:" in err
    first = read_plan(tmp_path / "abl")
    assert cnnbench(*arguments, "seeds=auto", "most_seeds=9", "margin=10")[0] == 0
    assert read_plan(tmp_path / "abl") == first
    exit_code, _, err = cnnbench(*arguments, "seeds=auto", "most_seeds=20", "margin=10")
    assert exit_code == 65
    assert "other looks" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["seeds=8", "budget=2h"], "give it with seeds=auto"),
        (["seeds=auto", "budget=2"], "should be a number with a unit"),
        (["seeds=auto", "budget=1s", "epochs=50"], "the first look, at 8 seeds, takes about"),
        (["seeds=auto", "most_seeds=5"], "most_seeds=5"),
        (["seeds=some"], "seeds=some"),
    ],
)
def test_what_cannot_be_looked_at_is_refused_before_anything_is_written(cnnbench, tmp_path, arguments, message):
    exit_code, _, err = cnnbench("ablate", "--yes", *TINY, "techniques=[dropout]", "hydra.sweep.dir=abl", *arguments)
    assert exit_code == 2
    assert message in err
    assert not (tmp_path / "abl").exists()
