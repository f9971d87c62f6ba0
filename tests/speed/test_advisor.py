import json
from datetime import timedelta

import pytest
import torch
from tiny import TINY, summary

from cnnbench.assemble import make_model
from cnnbench.config.compose import compose
from cnnbench.data.find import find_data, read_splits
from cnnbench.device import TORCH_THREADS, make_device
from cnnbench.machine import Load
from cnnbench.speed import advisor
from cnnbench.speed import trials as contest_module
from cnnbench.speed.advisor import (
    advice_line,
    advise,
    age_in_words,
    best,
    cache_file,
    free_threads,
    hold_contest,
    open_settings,
    rival_of,
)
from cnnbench.speed.trials import Contest, Trial

AUTO = [*TINY[2:], "device=auto"]
IDLE = Load(0.0)
ALL = ["precision", "memory_format", "compile", "threads"]


def trial(seconds, loss=2.3, first=0.1, **policy):
    settings = {"precision": "fp32", "memory_format": "contiguous", "threads": 1} | policy
    return Trial(make_device("cpu", **settings), first, [seconds], loss)


class Scripted:
    """A contest whose times are given by policy; nothing is trained."""

    def __init__(self, seconds, first=0.0):
        self.seconds, self.first, self.clock, self.entered = seconds, first, 0.0, []

    def spent(self):
        return self.clock

    def enter(self, device):
        self.entered.append(device.policy())
        step = self.seconds(device)
        self.clock += 2 * step
        return Trial(device, self.first if device.compile else step, [step], 2.3)

    def race(self, trials, budget, rounds=5):
        pass


def test_the_fastest_whose_loss_agrees_is_chosen():
    exact, wrong, right = trial(1.0), trial(0.1, loss=3.0, precision="bf16"), trial(0.5, loss=2.31, precision="bf16")
    assert best([exact, wrong, right]) is right
    assert best([wrong, exact]) is exact


def test_one_that_failed_or_gave_no_number_is_never_chosen():
    failed = Trial(make_device("cpu", "bf16", "contiguous"), problem="no memory")
    assert best([failed, trial(0.1, loss=float("nan"), precision="bf16"), fine := trial(1.0)]) is fine


def test_among_equals_the_first_is_chosen():
    assert best([first := trial(1.0), trial(0.98, threads=2)]) is first


def test_compiling_is_chosen_only_where_the_remaining_steps_pay_for_it():
    plain, compiled = trial(1.0), trial(0.5, first=30.0, compile=True)
    assert best([plain, compiled], steps=50) is plain
    assert best([plain, compiled], steps=100) is compiled


def test_a_short_run_is_not_measured_beyond_its_first_steps():
    contest = Scripted(lambda device: 0.01)
    advice = hold_contest(contest, make_device("cpu", "fp32", "channels_last", threads=1), ALL, steps=100)
    assert len(contest.entered) == 1
    assert advice["chosen"] == contest.entered[0]
    assert advice["budget_seconds"] == pytest.approx(0.05)


@pytest.mark.parametrize(("steps", "budget"), [(1000, 0.5), (10_000, 5.0), (1_000_000, 10.0)])
def test_the_budget_is_a_twentieth_of_the_run_and_at_most_ten_seconds(steps, budget):
    contest = Scripted(lambda device: 0.01)
    advice = hold_contest(contest, make_device("cpu", "fp32", "channels_last", threads=1), ["memory_format"], steps)
    assert advice["budget_seconds"] == pytest.approx(budget)
    assert contest.clock <= budget


def test_every_open_setting_is_tried_and_the_best_of_each_kept(monkeypatch):
    monkeypatch.setattr(advisor, "TORCH_THREADS", 8)
    monkeypatch.setattr(advisor, "computes_in", lambda precision, kind: precision in ("fp32", "bf16"))

    def seconds(device):
        slow = {"fp32": 2, "bf16": 1}[device.precision] * (1 + (device.memory_format == "contiguous"))
        return 0.001 * slow * (1 + (device.threads != 4))

    contest = Scripted(seconds)
    first = make_device("cpu", "fp32", "contiguous", threads=8)
    chosen = hold_contest(contest, first, ALL, steps=10**6)["chosen"]
    assert chosen == {"precision": "bf16", "memory_format": "channels_last", "compile": False, "threads": 4}
    assert {policy["threads"] for policy in contest.entered} == {1, 4, 8}


def test_compiling_is_tried_only_in_long_runs():
    first = make_device("cpu", "fp32", "contiguous", threads=1)
    for steps, tried in ((10_000, False), (1_000_000, True)):
        contest = Scripted(lambda device: 0.02 if device.compile else 0.04, first=50.0)
        chosen = hold_contest(contest, first, ["compile"], steps)["chosen"]
        assert (any(policy["compile"] for policy in contest.entered), chosen["compile"]) == (tried, tried)


def test_on_a_gpu_cuda_graphs_are_an_alternative(monkeypatch):
    device = make_device("cpu", "fp32", "contiguous", threads=1)
    device.torch_device = torch.device("cuda")
    monkeypatch.setattr(advisor, "make_device", lambda kind, **policy: policy["compile"])
    assert list(advisor.compile_alternatives(device, ALL)) == [True, "reduce-overhead"]


def test_busy_cores_are_left_to_others():
    assert free_threads(Load(0.2)) == TORCH_THREADS
    assert free_threads(Load(TORCH_THREADS + 5)) == 1


def test_of_stolen_time_no_threads_are_given_up():
    assert free_threads(Load(0.0, stolen=0.6)) == TORCH_THREADS


def test_threads_are_timed_before_precisions(monkeypatch):
    monkeypatch.setattr(advisor, "TORCH_THREADS", 2)
    monkeypatch.setattr(advisor, "computes_in", lambda precision, kind: precision in ("fp32", "bf16"))
    contest = Scripted(lambda device: 0.01 / device.threads)
    hold_contest(contest, make_device("cpu", "fp32", "channels_last", threads=1), ALL, steps=10_000)
    first, second, third, *_ = contest.entered
    assert (first["threads"], second["threads"]) == (1, 2)
    assert third["precision"] == "bf16"
    assert third["threads"] == 2


def test_what_the_user_sets_is_left_alone():
    config = compose([*AUTO, "device.precision=fp32", "device.threads=1"])
    assert open_settings(config) == ["memory_format", "compile"]


def test_a_contest_trains_copies_only_and_starts_each_from_the_same_weights(monkeypatch):
    monkeypatch.setattr(contest_module, "HOPELESS", 1e9)
    config = compose([*AUTO, "device.threads=1"])
    source = find_data(config.data)
    splits = read_splits(source, config.data, config.seed)
    model = make_model(config, source.image_shape, source.num_classes)
    before = [parameter.clone() for parameter in model.parameters()]
    contest = Contest(config, splits, model)
    trials = [
        contest.enter(make_device("cpu", "fp32", layout, threads=1)) for layout in ("contiguous", "channels_last")
    ]
    contest.race(trials, budget=60)
    assert trials[0].loss == pytest.approx(trials[1].loss, rel=1e-5)
    assert all(torch.equal(*pair) for pair in zip(before, model.parameters(), strict=True))
    assert len(trials[0].seconds) > 1


def test_a_policy_that_fails_is_a_trial_with_a_problem():
    config = compose(AUTO)
    source = find_data(config.data)
    splits = read_splits(source, config.data, config.seed)
    model = make_model(config, source.image_shape, source.num_classes)
    device = make_device("cpu", "fp32", "contiguous", threads=1)

    def refuse(model):
        raise RuntimeError("no compiler\nlong story")

    device.compiled = refuse
    assert Contest(config, splits, model).enter(device).problem == "no compiler"


def test_a_run_notes_all_timings_and_the_next_one_asks_the_cache(cnnbench, tmp_path, monkeypatch):
    monkeypatch.setattr(advisor, "check", lambda *_: None)
    monkeypatch.setattr("cnnbench.machine.LoadMeter.load", lambda self: Load(0.0))
    runs = [tmp_path / name for name in ("first", "second")]
    for run in runs:
        assert cnnbench("train", *AUTO, "epochs=40", f"hydra.run.dir='{run}'")[0] == 0
    first, second = (json.loads((run / "environment.json").read_text())["advice"] for run in runs)
    assert (first["cached"], second["cached"]) == (False, True)
    assert first["trials"][0].keys() >= {*ALL, "step_seconds", "loss", "problem"}
    assert {key: summary(runs[1])[key] for key in ALL} == second["chosen"] == first["chosen"]


class Asked:
    """`advise` for one run, again and again, on a machine whose steps take what `seconds` says."""

    def __init__(self, monkeypatch, seconds, epochs=10_000):
        config = compose([*AUTO, "device.compile=false", f"epochs={epochs}"])
        source = find_data(config.data)
        splits = read_splits(source, config.data, config.seed)
        model = make_model(config, source.image_shape, source.num_classes)
        monkeypatch.setattr(advisor, "TORCH_THREADS", 2)
        monkeypatch.setattr(advisor, "Contest", lambda *_: Scripted(lambda device: self.seconds(device)))
        self.seconds = seconds
        self.work = config, splits, model, make_device("cpu", "fp32", "channels_last", threads=1)

    def __call__(self, load=IDLE):
        device, advice = advise(*self.work, load)
        return device.threads, advice

    def file(self, load):
        return cache_file(*self.work, load)


@pytest.fixture
def wait(monkeypatch):
    """Lets so many seconds pass, by the advisor's clock."""

    def pass_by(seconds, now=advisor.now):
        later = now() + timedelta(seconds=seconds)
        monkeypatch.setattr(advisor, "now", lambda: later)

    return pass_by


def test_an_answer_is_taken_unseen_for_ten_minutes_after_it_held(monkeypatch, wait):
    ask = Asked(monkeypatch, lambda device: 0.01 / device.threads)
    ask()
    looks = []
    for seconds in (590, 610, 1200, 1220):
        wait(seconds)
        advice = ask()[1]
        looks.append((advice["cached"], advice["check"] is not None))
    assert looks == [(True, False), (True, True), (True, False), (True, True)]


def test_a_kept_answer_that_still_holds_is_taken_after_a_look_at_its_rival(monkeypatch, wait):
    ask = Asked(monkeypatch, lambda device: 0.01 / device.threads)
    assert ask()[0] == 2
    wait(3600)
    threads, advice = ask()
    assert (threads, advice["cached"], advice["check"]["holds"]) == (2, True, True)
    assert advice["check"]["rival"]["threads"] == 1
    assert advice_line(advice) == "chosen by a measurement 1 hour ago, still faster than 1 thread"


def test_a_kept_answer_that_is_wrong_by_now_is_mended(monkeypatch, wait):
    ask = Asked(monkeypatch, lambda device: 0.01 * device.threads)
    assert ask()[0] == 1
    wait(3600)
    ask.seconds = lambda device: 0.01 / device.threads
    threads, advice = ask()
    assert (threads, advice["cached"], advice["check"]["holds"]) == (2, False, False)
    assert "an earlier answer no longer held" in advice_line(advice)
    assert ask()[1]["cached"]  # the mended answer is the one kept


def test_an_answer_serves_only_under_the_load_it_was_found_under(monkeypatch):
    ask = Asked(monkeypatch, lambda device: 0.01 / device.threads)
    ask(Load(0.0))
    assert not ask(Load(1.0))[1]["cached"]
    assert not ask(Load(0.0, stolen=0.4))[1]["cached"]
    assert ask(Load(0.2, stolen=0.05))[1]["cached"]


def test_a_run_too_short_to_check_a_kept_answer_takes_it(monkeypatch, wait):
    ask = Asked(monkeypatch, lambda device: 0.01 / device.threads, epochs=5)
    ask()
    wait(3600)
    assert ask()[1]["check"] is None


@pytest.mark.parametrize("damage", [b"", b"[]", b"{}", b'{"chosen": 3}'])
def test_a_kept_answer_that_cannot_be_read_is_measured_again(monkeypatch, damage):
    ask = Asked(monkeypatch, lambda device: 0.01 / device.threads)
    ask()
    ask.file(Load(0.0)).write_bytes(damage)
    assert not ask()[1]["cached"]


def test_an_answer_says_its_age(monkeypatch, wait):
    ask = Asked(monkeypatch, lambda device: 0.01 / device.threads)
    ask()
    wait(49 * 3600)
    assert "2 days ago" in advice_line(ask()[1])
    assert [age_in_words(seconds) for seconds in (0, 60, 7200)] == ["0 seconds", "1 minute", "2 hours"]


def test_the_rival_has_other_threads_where_such_were_timed_else_it_is_the_fastest_other():
    def timed(seconds, **policy):
        return trial(seconds, **policy).report()

    chosen = timed(1.0, precision="bf16", threads=2)
    nearest, other = timed(1.1, threads=2), timed(3.0, threads=1)
    advice = {"chosen": {key: chosen[key] for key in ALL}, "trials": [chosen, nearest, other]}
    assert rival_of(advice)["threads"] == 1
    assert rival_of(advice | {"trials": [chosen, nearest]})["precision"] == "fp32"
    assert rival_of(advice | {"trials": [chosen]}) is None


def test_resuming_and_evaluating_keep_the_policy_of_the_run(cnnbench, tmp_path, monkeypatch):
    run = tmp_path / "run"
    monkeypatch.setattr(advisor, "hold_contest", lambda contest, device, *_: {
        "chosen": device.policy() | {"precision": "fp32", "memory_format": "contiguous", "threads": 1},
        "budget_seconds": 1.0, "planned_seconds": 1.0, "planned_steps": 1, "trials": [],
    })  # fmt: skip
    assert cnnbench("train", *AUTO, f"hydra.run.dir='{run}'")[0] == 0
    assert summary(run)["memory_format"] == "contiguous"
    document = json.loads(cnnbench("evaluate", run, "--json")[1])
    assert document["accuracy"] == summary(run)["test_accuracy"]
    assert document["loss"] == summary(run)["test_loss"]


def test_the_line_says_what_was_gained_and_what_it_took():
    timed = {"step_seconds": 2.0, "compile": False, "threads": 1, "memory_format": "contiguous", "precision": "fp32"}
    chosen = timed | {"precision": "bf16", "step_seconds": 1.0}
    policy = {key: chosen[key] for key in ALL}
    advice = {"chosen": policy, "trials": [timed, chosen], "spent_seconds": 1.25, "cached": False, "check": None}
    assert advice_line(advice) == "fastest of 2 timed in 1.2 s, 2.0x fp32"
    assert "rule" in advice_line(advice | {"trials": [chosen]})
