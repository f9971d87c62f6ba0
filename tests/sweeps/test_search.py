import itertools
import json
import math
import signal

import pytest
from processes import run, start, wait_until
from run_folders import make_run
from sweeps.broken import broken
from tiny import TINY, metrics, summary

from cnnbench.config.composition import Composer
from cnnbench.config.overrides import groups_of
from cnnbench.config.sweep_settings import SearchSettings
from cnnbench.errors import ConfigError
from cnnbench.sweeps.search import Search, rungs
from cnnbench.sweeps.space import as_overrides, search_space
from cnnbench.sweeps.study import JOURNAL, open_study

LR = "optimizer.lr=tag(log,interval(1e-4,1e-1))"
DROPOUT = "model.dropout=interval(0,0.5)"


def settings(**given):
    known = {"sampler": "random", "trials": 10, "objectives": ["best_val_accuracy"], "seed": 0}
    return SearchSettings(**{**known, "stop_hopeless": False, "reduction": None, "at_once": None, **given})


def height(config):
    """A made-up surface with its top at lr = 0.01 and dropout = 0.2, where it is 1."""
    distance = (math.log10(config.optimizer["lr"]) + 2) ** 2 + (4 * (config.model["dropout"] - 0.2)) ** 2
    return math.exp(-distance)


class Simulated:
    """Runs jobs by writing what they would have come to; `ran` has their names, in order."""

    def __init__(self, folder, fails=()):
        self.folder, self.fails, self.ran = folder, fails, []

    def __call__(self, jobs, pause_after):
        for job in jobs:
            self.ran.append((job.folder, pause_after))
            epochs = pause_after or job.config.epochs
            value, path = height(job.config), self.folder / job.folder
            status = "failed" if len(self.ran) in self.fails else "interrupted" if pause_after else "finished"
            make_run(path, None, best_val_accuracy=value, train_seconds=value * 10, status=status,
                     config_hash=job.config_hash)  # fmt: skip
            lines = [
                {"epoch": epoch, "val_accuracy": value * epoch / job.config.epochs} for epoch in range(1, epochs + 1)
            ]
            (path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.fixture
def search(tmp_path):
    """Searches on the made-up surface in one folder, as often as it is called."""

    def go(*overrides, fails=(), at_once=1, **given):
        chosen = settings(**given)
        space, fixed = search_space([*TINY, *(overrides or (LR, DROPOUT))], groups_of(None))
        simulated = Simulated(tmp_path, fails)
        study = open_study(tmp_path, chosen, space)
        searched = Search(study, chosen, chosen.trials, space, fixed, Composer(), tmp_path, at_once, simulated)
        searched.go()
        return searched, simulated.ran

    return go


def states(searched):
    return [trial.state.name for trial in searched.study.trials]


def test_hydras_sweeps_are_distributions():
    words = ["optimizer=sgd,adam", LR, DROPOUT, "model.hidden=int(interval(4,64))", "seed=range(0,3)", "epochs=3"]
    space, fixed = search_space(words, groups_of(None))
    assert fixed == ["epochs=3"]
    assert {key: str(one) for key, one in space.items()} == {
        "optimizer": "CategoricalDistribution(choices=('sgd', 'adam'))",
        "optimizer.lr": "FloatDistribution(high=0.1, log=True, low=0.0001, step=None)",
        "model.dropout": "FloatDistribution(high=0.5, log=False, low=0.0, step=None)",
        "model.hidden": "IntDistribution(high=64, log=False, low=4, step=1)",
        "seed": "CategoricalDistribution(choices=('0', '1', '2'))",
    }
    assert as_overrides({"optimizer.lr": 0.0123456789, "model.hidden": 8}) == [
        "optimizer.lr=0.012346",
        "model.hidden=8",
    ]


def test_an_interval_that_is_none_is_named():
    with pytest.raises(
        ConfigError, match=r"model\.dropout=interval\(0\.5,0\.1\): .*; write it as interval\(LOW,HIGH\)"
    ):
        search_space(["model.dropout=interval(0.5,0.1)"], groups_of(None))
    with pytest.raises(ConfigError, match="no key has several values"):
        search_space(["epochs=3"], groups_of(None))


@pytest.mark.parametrize("sampler", ["tpe", "cmaes"])
def test_a_search_finds_the_top_sooner_than_chance(tmp_path, sampler):
    """Three searches of forty trials each: the regret, 1 minus the best, in the mean."""

    def regret(sampler, seed):
        folder = tmp_path / f"{sampler}{seed}"
        folder.mkdir()
        space, fixed = search_space([*TINY, LR, DROPOUT], groups_of(None))
        chosen = settings(sampler=sampler, trials=40, seed=seed)
        searched = Search(
            open_study(folder, chosen, space), chosen, 40, space, fixed, Composer(), folder, 1, Simulated(folder)
        )
        searched.go()
        return 1 - searched.study.best_value

    seeds = range(3)
    assert sum(regret(sampler, seed) for seed in seeds) < 0.7 * sum(regret("random", seed) for seed in seeds)


def test_a_grid_is_run_once_and_ends(search):
    searched, ran = search("optimizer.lr=0.1,0.01", "model.dropout=0,0.1,0.2", sampler="grid", trials=6)
    assert len(ran) == 6
    assert searched.study.best_trial.params == {"optimizer.lr": "0.01", "model.dropout": "0.2"}
    assert len({tuple(trial.params.items()) for trial in searched.study.trials}) == 6
    assert search("optimizer.lr=0.1,0.01", "model.dropout=0,0.1,0.2", sampler="grid", trials=6)[1] == []


def test_what_cannot_be_drawn_is_told(search):
    with pytest.raises(
        ConfigError, match=r"optimizer\.lr: an interval has no grid; write its values as optimizer\.lr="
    ):
        search(LR, "optimizer=sgd,adam", sampler="grid")
    with pytest.raises(ConfigError, match="search=cmaes: draws numbers from intervals, optimizer has choices"):
        search(LR, "optimizer=sgd,adam", sampler="cmaes")
    with pytest.raises(ConfigError, match="search=cmaes: needs two intervals or more"):
        search(LR, sampler="cmaes")


def test_a_search_goes_on_to_its_total_without_drawing_the_same_again(search):
    first, ran = search(trials=4)
    assert len(ran) == 4
    drawn = [trial.params for trial in first.study.trials]
    whole, more = search(trials=9)
    assert len(more) == 5
    assert len({trial.params["optimizer.lr"] for trial in whole.study.trials}) == 9
    assert [trial.params for trial in whole.study.trials[:4]] == drawn
    assert search(trials=9)[1] == []


def test_a_torn_journal_is_cut_back_to_its_last_whole_line(search, tmp_path):
    search(trials=3)
    with (tmp_path / JOURNAL).open("ab") as journal:
        journal.write(b'{"op_code": 4, "worker_id": "x", "stu')
    searched, ran = search(trials=5)
    assert (len(ran), states(searched)) == (2, ["COMPLETE"] * 5)


def test_trials_that_were_begun_are_run_before_others_are_drawn(search, tmp_path):
    searched, _ = search(trials=2)
    begun = searched.study.ask(searched.space)
    again, ran = search(trials=3)
    assert [name for name, _ in ran] == [f"{begun.number}-simple-synthetic"]
    assert states(again) == ["COMPLETE"] * 3


def test_failed_trials_are_told_and_count(search):
    searched, ran = search(trials=5, fails=(2, 4))
    assert len(ran) == 5
    assert states(searched) == ["COMPLETE", "FAIL", "COMPLETE", "FAIL", "COMPLETE"]


def test_what_comes_to_the_same_is_run_once(search):
    searched, ran = search("optimizer.lr=0.1,0.01", trials=8)
    assert len(ran) == 2
    assert states(searched) == ["COMPLETE"] * 8
    values = {trial.params["optimizer.lr"]: trial.value for trial in searched.study.trials}
    assert [trial.value for trial in searched.study.trials] == [
        values[t.params["optimizer.lr"]] for t in searched.study.trials
    ]


def test_of_two_objectives_the_front_is_found(search):
    searched, _ = search(trials=20, objectives=["best_val_accuracy", "train_seconds"])
    front = sorted(trial.values for trial in searched.study.best_trials)
    assert all(a[0] < b[0] and a[1] < b[1] for a, b in itertools.pairwise(front))


def test_halving_takes_the_best_third_on_and_resumes_it(search):
    searched, ran = search(trials=9, reduction=3, at_once=9, sampler="random")
    assert rungs(3, 3) == [1]
    assert [pause for _, pause in ran] == [1] * 9 + [None] * 3
    best = sorted(searched.study.trials, key=lambda trial: -trial.intermediate_values[1])[:3]
    assert {name for name, pause in ran if pause is None} == {f"{trial.number}-simple-synthetic" for trial in best}
    assert {trial.number for trial in searched.study.trials if trial.state.name == "COMPLETE"} == {
        t.number for t in best
    }
    assert states(searched).count("PRUNED") == 6


def test_the_rungs_are_shares_of_the_training():
    assert rungs(27, 3) == [1, 3, 9]
    assert rungs(30, 3) == [1, 3, 10]
    assert rungs(2, 3) == []


SEARCH = ["train", "-m", *TINY, LR, "hydra.sweep.dir=search", "checkpoint.every_seconds=0.01"]


def test_a_search_tests_its_best_trial_and_no_other(cnnbench, tmp_path):
    exit_code, out, err = cnnbench(*SEARCH, "search=random", "search.trials=3")
    assert exit_code == 0, err
    runs = [summary(path) for path in sorted((tmp_path / "search").glob("*-simple-*"))]
    best = max(runs, key=lambda one: one["best_val_accuracy"])
    assert [one["test_reads"] for one in runs] == [int(one is best) for one in runs]
    assert f"{100 * best['test_accuracy']:.2f} % of the test images, which were read once, and by no other trial" in out
    record = json.loads((tmp_path / "search" / "sweep.json").read_text())
    assert record["counts"] == {"finished": 3}
    again = cnnbench("resume", "search")
    assert (again[0], again[1].splitlines()[0]) == (0, "3 of 3 trials were drawn before")
    assert [summary(path)["test_reads"] for path in sorted((tmp_path / "search").glob("*-simple-*"))] == [
        one["test_reads"] for one in runs
    ]
    assert cnnbench("compare", "search", "--metric", "best_val_accuracy")[0] == 0


def test_a_killed_search_goes_on_with_the_trials_it_had_drawn(tmp_path):
    command = [*SEARCH, "epochs=40", "search=tpe", "search.trials=4"]
    for number in range(2):
        process = start(*(command if number == 0 else ["resume", "search"]), cwd=tmp_path)
        wait_until(
            lambda n=number: (tmp_path / "search" / f"{n + 1}-simple-synthetic" / "metrics.jsonl").exists(), process
        )
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
    first = (tmp_path / "search" / "0-simple-synthetic" / "metrics.jsonl").read_bytes()
    exit_code, out, err = run("resume", "search", cwd=tmp_path)
    assert exit_code == 0, err
    assert "4 trials: 4 finished" in out
    assert len(list((tmp_path / "search").glob("*-simple-synthetic"))) == 4
    assert (tmp_path / "search" / "0-simple-synthetic" / "metrics.jsonl").read_bytes() == first
    assert "resumed" in (tmp_path / "search" / "2-simple-synthetic" / "train.log").read_text()


def test_halving_with_real_runs_resumes_them_from_their_checkpoints(tmp_path):
    exit_code, out, err = run(*SEARCH, "search=halving", "search.trials=6", cwd=tmp_path)
    assert exit_code == 0, err
    assert "6 trials: 2 finished, 4 stopped early" in out
    ended = [summary(path)["status"] for path in (tmp_path / "search").glob("*-simple-*")]
    assert sorted(ended) == ["finished"] * 2 + ["interrupted"] * 4


@pytest.mark.parametrize("at_once", [1, 2])
def test_a_trial_that_learns_nothing_is_stopped_early_and_stays_so(tmp_path, at_once):
    learns, does_not = [f"0.0{digit}" for digit in range(3, 9)], "1e-9"
    command = [text for text in SEARCH if text != LR and not text.startswith("checkpoint")]
    early = ["search.stop_hopeless=true", "search=grid", f"search.at_once={at_once}", "seed=1", "epochs=200"]
    parallel = ["sweep=joblib", "hydra.launcher.n_jobs=2"] if at_once == 2 else []
    lrs = f"optimizer.lr={','.join([*learns, does_not])}"
    exit_code, out, err = run(*command, lrs, *early, *parallel, cwd=tmp_path)
    assert exit_code == 0, err
    assert " stopped early" in out
    stopped = tmp_path / "search" / "6-simple-synthetic"
    epochs = metrics(stopped)
    assert 50 <= len(epochs) < 200
    assert run("resume", "search", cwd=tmp_path)[0] == 0
    assert (summary(stopped)["status"], metrics(stopped)) == ("interrupted", epochs)


def test_failing_trials_are_listed_and_the_others_go_on(tmp_path):
    seeds = ["seed=0,1,2", "optimizer.lr=0.01"]
    command = [text for text in SEARCH if text != LR]
    exit_code, out, err = run(*command, *seeds, "search=grid", cwd=tmp_path, **broken(s1="kill"))
    assert exit_code == 5
    assert "3 trials: 2 finished, 1 failed" in out
    assert "error: search/1-simple-synthetic: killed by SIGKILL" in err


@pytest.mark.parametrize("objectives", ["[best_val_accuracy]", "[best_val_accuracy,train_seconds]"])
def test_a_trial_that_diverges_is_an_outcome_that_the_sampler_remembers(cnnbench, tmp_path, objectives):
    command = [text for text in SEARCH if text != LR]
    lrs = ["optimizer=sgd", "optimizer.lr=1e6,0.01", "search=grid", f"search.objectives={objectives}"]
    exit_code, out, err = cnnbench(*command, *lrs)
    assert exit_code == 0, err
    assert "2 trials: 1 finished, 1 diverged" in out
    assert [summary(path)["exit_code"] for path in sorted((tmp_path / "search").glob("*-simple-*"))] == [3, 0]
    assert cnnbench("resume", "search")[0] == 0


@pytest.mark.parametrize(
    ("overrides", "finding"),
    [
        (["search.objectives=[test_accuracy]"], "test_accuracy is of the test, which a search must not see"),
        (["search.objectives=[a,b,c]"], "search.objectives: should be one or two"),
        (
            ["search.objectives=[best_val_acuracy]"],
            "search.objectives: best_val_acuracy: no such metric; did you mean 'best_val_accuracy'?",
        ),
        (["search.trials=0"], "search.trials=0: should be a whole number >= 1"),
        (["optimizer.lr=interval(-1,1)"], "optimizer.lr=-1.0: should be a number > 0"),
        (["optimizer.lrr=interval(0,1)"], "optimizer.lrr: unknown key; did you mean optimizer.lr="),
        (["--dry-run"], "--dry-run: what a search will try is not known before"),
        (["search=hyperband"], "search=hyperband: no such search"),
    ],
)
def test_mistakes_are_told_before_the_first_trial(cnnbench, tmp_path, overrides, finding):
    words = SEARCH if not any("optimizer.lr" in text for text in overrides) else [t for t in SEARCH if t != LR]
    chosen = [] if any(text.startswith("search=") for text in overrides) else ["search=tpe"]
    exit_code, _, err = cnnbench(*words, *chosen, *overrides)
    assert exit_code == 2
    assert finding in err
    assert not list((tmp_path / "search").glob("*-simple-*"))
