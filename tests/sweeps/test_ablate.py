import itertools
import json
import re
import signal

import pytest
from processes import start, wait_until
from tiny import TINY, summary

from cnnbench.config.compose import compose
from cnnbench.config.tables import conf_folder
from cnnbench.errors import ConfigError, DataError
from cnnbench.runs.identity import group_hash
from cnnbench.sweeps.ablation import Ablation, choose_techniques, combine, make_variants, read_ablation, refuse_equal
from cnnbench.sweeps.ablation_folder import Plan, PlannedVariant, all_jobs, is_done, merged
from cnnbench.sweeps.effects import contrasts, describe_effect, measure_effects, read_groups

ABC = Ablation(["model=simple"], {"a": ["regularization=[l1]"], "b": ["regularization=[mixup]"], "c": ["epochs=2"]})
TWO = ["techniques=[dropout,l1]", "seeds=2"]
TINY_RUN = [*TINY, "epochs=1"]


def by_name(mode):
    return {variant.name: variant for variant in make_variants(ABC, mode, ["batch_size=8"])}


# What to run


def test_adding_one_gives_the_baseline_and_it_with_each_technique():
    variants = by_name("add_one")
    assert list(variants) == ["baseline", "a", "b", "c"]
    assert variants["baseline"].overrides == ["model=simple", "batch_size=8"]
    assert variants["c"].overrides == ["model=simple", "batch_size=8", "epochs=2"]


def test_leaving_one_gives_all_techniques_and_all_but_each():
    variants = by_name("leave_one")
    assert list(variants) == ["all", "without_a", "without_b", "without_c"]
    assert variants["all"].overrides == ["model=simple", "batch_size=8", "regularization=[l1,mixup]", "epochs=2"]
    assert variants["without_a"].overrides == ["model=simple", "batch_size=8", "regularization=[mixup]", "epochs=2"]


def test_pairs_are_every_two_techniques_beside_each_alone():
    variants = by_name("pairs")
    assert list(variants) == ["baseline", "a", "b", "c", "a+b", "a+c", "b+c"]
    assert variants["a+b"].techniques == ("a", "b")
    assert variants["a+b"].overrides == ["model=simple", "batch_size=8", "regularization=[l1,mixup]"]


@pytest.mark.parametrize(
    ("lists", "techniques", "expected"),
    [
        ([["epochs=1", "epochs=2"]], [["epochs=3"]], ["epochs=3"]),
        ([["optimizer=sgd", "optimizer.nesterov=false"]], [["optimizer=adam"]], ["optimizer=adam"]),
        ([["optimizer=sgd", "optimizer.nesterov=false"], ["optimizer.lr=0.3", "optimizer=adam"]], [],
         ["optimizer.lr=0.3", "optimizer=adam"]),
        ([["optimizer=sgd", "++optimizer.lr=1", "optimizer={lr: 2}"]], [["optimizer=adam"]], ["optimizer=adam"]),
        ([["optimizer=sgd"], ["optimizer={lr: 2}"]], [], ["optimizer=sgd", "optimizer={lr: 2}"]),
        ([["optimizer=sgd"]], [["optimizer.lr=1"], ["optimizer=adam"]], ["optimizer=adam"]),
        ([["optimizer=sgd"]], [["optimizer.lr=1", "optimizer=adam"]], ["optimizer.lr=1", "optimizer=adam"]),
        ([["augmentation=[flip]"]], [["augmentation=cutout"], ["augmentation=[flip, rotate]"]],
         ["augmentation=[flip,cutout,rotate]"]),
        ([["augmentation=none"]], [["augmentation=flip"]], ["augmentation=[flip]"]),
        ([["regularization=[ema]", "regularization=[]"]], [], ["regularization=[]"]),
        ([["augmentation.flip.vertical=true"]], [["augmentation=[flip]"]],
         ["augmentation.flip.vertical=true", "augmentation=[flip]"]),
    ],
)  # fmt: skip
def test_later_overrides_win_choices_take_their_settings_along_and_lists_add_up(lists, techniques, expected):
    assert combine(lists, techniques) == expected


@pytest.mark.parametrize(
    "given",
    list(
        itertools.permutations(
            ["optimizer=sgd", "optimizer.lr=0.3", "regularization=[ema]", "regularization.ema.decay=0.5"]
        )
    ),
    ids=" ".join,
)
def test_what_is_given_is_trained_in_any_order_as_train_takes_it(given):
    variants = {v.name: compose(v.overrides) for v in make_variants(ABC, "add_one", given)}
    assert variants["baseline"] == compose([*ABC.baseline, *given])
    assert variants["c"].optimizer["lr"] == 0.3
    assert variants["a"].regularization["ema"]["decay"] == 0.5


@pytest.mark.parametrize("mode", ["add_one", "leave_one"])
@pytest.mark.parametrize("name", sorted(path.stem for path in (conf_folder() / "ablation").glob("*.yaml")))
def test_every_variant_of_every_ablation_composes_and_differs_from_the_others(name, mode):
    variants = make_variants(read_ablation(name), mode, ["data=digits"])
    refuse_equal({variant.name: group_hash(compose(variant.overrides).as_dict()) for variant in variants})


def test_two_variants_of_the_same_config_are_refused():
    with pytest.raises(ConfigError, match="b: the same config as a, one of its overrides sets what is set already"):
        refuse_equal({"a": "1", "b": "1", "c": "2"})


def test_techniques_are_taken_in_the_order_asked_for():
    assert list(choose_techniques(ABC, ["c", "a"]).techniques) == ["c", "a"]
    with pytest.raises(ConfigError, match="techniques="):
        choose_techniques(ABC, [])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a", "should hold `baseline` and `techniques`"),
        ("baseline: []\ntechniques: {}", "should map names to lists"),
        ("baseline: []\ntechniques: {a: [model.depth]}", "techniques.a: should be a list of overrides"),
        ("baseline: []\ntechniques: {a: [regularization=[l1]]}", "cannot be read"),
        ("baseline: x\ntechniques: {../a: [epochs=1]}", "techniques.../a: choose another name"),
    ],
)
def test_a_malformed_ablation_of_ones_own_is_named(tmp_path, text, message):
    (tmp_path / "ablation").mkdir()
    (tmp_path / "ablation" / "mine.yaml").write_text(text)
    with pytest.raises(ConfigError) as error:
        read_ablation("mine", str(tmp_path))
    assert message in str(error.value)
    assert "mine.yaml" in str(error.value)


# What is done


def plan_of(mode="add_one", seeds=2, **hashes):
    techniques = {"baseline": (), "all": ("a", "b"), "a": ("a",), "b": ("b",), "a+b": ("a", "b"), "without_a": ("b",)}
    variants = {name: PlannedVariant(techniques[name], [], value) for name, value in hashes.items()}
    return Plan("mine", mode, list(range(seeds)), [], [], {"a": [], "b": []}, variants)


def write_run(path, group, seed, **numbers):
    path.mkdir(parents=True)
    content = {"format": 1, "status": "finished", "group_hash": group, "seed": seed} | numbers
    (path / "summary.json").write_text(json.dumps(content))


def test_variants_take_turns_within_each_seed():
    jobs = all_jobs(plan_of(baseline="0", a="1"))
    assert [job.folder for job in jobs] == ["baseline-seed0", "a-seed0", "baseline-seed1", "a-seed1"]


def test_a_run_is_done_when_it_has_finished_with_the_same_config(tmp_path):
    write_run(tmp_path / "run", "1", 0)
    assert is_done(tmp_path / "run", "1")
    assert not is_done(tmp_path / "run", "2")
    assert not is_done(tmp_path / "other", "1")
    write_run(tmp_path / "failed", "1", 0, status="failed")
    assert not is_done(tmp_path / "failed", "1")


def test_a_plan_grows_by_seeds_and_techniques_but_never_changes(tmp_path):
    grown = merged(tmp_path, plan_of(seeds=3, baseline="0", a="1"), plan_of(seeds=2, baseline="0", b="2"))
    assert (grown.seeds, list(grown.variants)) == ([0, 1, 2], ["baseline", "a", "b"])
    with pytest.raises(DataError, match="other settings"):
        merged(tmp_path, plan_of(baseline="0"), plan_of(baseline="1"))
    with pytest.raises(DataError, match="mode=add_one"):
        merged(tmp_path, plan_of(baseline="0"), plan_of("pairs", baseline="0"))


# What it shows


def write_runs(folder, accuracies, **numbers):
    for name, values in accuracies.items():
        for seed, value in enumerate(values):
            more = {key: per_variant[name] for key, per_variant in numbers.items()}
            write_run(folder / f"{name}-seed{seed}", name, seed, test_accuracy=value, **more)


def effects_of(folder, mode, accuracies, **numbers):
    write_runs(folder, accuracies, **numbers)
    plan = plan_of(mode, len(next(iter(accuracies.values()))), **{name: name for name in accuracies})
    groups = read_groups(folder, plan, "test_accuracy")
    return {effect.technique: effect for effect in measure_effects(plan, groups, "test_accuracy", 0.002)}


def test_a_technique_that_adds_a_point_on_seven_seeds_helps_and_costs_what_it_takes(tmp_path):
    base = [0.90, 0.91, 0.92, 0.90, 0.91, 0.92, 0.93]
    gains = [0.010, 0.011, 0.012, 0.009, 0.010, 0.011, 0.012]
    accuracies = {"baseline": base, "a": [b + g for b, g in zip(base, gains, strict=True)], "b": base}
    seconds = {"baseline": 10.0, "a": 15.0, "b": 10.0}
    effects = effects_of(tmp_path, "add_one", accuracies, train_seconds=seconds, latency_ms=seconds)
    helped = effects["a"].comparison
    assert helped.difference.mean == pytest.approx(sum(gains) / 7)
    assert helped.p_holm == pytest.approx(2 * 2 / 2**7)  # the smallest p of seven pairs, of two comparisons
    assert helped.p_family == 2 / 2**7
    assert (helped.verdict, effects["b"].comparison.verdict) == ("helps", "no practical effect")
    ratios = effects["a"].time_ratio.ratio, effects["a"].latency_ratio.ratio
    assert ratios == pytest.approx((1.5, 1.5))


def test_leaving_out_what_helps_counts_as_help(tmp_path):
    effects = effects_of(tmp_path, "leave_one", {"all": [0.92, 0.93], "without_a": [0.90, 0.90]})
    assert effects["a"].comparison.difference.mean == pytest.approx(0.025)
    assert effects["a"].comparison.verdict == "undecided"


def test_a_pair_is_held_against_the_sum_of_its_techniques(tmp_path):
    accuracies = {"baseline": [0.5, 0.6], "a": [0.6, 0.7], "b": [0.7, 0.8], "a+b": [0.75, 0.84]}
    effects = effects_of(tmp_path, "pairs", accuracies)
    assert effects["a+b"].comparison.difference.mean == pytest.approx((0.25 + 0.24) / 2)
    assert effects["a+b"].interaction.mean == pytest.approx(((0.75 - 0.6 - 0.7 + 0.5) + (0.84 - 0.7 - 0.8 + 0.6)) / 2)
    assert effects["a"].interaction is None


def test_a_technique_without_a_run_is_described_too(tmp_path):
    effects = effects_of(tmp_path, "add_one", {"baseline": [0.5, 0.6], "a": []})
    described = describe_effect(effects["a"])
    assert (described["verdict"], described["difference"], described["time_ratio"]) == ("undecided", None, None)
    assert described["failures"]["candidate"]["share"] is None


def test_only_seeds_that_both_have_count(tmp_path):
    effects = effects_of(tmp_path, "add_one", {"baseline": [0.5, 0.6, 0.7], "a": [0.6]})
    assert effects["a"].comparison.difference.n_pairs == 1


def test_every_contrast_names_a_variant_with_and_one_without_the_technique():
    assert contrasts(plan_of("leave_one", all="0", without_a="1")) == {"a": ("all", "without_a")}
    assert contrasts(plan_of(baseline="0", a="1")) == {"a": ("a", "baseline")}


# The command


ABLATION = ["--yes", *TINY, *TWO, "hydra.sweep.dir=abl"]


def ablate(cnnbench, *arguments):
    epochs = [] if any(text.startswith("epochs=") for text in arguments) else ["epochs=1"]
    return cnnbench("ablate", *ABLATION, *epochs, *arguments)


def hashes(folder):
    return {path.name: summary(path)["weights_sha256"] for path in folder.glob("*-seed?")}


def test_an_ablation_ends_in_a_table_that_its_folder_gives_again(cnnbench, tmp_path):
    exit_code, out, err = ablate(cnnbench)
    assert exit_code == 0, err
    assert sorted(hashes(tmp_path / "abl")) == [f"{v}-seed{s}" for v in ("baseline", "dropout", "l1") for s in (0, 1)]
    assert len(set(hashes(tmp_path / "abl").values())) == 6
    assert re.search(r"6 runs, about \d\.\d s one after the other, into abl", out)
    assert "it takes seeds=6" in err
    table = out[out.index("Effect on test_accuracy") :]
    assert cnnbench("ablate", "--table", "abl")[1].strip() == table.strip()
    assert (tmp_path / "abl" / "forest.svg").read_text().startswith("<svg")
    lines = cnnbench("ablate", "--table", "abl", "--markdown", "metric=best_val_accuracy")[1].splitlines()
    assert [line.split(" | ")[0] for line in lines] == ["| technique", "| ---", "| dropout", "| l1"]


def test_every_variant_of_a_seed_has_the_split_of_that_seed(cnnbench, tmp_path):
    exit_code, out, err = ablate(cnnbench, "data.split_seed=null", "--json")
    assert exit_code == 0, err
    assert [effect["difference"]["n_pairs"] for effect in json.loads(out)["effects"]] == [2, 2]
    splits = {path.name: summary(path)["data_fingerprints"]["val"] for path in (tmp_path / "abl").glob("*-seed?")}
    assert splits["baseline-seed0"] == splits["l1-seed0"] != splits["l1-seed1"] == splits["dropout-seed1"]


def test_json_is_one_document_on_stdout_also_while_training(cnnbench, tmp_path):
    exit_code, out, err = ablate(cnnbench, "--json", "seeds=1")
    assert exit_code == 0, err
    document = json.loads(out)
    assert [effect["technique"] for effect in document["effects"]] == ["dropout", "l1"]
    runs = {name: summary(tmp_path / "abl" / f"{name}-seed0") for name in ("baseline", "dropout")}
    ratio = runs["dropout"]["latency_ms"] / runs["baseline"]["latency_ms"]
    assert document["effects"][0]["latency_ratio"] == pytest.approx(ratio)
    assert document["missing"] == {}


def test_an_interrupted_ablation_goes_on_without_repeating_what_is_done(cnnbench, tmp_path):
    process = start("ablate", *ABLATION, "epochs=30", "checkpoint.every_seconds=0.01", cwd=tmp_path)
    wait_until(lambda: (tmp_path / "abl" / "l1-seed0" / "metrics.jsonl").exists(), process)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 143
    assert err.splitlines()[-1].startswith("note: stopped; 4 of 6 jobs are to do, go on with: cnnbench resume abl")
    done = ("baseline-seed0", "dropout-seed0")
    before = {name: summary(tmp_path / "abl" / name)["weights_sha256"] for name in done}
    assert summary(tmp_path / "abl" / "l1-seed0")["status"] == "interrupted"
    exit_code, _, err = cnnbench("resume", "abl")
    assert exit_code == 2
    assert err.startswith("error: abl: is of `cnnbench ablate`; go on with: cnnbench ablate ")
    exit_code, out, _ = ablate(cnnbench, "epochs=30", "checkpoint.every_seconds=0.01")
    assert exit_code == 0
    assert "2 of 6 done already" in out
    assert [line[:6] for line in out.splitlines() if " of 6  " in line] == [f"{n} of 6" for n in range(3, 7)]
    assert "resumed at epoch" in (tmp_path / "abl" / "l1-seed0" / "train.log").read_text()
    after = hashes(tmp_path / "abl")
    assert len(after) == 6
    assert {name: after[name] for name in done} == before
    exit_code, out, _ = ablate(cnnbench, "epochs=30", "checkpoint.every_seconds=0.01")
    assert (exit_code, out.count("  test ")) == (0, 0)


def test_a_run_has_no_ablation(cnnbench):
    exit_code, _, err = cnnbench("train", "ablation=articles")
    assert exit_code == 2
    assert err.splitlines() == ["error: ablation=articles: a run has no such group; it is for `cnnbench ablate`"]


def test_the_time_is_estimated_with_the_threads_that_others_leave():
    from cnnbench.speed.duration import policy_of_a_run

    assert policy_of_a_run(compose(["device=auto"]), 3).threads == 3
    assert policy_of_a_run(compose(["device=cpu", "device.threads=1"]), 3).threads == 1


def test_a_failing_technique_is_named_and_the_others_are_shown(cnnbench, tmp_path):
    (tmp_path / "own" / "ablation").mkdir(parents=True)
    techniques = "{good: [model.dropout=0.5], bad: [optimizer.lr=1e9]}"
    text = f"# mine\nbaseline: [optimizer=sgd, optimizer.lr=0.01]\ntechniques: {techniques}\n"
    (tmp_path / "own" / "ablation" / "mine.yaml").write_text(text)
    arguments = [*TINY, "ablation=mine", "seeds=2", "--config-dir", "own", "hydra.sweep.dir=abl"]
    exit_code, out, err = cnnbench("ablate", "--yes", *arguments)
    assert exit_code == 5
    errors = [line for line in err.splitlines() if line.startswith("error: ")]
    assert [line.split(":")[1].strip() for line in errors] == ["abl/bad-seed0", "abl/bad-seed1"]
    assert all("diverged" in line for line in errors)
    rows = {line.split()[0]: line.split()[1] for line in out[out.index("Effect on") :].splitlines()[2:5]}
    assert rows == {"technique": "seeds", "good": "2", "bad": "0"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["techniques=[dropuot]"], "techniques=dropuot: no such technique; did you mean 'dropout'?"),
        (["ablation=article"], "ablation=article: no such ablation; did you mean 'articles'?"),
        (["mode=leaveone"], "mode=leaveone: should be one of add_one, leave_one, pairs"),
        (["seeds=0"], "seeds=0: should be a whole number >= 1"),
        (["seeds=1,2"], "seeds=seeds=1,2: should be"),
        (["seed=3"], "seed=3: ablate runs every variant with seeds 0, 1, ..."),
        (["techniques=[a"], "techniques=[a: cannot be read as KEY=VALUE"),
        (["optmizer=adam"], "optmizer: unknown key; did you mean optimizer=adam?"),
        (["optimizer=adam", "techniques=[optimizer]"], "optimizer: the same config as baseline"),
        (["model=lenet", "techniques=[depth]"], "depth: model.depth: unknown key"),
        (["hydra/launcher=nope"], "hydra/launcher=nope: no such launcher; choose from basic"),
        (["hydra/sweeper=basic"], "hydra/sweeper=basic: ablate chooses this"),
        (["+x._target_=os.system"], "x._target_: refused"),
        (["--table", "abl", "epochs=1"], "epochs=1: with --table only"),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_written(cnnbench, tmp_path, arguments, message):
    exit_code, out, err = cnnbench("ablate", *arguments)
    assert (exit_code, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert err.startswith(f"error: {message}")
    assert list(tmp_path.iterdir()) == []


def test_data_without_a_test_split_is_told_what_to_compare_by(cnnbench, monkeypatch):
    from cnnbench.speed import duration

    find_data = duration.find_data
    monkeypatch.setattr(duration, "find_data", lambda node: replace_has_test(find_data(node)))
    exit_code, _, err = ablate(cnnbench)
    assert exit_code == 65
    assert err.endswith("has no test split for test_accuracy; take metric=best_val_accuracy\n")


def replace_has_test(source):
    from dataclasses import replace

    return replace(source, has_test=False)


def test_a_folder_that_is_no_ablation_is_refused(cnnbench, tmp_path):
    assert cnnbench("ablate", "--table", ".")[0] == 65
    write_run(tmp_path / "abl" / "run", "1", 0)
    exit_code, _, err = ablate(cnnbench)
    assert exit_code == 65
    assert err.startswith("error: abl: holds runs of something else; choose another folder with hydra.sweep.dir=PATH")


def test_nothing_starts_when_the_answer_is_no(cnnbench, tmp_path, monkeypatch):
    monkeypatch.setattr("cnnbench.commands.ablate.confirm", lambda question: False)
    exit_code, out, _ = cnnbench("ablate", *TINY_RUN, *TWO, "hydra.sweep.dir=abl")
    assert exit_code == 0
    assert "6 runs" in out
    assert list(tmp_path.iterdir()) == []


def test_without_a_terminal_the_plan_is_shown_and_yes_has_to_be_said(cnnbench, tmp_path):
    exit_code, out, err = cnnbench("ablate", *TINY_RUN, *TWO, "hydra.sweep.dir=abl")
    assert exit_code == 2
    assert "6 runs" in out
    assert err.splitlines()[-1] == "error: start? nobody can be asked here; add --yes to start"
    assert list(tmp_path.iterdir()) == []


def test_a_technique_takes_the_time_of_its_runs_into_account(cnnbench):
    from cnnbench.assemble import configured_device
    from cnnbench.data.find import find_data
    from cnnbench.speed.duration import expected_seconds

    config = compose(TINY_RUN)
    source = find_data(config.data)
    device = configured_device(config)
    assert (
        expected_seconds(config, source, device, 10**6, 0) > 10 * expected_seconds(config, source, device, 10**3, 0) > 0
    )


def test_what_does_not_fit_the_epochs_in_one_technique_is_told_before_anything_is_written(cnnbench, tmp_path):
    own = tmp_path / "own" / "ablation"
    own.mkdir(parents=True)
    pruning = {"late": ["pruning.start_epoch=9"], "crossed": ["pruning.start_epoch=3", "pruning.end_epoch=2"]}
    techniques = {name: ["pruning=magnitude", *settings] for name, settings in pruning.items()}
    for name, settings in techniques.items():
        (own / f"{name}.yaml").write_text(json.dumps({"baseline": ["epochs=3"], "techniques": {"pruning": settings}}))
        arguments = [*TINY, "epochs=3", f"ablation={name}", "--config-dir", "own", "hydra.sweep.dir=abl"]
        exit_code, _, err = cnnbench("ablate", *arguments)
        assert exit_code == 2
        key = "start_epoch=9: the training has 3 epochs" if name == "late" else "end_epoch=2: before start_epoch"
        assert err.startswith(f"error: pruning: pruning.{key}")
        assert not (tmp_path / "abl").exists()
