import json
import struct
import time

import pytest
from tiny import metrics, summary

from cnnbench.errors import DivergedError, Interrupted

pytest.importorskip("wandb")


@pytest.fixture(autouse=True)
def no_account(monkeypatch, tmp_path):
    """No key, and no place where one could be found."""
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WANDB_SILENT", "true")  # as the tracker does; but here it is taken back
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    monkeypatch.setenv("HOME", str(tmp_path / "nobody"))


def records_in(run):
    """The records of the one offline run in a run folder, which wandb's process writes to the end a moment later."""
    (file,) = run.glob("wandb/offline-run-*/*.wandb")  # one: `wandb sync` on it has all
    until, records = time.monotonic() + 20, []
    while not any(record.HasField("exit") for record in records):
        assert time.monotonic() < until, "wandb has not closed its record"
        time.sleep(0.02)
        records = list(read_log(file.read_bytes()))
    return records


def read_log(content):
    """What a LevelDB log, as a .wandb file is, holds by now."""
    from wandb.proto.wandb_internal_pb2 import Record

    place, whole = 7, b""
    while place + 7 <= len(content):
        if (left := -place % 32768) < 7:  # a block's rest that holds no header
            place += left
            continue
        length, kind = struct.unpack_from("<xxxxHB", content, place)
        whole += content[place + 7 : place + 7 + length]
        place += 7 + length
        if place > len(content):
            return
        if kind in (1, 4):  # whole, or its last part
            yield Record.FromString(whole)
            whole = b""


def items(entries):
    return {entry.key or "/".join(entry.nested_key): json.loads(entry.value_json) for entry in entries}


def history_in(run):
    return [items(record.history.item) for record in records_in(run) if record.HasField("history")]


def exit_code_in(run):
    return next(record.exit.exit_code for record in records_in(run) if record.HasField("exit"))


def test_config_epochs_results_and_images_are_in_the_offline_run(train):
    run = train("run", "logging=[wandb]", "logging.wandb.project=mine")
    document, lines = summary(run), metrics(run)
    begun = next(record.run for record in records_in(run) if record.HasField("run"))
    assert (begun.run_id, begun.project, begun.display_name) == (document["run_id"], "mine", "run")
    assert items(begun.config.update)["model"]["widths"] == [4]
    first, *epochs = history_in(run)
    assert (run / "wandb/latest-run/files" / first["sample_images/path"]).is_file()
    assert [epoch["val_loss"] for epoch in epochs] == [line["val_loss"] for line in lines]
    norm = next(iter(lines[0]["gradient_norms"]))
    assert epochs[0][f"gradient_norms/{norm}"] == lines[0]["gradient_norms"][norm]
    results = {}
    for record in records_in(run):
        results |= items(record.summary.update)
    assert results["summary/test_accuracy"] == document["test_accuracy"]
    assert exit_code_in(run) == 0
    assert len(list(run.glob("wandb/offline-run-*/files/media/images/*.png"))) == 1


@pytest.mark.parametrize(("error", "exit_code"), [(Interrupted(15), 143), (DivergedError("it did"), 3)])
def test_the_exit_code_says_how_a_run_has_ended(train, ending, error, exit_code):
    with ending(2, error):
        run = train("run", "logging=[wandb]", exit_code=exit_code)
    assert exit_code_in(run) == exit_code


def test_a_run_that_goes_on_has_one_record_with_every_epoch_once(train, ending, cnnbench):
    with ending(2, Interrupted(15)):
        run = train("run", "logging=[wandb]", exit_code=143)
    assert cnnbench("resume", run)[0] == 0
    begun = next(record.run for record in records_in(run) if record.HasField("run"))
    assert begun.run_id == summary(run)["run_id"]
    first, *epochs = history_in(run)
    seconds = [json.loads(line)["seconds"] for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [(epoch["epoch"], epoch["seconds"]) for epoch in epochs] == list(enumerate(seconds, start=1))
    assert "sample_images/path" in first
    assert exit_code_in(run) == 0


def test_online_without_a_key_is_an_error_before_anything_is_trained(cnnbench, tmp_path):
    exit_code, _, err = cnnbench("train", "logging=[wandb]", "logging.wandb.mode=online", "hydra.run.dir=run")
    assert exit_code == 69
    assert err.startswith("error: logging.wandb.mode=online: there is no key; type `wandb login`, or use ")
    assert not (tmp_path / "run" / "metrics.jsonl").exists()


def test_settings_that_lie_in_a_run_folder_are_not_followed(train, ending, cnnbench, tmp_path):
    with ending(2, Interrupted(15)):
        run = train("run", "logging=[wandb]", exit_code=143)
    (run / "wandb" / "settings").write_text(
        "[default]\nproject = another\nmode = online\nbase_url = http://localhost:9\n"
    )
    assert cnnbench("resume", run)[0] == 0
    begun = next(record.run for record in records_in(run) if record.HasField("run"))
    assert begun.project == "cnnbench"
