import json
import os

import pytest
import yaml
from tiny import TINY, summary

from cnnbench.config.compose import compose
from cnnbench.disk import take_lock
from cnnbench.errors import ConfigError
from cnnbench.runs.read import read_config
from cnnbench.sweeps.launch import quoted


def lines(err):
    return [line.removeprefix("error: ") for line in err.splitlines()]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model=dep", "model=dep: no such model; did you mean 'deep'?"),
        ("model=null", "model=null: no such model"),
        ("model=[deep,simple]", "model=[deep,simple]: takes one model"),
        (
            "model.name=deep",
            "model.name=deep: would give the settings of one model to another; choose both with model=deep",
        ),
        ("+optimizer.name=sgd", "optimizer.name=sgd: would give the settings of one optimizer to another; choose both"),
        ("model={name:deep}", "model.name=deep: would give the settings"),
        (
            "regularization.ema.name=swa",
            "regularization.ema.name=swa: would give the settings of one regularization to "
            "another; choose both with 'regularization=[swa]'",
        ),
        ("+augmentation.flip.name=cutout", "augmentation.flip.name=cutout: would give the settings"),
        ("+regularization={ema:{name:swa}}", "regularization.ema.name=swa: would give the settings"),
        ("~model", "model: missing"),
        ("optmizer=adam", "optmizer: unknown key; did you mean optimizer=adam?"),
        ("optimizer.lrr=1", "optimizer.lrr: unknown key; did you mean optimizer.lr=1?"),
        ("+optimizer.foo=1", "optimizer.foo: unknown key"),
        ("+foo=1", "foo: unknown key"),
        ("+experiment=smoke", "Multiple values for experiment"),
        ("optimizer.lr=", "optimizer.lr=: should be a number > 0"),
        ("optimizer.lr=abc", "optimizer.lr=abc: should be a number > 0"),
        ("optimizer.lr=nan", "optimizer.lr=nan: should be a number > 0"),
        ("optimizer.lr=-1", "optimizer.lr=-1: should be a number > 0"),
        ("epochs=0", "epochs=0: should be a whole number >= 1"),
        ("batch_size=1.5", "batch_size=1.5: should be a whole number >= 1"),
        ("target.value=2", "target.value=2: should be a number > 0 and <= 1 or null"),
        ("regularization=[mixup,emma]", "regularization=emma: no such regularization; did you mean 'ema'?"),
        ("experiment=smoek", "experiment=smoek: no such experiment; did you mean 'smoke'?"),
        ("model.widths=[1,2", "model.widths=[1,2: cannot be read as KEY=VALUE"),
        ("model=дееп", "model=дееп: cannot be read as KEY=VALUE"),
        ("model=deep,simple", "model=deep,simple: several values; sweep over them with -m"),
        ("model.hidden=${nope}", "model.hidden: Interpolation key 'nope' not found"),
        ("", ": cannot be read as KEY=VALUE"),
        ("=3", "=3: has no key"),
        ("-m --cfg=job", "only one of -m, --cfg, --info and --run can be given"),
        ("--foo", "--foo: no such flag"),
        ("--config-name=x", "--config-path and --config-name are not supported"),
        ("--config-dir=/nope", "--config-dir=/nope: no such folder"),
        ("model._target_=os.system", "model._target_: refused, a config must not run code"),
        ("+hydra.callbacks.x.y=1", "+hydra.callbacks.x.y=1: refused, Hydra's own keys"),
    ],
)
def test_a_mistake_is_one_line_and_makes_no_folder(cnnbench, tmp_path, override, message):
    exit_code, out, err = cnnbench("train", *(override.split() if override.startswith("-") else [override]))
    assert (exit_code, out) == (2, "")
    assert len(lines(err)) == 1
    assert lines(err)[0].startswith(message)
    assert list(tmp_path.iterdir()) == []


def test_mistakes_of_every_kind_are_told_at_once(cnnbench, tmp_path):
    wrong = ["model=dep", "model.stride=2", "data.root=[", "optimizer=adam,sgd", "epohcs=3", "+foo=1", "batch_size=0"]
    exit_code, _, err = cnnbench("train", *wrong, "loss.label_smoothing=2", "regularization=[emma]")
    assert exit_code == 2
    assert sorted(line.split(":")[0].split("=")[0] for line in lines(err)) == [
        "batch_size", "data.root", "epohcs", "foo", "loss.label_smoothing", "model", "optimizer", "regularization",
    ]  # fmt: skip
    assert list(tmp_path.iterdir()) == []


def test_a_kernel_larger_than_its_map_is_named_before_a_folder_is_made(cnnbench, tmp_path):
    wrong = ["model=plain", "model.padding=0", "model.kernel_size=11", "data=digits"]
    exit_code, _, err = cnnbench("train", *wrong, f"hydra.run.dir={tmp_path / 'run'}")
    assert exit_code == 2
    assert "kernel 11 is larger than its 8x8 map" in lines(err)[0]
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("sweep", "message"),
    [
        (["model=deep,simpel"], "model=simpel: no such model; did you mean 'simple'?"),
        (["seed=0,1", "optimizer.lr=0.1,nan"], "optimizer.lr=nan: should be a number > 0"),
        (["seed=0,1", "epohcs=3"], "epohcs: unknown key; did you mean epochs=3?"),
        (["model=plain,simple", "model.stride=1,-2"], "model.stride=-2: should be a whole number"),
        (["optimizer=rmsprop,adamw", "optimizer.nesterov=true"], "optimizer.nesterov: unknown key"),
        (["seed=0,1", "sweep.retries=-1"], "sweep.retries=-1: should be a whole number >= 0"),
        (["seed=0,1", "sweep.retires=1"], "sweep.retires: unknown key; did you mean sweep.retries=1?"),
        (["seed=0,1", "sweep=slrum"], "sweep=slrum: no such sweep; did you mean 'slurm'?"),
        (["regularization=[mixup],[ema,emma]"], "regularization=emma: no such regularization; did you mean 'ema'?"),
    ],
)
def test_a_mistake_among_the_values_of_a_sweep_stops_it_before_the_first_job(cnnbench, tmp_path, sweep, message):
    exit_code, _, err = cnnbench("train", "-m", *sweep)
    assert exit_code == 2
    assert [line for line in lines(err) if not line.startswith(message)] == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("sweep", "finding"),
    [
        (
            ["epochs=20,3", "pruning=magnitude", "pruning.start_epoch=1,9"],
            "pruning.start_epoch=9: the training has 3 epochs; set it to at most 3, or to a share of them as 0.5, "
            "or raise epochs (1 of 4 configs, the first: epochs=3 pruning.start_epoch=9)",
        ),
        (
            ["pruning=magnitude", "pruning.start_epoch=1,0.9", "pruning.end_epoch=0.5"],
            "pruning.end_epoch=2: before start_epoch; set it to 3 or later (1 of 2 configs, the first: "
            "pruning.start_epoch=0.9)",
        ),
        (
            ["model=simple,plain", "data.image_shape=[1,8,8],[1,32,32]", "model.padding=0", "model.kernel_size=11"],
            "model: stages.0.0.branch.0.conv Conv2d kernel 11 is larger than its 8x8 map",
        ),
        (
            ["data.val_fraction=0.1,0", "regularization=[early_stopping]"],
            "regularization.early_stopping: this run has no validation images; raise data.val_fraction, or leave it "
            "out (1 of 2 configs, the first: data.val_fraction=0)",
        ),
    ],
)
def test_what_does_not_fit_together_in_one_job_is_told_before_the_first_starts(cnnbench, tmp_path, sweep, finding):
    keys = {text.partition("=")[0] for text in sweep}
    rest = [text for text in TINY if text.partition("=")[0] not in keys and "model." not in text]
    exit_code, _, err = cnnbench("train", "-m", *rest, *sweep, "hydra.sweep.dir=sweep")
    assert exit_code == 2
    assert lines(err)[0].startswith(finding)
    assert list(tmp_path.iterdir()) == []


def test_data_that_one_job_will_not_find_are_told_before_the_first_starts(cnnbench, tmp_path):
    exit_code, _, err = cnnbench("train", "-m", "data=digits,mnist", "seed=0,1", "epochs=1")
    assert exit_code == 65
    assert "MNIST" in lines(err)[0]
    assert lines(err)[0].endswith("(1 of 2 configs, the first: data=mnist)")
    assert list(tmp_path.iterdir()) == []


def test_a_setting_that_only_one_swept_model_has_is_known(cnnbench):
    exit_code, _, err = cnnbench("train", "-m", "model=simple,plain", "model.stride=1", "model.strid=1")
    assert exit_code == 2
    assert lines(err)[0].startswith("model.strid: unknown key; did you mean model.stride=1?")


def test_a_sweep_runs_every_combination(cnnbench, tmp_path):
    sweep = ["seed=0,1", "optimizer=adam,sgd", "hydra.sweep.dir='my sweep'"]
    exit_code, out, _ = cnnbench("train", "-m", *TINY, "epochs=1", *sweep)
    assert exit_code == 0
    runs = sorted(path for path in (tmp_path / "my sweep").iterdir() if path.is_dir())
    assert [summary(path)["seed"] for path in runs] == [0, 0, 1, 1]
    assert len({summary(path)["weights_sha256"] for path in runs}) == 4
    ended = [line for line in out.splitlines() if " of 4  " in line]
    assert [line.split("  ")[1] for line in ended] == [
        f"seed={seed} optimizer={optimizer}" for seed in (0, 1) for optimizer in ("adam", "sgd")
    ]
    assert out.splitlines()[-2:] == ["`cnnbench compare 'my sweep'` says what made a difference", "sweep: my sweep"]
    assert "policy" not in out
    assert "policy  cpu" in (runs[0] / "train.log").read_text()


def test_a_sweep_with_a_split_for_each_seed_is_compared_pair_by_pair(cnnbench, tmp_path):
    sweep = ["seed=0,1", "optimizer=adam,sgd", "data.split_seed=null", "hydra.sweep.dir=sweep"]
    assert cnnbench("train", "-m", *TINY, "epochs=1", *sweep)[0] == 0
    document = json.loads(cnnbench("compare", "sweep", "--predictions", "--json")[1])
    assert [group["seeds"] for group in document["groups"]] == [[0, 1], [0, 1]]
    (comparison,) = document["comparisons"]
    assert (comparison["is_paired"], comparison["n_pairs"]) == (True, 2)
    assert document["predictions"]["left_out"] == []
    contents = [summary(path)["data_fingerprints"] for path in (tmp_path / "sweep").iterdir() if path.is_dir()]
    assert [len({content[part] for content in contents}) for part in ("val", "test", "whole")] == [2, 1, 1]
    assert cnnbench("plan", "sweep")[0] == 0
    assert cnnbench("report", "sweep", "-o", "page.html")[0] == 0
    assert cnnbench("verify", *sorted((tmp_path / "sweep").glob("*simple*")))[0] == 0


def test_a_failing_job_does_not_end_the_sweep_and_is_listed(cnnbench, tmp_path):
    sweep = ["optimizer=sgd", "optimizer.lr=0.1,1e9,0.2", "hydra.sweep.dir=sweep"]
    exit_code, _, err = cnnbench("train", "-m", *TINY, *sweep)
    assert exit_code == 5
    assert len(lines(err)) == 1
    assert lines(err)[0].startswith("sweep/1-simple-synthetic: training diverged")
    statuses = [summary(path)["status"] for path in sorted((tmp_path / "sweep").glob("*-simple-synthetic"))]
    assert statuses == ["finished", "failed", "finished"]


def test_a_job_that_fails_before_its_run_starts_leaves_a_summary(cnnbench, tmp_path):
    exit_code, _, err = cnnbench("train", "-m", *TINY, "device=cuda", "seed=0,1", "hydra.sweep.dir=sweep")
    assert exit_code == 5
    assert len(lines(err)) == 2
    assert [summary(path)["exit_code"] for path in (tmp_path / "sweep").glob("*-simple-*")] == [69, 69]


def test_the_settings_of_a_sweep_mean_nothing_to_one_run(cnnbench, tmp_path):
    exit_code, _, err = cnnbench("train", *TINY, "sweep.retries=1", "sweep=joblib")
    assert exit_code == 2
    assert lines(err) == [
        "sweep.retries=1: says how a sweep is run; add -m, or leave it out",
        "sweep=joblib: says how a sweep is run; add -m, or leave it out",
    ]
    assert list(tmp_path.iterdir()) == []


def test_a_setting_goes_to_the_choices_that_have_it(cnnbench, tmp_path):
    sweep = ["optimizer=sgd,adam", "optimizer.momentum=0.8,0.9", "hydra.sweep.dir=sweep"]
    exit_code, out, err = cnnbench("train", "-m", *TINY, "epochs=1", *sweep)
    assert exit_code == 0
    assert err.splitlines() == [
        "note: optimizer.momentum=0.8: goes to the 1 jobs that have this setting, 1 have not",
        "note: optimizer.momentum=0.9: goes to the 1 jobs that have this setting, 1 have not",
        "note: 1 of 4 combinations come to the same as another, and are run once",
    ]
    momenta = [read_config(tmp_path / "sweep" / f"{n}-simple-synthetic")["optimizer"].get("momentum") for n in range(3)]
    assert momenta == [0.8, 0.9, None]
    assert "optimizer=adam" in out


def test_folders_may_have_any_name(cnnbench, tmp_path):
    name = 'it\'s "my" sweep ${x} \\'
    sweep = ["seed=0,1", f"hydra.sweep.dir={quoted(name)}", "hydra.sweep.subdir=s${seed}"]
    sweep[-1] = "hydra.sweep.subdir='${slug:${seed}}-${slug:${optimizer.lr}}'"
    assert cnnbench("train", "-m", *TINY, "epochs=1", *sweep)[0] == 0
    assert [summary(tmp_path / name / f"{seed}-0.002")["status"] for seed in (0, 1)] == ["finished"] * 2
    exit_code, out, _ = cnnbench("resume", name)
    assert (exit_code, out.splitlines()[0]) == (0, "2 of 2 jobs are done already")


def test_two_jobs_of_one_folder_are_refused_before_they_start(cnnbench, tmp_path):
    sweep = ["seed=0,1", "hydra.sweep.dir=sweep", "hydra.sweep.subdir=same"]
    exit_code, _, err = cnnbench("train", "-m", *TINY, *sweep)
    assert exit_code == 2
    assert lines(err) == [
        "hydra.sweep.subdir: gives seed=1 the folder of another job, same; add ${hydra:job.num} to it"
    ]
    assert not (tmp_path / "sweep").exists()


def test_a_dry_run_says_how_long_it_takes_and_writes_nothing(cnnbench, tmp_path):
    exit_code, out, _ = cnnbench("train", "-m", *TINY, "seed=0,1", "optimizer=sgd,adam", "--dry-run")
    assert exit_code == 0
    rows = [line.split() for line in out.splitlines()[1:5]]
    assert [row[:3] for row in rows] == [
        [f"{number}-simple-synthetic", f"seed={number // 2}", f"optimizer={['sgd', 'adam'][number % 2]}"]
        for number in range(4)
    ]
    assert all(row[-1] == "s" for row in rows)
    assert out.splitlines()[6].startswith("4 of 4 jobs to run, about ")
    assert list(tmp_path.iterdir()) == []


def test_the_same_command_again_runs_what_is_new_and_nothing_else(cnnbench, tmp_path):
    sweep = ["train", "-m", *TINY, "epochs=1", "hydra.sweep.dir=sweep"]
    assert cnnbench(*sweep, "seed=1,2")[0] == 0
    before = {path.name: path.read_bytes() for path in tmp_path.glob("sweep/*/summary.json")}
    exit_code, out, _ = cnnbench(*sweep, "seed=0,1,2")
    assert exit_code == 0
    assert out.splitlines()[0] == "2 of 3 jobs are done already"
    assert {path.name: path.read_bytes() for path in tmp_path.glob("sweep/[01]-*/summary.json")} == before
    assert summary(tmp_path / "sweep" / "2-simple-synthetic")["seed"] == 0
    record = json.loads((tmp_path / "sweep" / "sweep.json").read_text())
    assert [(job["folder"][0], job["varying"], job["state"]) for job in record["jobs"]] == [
        ("2", "seed=0", "finished"),
        ("0", "seed=1", "finished"),
        ("1", "seed=2", "finished"),
    ]
    assert yaml.safe_load((tmp_path / "sweep" / "multirun.yaml").read_text())["hydra"]["sweep"]["dir"] == str(
        tmp_path / "sweep"
    )


def test_a_folder_that_holds_something_else_is_refused(cnnbench, tmp_path, train):
    train("sweep/run")
    exit_code, _, err = cnnbench("train", "-m", *TINY, "seed=0,1", "hydra.sweep.dir=sweep")
    assert exit_code == 65
    assert lines(err) == ["sweep: holds runs of something else; choose another folder with hydra.sweep.dir=PATH"]


def test_a_folder_that_cannot_be_made_is_told_with_the_key_that_names_it(cnnbench, tmp_path):
    (tmp_path / "file").touch()
    exit_code, _, err = cnnbench("train", "-m", *TINY, "seed=0,1", "hydra.sweep.dir=file/sweep")
    assert exit_code == 74
    assert err.splitlines()[-1].startswith("error: file/sweep: Not a directory")
    assert err.endswith("; choose another folder with hydra.sweep.dir=PATH\n")


def test_a_launcher_is_told_nothing_of_another_type(cnnbench):
    exit_code, _, err = cnnbench("train", "-m", *TINY, "seed=0,1", "sweep=joblib", "hydra.launcher.n_jobs=two")
    assert (exit_code, err.splitlines()[-1].partition(": ")[2]) == (
        2,
        "hydra.launcher.n_jobs=two: Value 'two' of type 'str' could not be converted to Integer",
    )


def test_a_sweep_that_another_process_runs_is_left_alone(cnnbench, tmp_path):
    (tmp_path / "sweep").mkdir()
    lock = take_lock(tmp_path / "sweep" / ".lock", wait=False)
    try:
        exit_code, _, err = cnnbench("train", "-m", *TINY, "seed=0,1", "hydra.sweep.dir=sweep")
    finally:
        os.close(lock)
    assert exit_code == 75
    assert lines(err) == ["sweep: another process runs this sweep; wait or choose another folder"]


def test_choices_of_the_users_own_folder_are_found_and_checked(cnnbench, tmp_path):
    own = tmp_path / "own" / "model"
    own.mkdir(parents=True)
    (own / "mine.yaml").write_text("name: lenet\n", encoding="utf-8")
    arguments = ["train", "--config-dir", tmp_path / "own", "hydra.run.dir=run"]
    exit_code, _, err = cnnbench(*arguments, "model=mien", "epohcs=2")
    assert exit_code == 2
    hints = [line.split("; ")[1].partition("?")[0] for line in lines(err)]
    assert hints == ["did you mean 'mine'", "did you mean epochs=2"]
    assert cnnbench(*arguments, "model=mine", "--cfg", "job")[1].count("name: lenet") == 1


def test_compose_gives_what_train_would_run_and_can_be_called_again():
    for hidden in (8, 16):
        config = compose(["model=simple", f"model.hidden={hidden}", "regularization=[ema]"])
        assert config.model["hidden"] == hidden
        assert list(config.regularization) == ["ema"]
    with pytest.raises(ConfigError, match="no such model"):
        compose(["model=dep"])


def test_values_of_a_group_can_be_given_as_a_mapping(cnnbench):
    assert compose(["model={hidden:7}"]).model["hidden"] == 7
    assert "hidden: 7\n" in cnnbench("train", "--cfg", "job", "model={hidden:7}")[1]


def test_cfg_job_shows_the_config_and_stops(cnnbench, tmp_path):
    exit_code, out, _ = cnnbench("train", "--cfg", "job", "model=deep", "seed=7")
    assert exit_code == 0
    assert out.startswith("seed: 7\n")
    assert "name: deep\n" in out
    assert list(tmp_path.iterdir()) == []


def test_a_value_that_does_not_merge_does_not_hide_the_others(cnnbench):
    exit_code, _, err = cnnbench("train", "optimizer=adam", "optimizer.betas={a:1}", "optimizer.lr=-1", "epochs=0")
    assert exit_code == 2
    assert {line.split(":")[1].strip().partition("=")[0] for line in err.splitlines()} == {
        "optimizer.betas", "optimizer.lr", "epochs",
    }  # fmt: skip
