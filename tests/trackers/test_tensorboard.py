import io
import json
import os

import numpy as np
import pytest
from PIL import Image
from tiny import metrics, summary

from cnnbench.errors import Interrupted

pytest.importorskip("tensorboard")


def record_of(run):
    """What TensorBoard itself reads from the event files."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    record = EventAccumulator(str(run / "tensorboard"), size_guidance={"scalars": 0, "images": 0, "tensors": 0})
    return record.Reload()


def curve(record, name):
    return [(event.step, event.value) for event in record.Scalars(name)]


def test_every_number_of_every_epoch_is_a_scalar(train):
    run = train("run", "logging=[tensorboard]")
    record, lines = record_of(run), metrics(run)
    norms = {f"gradient_norms/{name}" for name in lines[0]["gradient_norms"]}
    assert norms | (lines[0].keys() - {"gradient_norms", "epoch"}) <= set(record.Tags()["scalars"])
    assert curve(record, "val_loss") == [(line["epoch"], pytest.approx(line["val_loss"])) for line in lines]
    name = min(norms)
    norm = name.removeprefix("gradient_norms/")
    assert curve(record, name) == [(line["epoch"], pytest.approx(line["gradient_norms"][norm])) for line in lines]


def test_the_results_stand_at_the_last_epoch(train):
    run = train("run", "logging=[tensorboard]")
    record, document = record_of(run), summary(run)
    for key in ("test_accuracy", "train_accuracy", "parameters", "latency_ms"):
        assert curve(record, f"summary/{key}") == [(3, pytest.approx(document[key]))]
    (event,) = record.Tensors("summary/text_summary")
    assert json.loads(event.tensor_proto.string_val[0])["weights_sha256"] == document["weights_sha256"]


def test_config_and_hyperparameters_can_be_looked_at(train):
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    record = record_of(train("run", "logging=[tensorboard]", "optimizer.lr=0.003"))
    (event,) = record.Tensors("config/text_summary")
    assert json.loads(event.tensor_proto.string_val[0])["optimizer"]["lr"] == 0.003
    plugin = {
        tag: HParamsPluginData.FromString(content) for tag, content in record.PluginTagToContent("hparams").items()
    }
    hparams = plugin["_hparams_/session_start_info"].session_start_info.hparams
    assert hparams["optimizer.lr"].number_value == 0.003
    assert hparams["model.widths"].string_value == "[4]"
    assert plugin["_hparams_/session_end_info"].HasField("session_end_info")


def test_the_sample_images_are_one_picture(train):
    (event,) = record_of(train("run", "logging=[tensorboard]")).Images("sample_images")
    picture = np.asarray(Image.open(io.BytesIO(event.encoded_image_string)))
    assert picture.shape == (2 * 66 + 2, 8 * 66 + 2, 3)  # 16 images of 8x8, enlarged to 64
    assert len(np.unique(picture)) > 50


def test_a_run_that_goes_on_has_every_epoch_once(train, ending, cnnbench):
    with ending(2, Interrupted(15)):
        run = train("run", "logging=[tensorboard]", exit_code=143)
    assert [step for step, _ in curve(record_of(run), "val_loss")] == [1, 2]
    assert "summary/test_accuracy" not in record_of(run).Tags()["scalars"]
    assert cnnbench("resume", run)[0] == 0
    record = record_of(run)
    seconds = [json.loads(line)["seconds"] for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert curve(record, "seconds") == [(epoch, pytest.approx(each)) for epoch, each in enumerate(seconds, start=1)]
    assert len(record.Images("sample_images")) == len(record.Tensors("config/text_summary")) == 1


def test_nothing_is_written_through_a_link(train, ending, cnnbench, tmp_path):
    with ending(2, Interrupted(15)):
        run = train("run", exit_code=143)
    config = run / "config.yaml"
    config.write_text(config.read_text().replace("logging: {}", "logging:\n  tensorboard: {}"))
    (tmp_path / "elsewhere").mkdir()
    (run / "tensorboard").symlink_to(tmp_path / "elsewhere")
    exit_code, _, err = cnnbench("resume", run)
    assert exit_code == 0
    assert "note: logging.tensorboard: stopped, the run goes on without it (DiskError: " in err
    assert os.listdir(tmp_path / "elsewhere") == []
