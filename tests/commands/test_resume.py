import os
import signal

import pytest
from tiny import metrics, set_summary, summary

from cnnbench import experiment
from cnnbench.recorder import Recorder

EVERYTHING = [
    "epochs=4",
    "model.dropout=0.2",
    "model.head=gap",
    "model.norm=batch",
    "regularization=[freeze_first_layer,progressive_resizing,mixup,lookahead,ema,swa,sam,gradient_clip,early_stopping]",
    "regularization.swa.start=0.25",
    "regularization.early_stopping.patience=10",
    "pruning=magnitude",
    "augmentation=crop_flip",
    "augmentation.crop_flip.alternate=true",
]
BATCHES = 6  # of an epoch of the tiny run


@pytest.fixture
def interrupt(monkeypatch):
    """Sends this process a signal after so many batches, once."""

    def after(batches, number=signal.SIGINT):
        seen = 0
        after_batch = Recorder.after_batch

        def counting(self, training, images):
            nonlocal seen
            seen += 1
            if seen == batches:
                os.kill(os.getpid(), number)
            after_batch(self, training, images)

        monkeypatch.setattr(Recorder, "after_batch", counting)

    return after


@pytest.mark.parametrize(
    ("batches", "precision"),
    [(1, "fp32"), (BATCHES, "fp32"), (2 * BATCHES + 1, "bf16"), (3 * BATCHES + 4, "fp16")],
)
def test_a_resumed_run_equals_an_uninterrupted_one(train, cnnbench, interrupt, batches, precision):
    settings = [*EVERYTHING, f"device.precision={precision}"]
    straight = train("straight", *settings)
    interrupt(batches)
    stopped = train("stopped", *settings, exit_code=130)
    assert cnnbench("resume", stopped)[0] == 0
    assert summary(stopped)["weights_sha256"] == summary(straight)["weights_sha256"]
    assert metrics(stopped) == metrics(straight)


def test_a_run_whose_split_follows_its_seed_goes_on_with_that_split(train, cnnbench, interrupt):
    settings = ["seed=4", "data.split_seed=null"]
    straight = train("straight", *settings)
    interrupt(BATCHES + 1)
    stopped = train("stopped", *settings, exit_code=130)
    assert cnnbench("resume", stopped)[0] == 0
    assert summary(stopped)["data_fingerprints"] == summary(straight)["data_fingerprints"]
    assert metrics(stopped) == metrics(straight)
    assert "split_seed: null" in (stopped / "config.yaml").read_text()


@pytest.mark.parametrize(("number", "exit_code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 143)])
def test_a_signal_saves_and_says_how_to_go_on(train, interrupt, number, exit_code):
    interrupt(2, number)
    path = train("a run", exit_code=exit_code)
    document = summary(path)
    assert (document["status"], document["exit_code"], document["steps"]) == ("interrupted", exit_code, 2)
    assert f"cnnbench resume '{path}'" in document["error"]
    assert list((path / "checkpoints").glob("ckpt-*.pt"))


BEFORE_TRAINING = ["introduce", "read_before_training", "advise", "make_batches", "make_training", "evaluation_batches"]
AFTER_TRAINING = ["describe_training", "read_test_once", "measure_latency"]


@pytest.fixture
def interrupt_in(monkeypatch):
    """Sends this process a signal as a run calls a function of `cnnbench.experiment`."""

    def stage(name, number=signal.SIGTERM):
        function = getattr(experiment, name)

        def stopped(*arguments, **options):
            signal.raise_signal(number)
            return function(*arguments, **options)

        monkeypatch.setattr(experiment, name, stopped)

    return stage


@pytest.mark.parametrize("stage", BEFORE_TRAINING)
def test_a_signal_before_the_training_leaves_no_run_running(train, interrupt_in, stage):
    interrupt_in(stage, signal.SIGHUP)
    path = train("run", exit_code=143)
    assert (summary(path)["status"], summary(path)["exit_code"]) == ("interrupted", 143)
    assert summary(path)["error"] == f"stopped; go on with: cnnbench resume {path}"


@pytest.mark.parametrize("stage", AFTER_TRAINING)
def test_a_signal_after_the_training_costs_none_of_it(train, cnnbench, interrupt_in, monkeypatch, stage):
    straight = train("straight")
    interrupt_in(stage)
    path = train("run", exit_code=143)
    assert summary(path)["status"] == "interrupted"
    monkeypatch.undo()
    exit_code, out, _ = cnnbench("resume", path)
    assert (exit_code, "epoch 1/" in out) == (0, False)
    assert summary(path)["weights_sha256"] == summary(straight)["weights_sha256"]


def test_a_signal_in_the_last_batch_of_a_run_counts_too(train, cnnbench, interrupt):
    straight = train("straight")
    interrupt(3 * BATCHES, signal.SIGTERM)
    path = train("run", exit_code=143)
    assert summary(path)["status"] == "interrupted"
    assert cnnbench("resume", path)[0] == 0
    assert summary(path)["weights_sha256"] == summary(straight)["weights_sha256"]


def test_a_signal_after_the_end_leaves_the_run_finished(train, interrupt_in):
    interrupt_in("show_results")
    assert summary(train("run", exit_code=143))["status"] == "finished"


def test_an_interruption_is_a_note_and_not_an_error(cnnbench, interrupt):
    interrupt(2)
    exit_code, _, err = cnnbench("train", "experiment=smoke", "device=cpu", "device.threads=1", "hydra.run.dir=x")
    assert exit_code == 130
    assert err.startswith("note: stopped and saved; go on with: cnnbench resume ")
    assert err.count("\n") == 1


def test_a_run_that_stopped_early_stays_stopped_when_it_is_resumed(train, cnnbench, monkeypatch):
    settings = ["regularization=early_stopping", "optimizer.lr=0.5", "epochs=50"]
    straight = train("straight", *settings)
    assert summary(straight)["epochs"] < 50
    monkeypatch.setattr(Recorder, "load_selected", _crash)
    killed = train("killed", *settings, exit_code=1)
    monkeypatch.undo()
    assert cnnbench("resume", killed)[0] == 0
    assert metrics(killed) == metrics(straight)
    assert summary(killed)["weights_sha256"] == summary(straight)["weights_sha256"]


def _crash(*_):
    raise RuntimeError("killed")


def test_resuming_a_finished_run_changes_nothing(train, cnnbench):
    path = train("run")
    before = (path / "summary.json").read_bytes()
    exit_code, out, _ = cnnbench("resume", path)
    assert exit_code == 0
    assert out.splitlines() == ["this run is finished; epochs=N would lengthen it", f"run: {path}"]
    assert (path / "summary.json").read_bytes() == before


def test_resuming_what_is_no_run_says_so_and_makes_nothing(cnnbench, tmp_path):
    exit_code, _, err = cnnbench("resume", tmp_path / "nothing")
    assert exit_code == 65
    assert (
        err
        == f"error: {tmp_path / 'nothing'}: not a run folder (no summary.json); give the path that `train` printed\n"
    )
    assert not (tmp_path / "nothing").exists()


def test_a_run_that_failed_before_it_saved_begins_again(train, cnnbench, monkeypatch):
    straight = train("straight")
    monkeypatch.setattr(Recorder, "save", lambda self, is_best: _crash())
    path = train("run", exit_code=1)
    monkeypatch.undo()
    monkeypatch.chdir(path.parent)
    assert cnnbench("resume", path)[0] == 0
    assert summary(path)["weights_sha256"] == summary(straight)["weights_sha256"]
    assert metrics(path) == metrics(straight)


def test_without_its_manifest_a_run_is_not_resumed_and_keeps_its_checkpoints(train, cnnbench, interrupt):
    interrupt(BATCHES + 2)
    path = train("run", exit_code=130)
    (path / "checkpoints" / "manifest.json").unlink()
    before = sorted((path / "checkpoints").iterdir())
    exit_code, _, err = cnnbench("resume", path)
    assert exit_code == 65
    assert err.startswith(f"error: {path / 'checkpoints' / 'manifest.json'}: is missing")
    assert sorted((path / "checkpoints").iterdir()) == before


@pytest.mark.parametrize("moment", ["choose_device", "make_training", "save"])
def test_a_run_that_was_killed_before_its_first_checkpoint_starts_again(train, cnnbench, monkeypatch, moment):
    straight = train("straight", *EVERYTHING)
    target = Recorder if moment == "save" else experiment
    monkeypatch.setattr(target, moment, lambda *_, **__: _crash())
    killed = train("killed", *EVERYTHING, exit_code=1)
    monkeypatch.undo()
    set_summary(killed, status="running", exit_code=None, error=None)  # kill -9 lets nobody write how the run ended
    assert cnnbench("resume", killed)[0] == 0
    assert metrics(killed) == metrics(straight)
    assert summary(killed)["weights_sha256"] == summary(straight)["weights_sha256"]


def test_a_run_whose_checkpoints_are_gone_is_not_begun_again(train, cnnbench, interrupt):
    interrupt(2 * BATCHES + 2)
    path = train("run", exit_code=130)
    for file in (path / "checkpoints").iterdir():
        file.unlink()
    before = (path / "metrics.jsonl").read_bytes()
    assert cnnbench("resume", path)[0] == 65
    assert (path / "metrics.jsonl").read_bytes() == before


@pytest.mark.parametrize("verb", ["resume", "evaluate", "predict"])
def test_a_config_that_was_changed_after_the_start_is_refused(train, cnnbench, interrupt, verb):
    interrupt(BATCHES + 2)
    path = train("run", exit_code=130)
    config = path / "config.yaml"
    config.write_text(config.read_text().replace("epochs: 3", "epochs: 4"))
    exit_code, _, err = cnnbench(verb, path, *(["image.png"] if verb == "predict" else []))
    assert exit_code == 65
    assert err == f"error: {config}: was changed after the run had started; put it back, or train anew with it\n"


CHANGED_METRICS = {
    "shorter": lambda content: content[:-5],
    "none": lambda content: b"",
    "another number": lambda content: content.replace(b'"epoch": 1', b'"epoch": 7'),
}


@pytest.mark.parametrize("change", CHANGED_METRICS.values(), ids=CHANGED_METRICS)
def test_metrics_that_are_not_those_the_checkpoint_has_seen_are_refused(train, cnnbench, interrupt, change):
    interrupt(2 * BATCHES + 2)
    path = train("run", exit_code=130)
    file = path / "metrics.jsonl"
    changed = change(file.read_bytes())
    file.write_bytes(changed)
    exit_code, _, err = cnnbench("resume", path)
    assert exit_code == 65
    assert err.startswith(f"error: {file}: does not hold the 2 epochs that ")
    assert file.read_bytes() == changed


def test_metrics_are_on_the_disk_before_the_checkpoint_that_counts_them(train, monkeypatch):
    synced, fsync, save = [], os.fsync, Recorder.save

    def noting(descriptor):
        synced.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", noting)
    monkeypatch.setattr(Recorder, "save", lambda self, is_best: (synced.append("save"), save(self, is_best=is_best)))
    path = train("run", "epochs=1")
    assert synced.index(str(path / "metrics.jsonl")) < synced.index("save")


def test_a_finished_run_is_given_more_epochs_and_says_how_its_schedule_goes_on(train, cnnbench):
    path = train("run", "schedule=linear", "optimizer.lr=0.01")
    exit_code, out, err = cnnbench("resume", path, "epochs=6")
    assert (exit_code, err) == (0, "")
    assert "from 3 to 6 epochs: the learning rate goes on at 0.005, where schedule=linear over 6 epochs is" in out
    assert "it had ended at 0.00055" in out
    assert "read 2 times" in out
    assert (summary(path)["status"], len(metrics(path))) == ("finished", 6)
    assert cnnbench("verify", path)[0] == 0


@pytest.mark.parametrize(
    ("override", "finding"),
    [
        ("optimizer.lr=1", "only epochs=N can be given"),
        ("epochs=ten", "epochs=ten: should be a whole number >= 1"),
        ("epochs=0", "epochs=0: should be a whole number >= 1"),
        ("epochs=3", "epochs=3: the run has 3; give more"),
        ("epochs", "epochs: should be a whole number >= 1"),
    ],
)
def test_nothing_else_can_be_changed_where_a_run_goes_on(train, cnnbench, override, finding):
    path = train("run", "epochs=3")
    before = (path / "summary.json").read_bytes()
    exit_code, _, err = cnnbench("resume", path, override)
    assert (exit_code, err.count("\n")) == (2, 1)
    assert finding in err
    assert (path / "summary.json").read_bytes() == before
