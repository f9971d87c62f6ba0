"""What cannot be read is found before the training begins, in every part at once."""

import gzip
import shutil
import struct

import pytest
from tiny import summary, write_image

PLAIN = ["device=cpu", "device.threads=1", "epochs=1", "model.widths=[4]", "model.hidden=8", "batch_size=4"]


@pytest.fixture
def photos(tmp_path):
    for part in ("train", "val", "test"):
        for number in range(8):
            write_image(tmp_path / "photos" / part / "ab"[number % 2] / f"{number}.png", (8, 8, 3), seed=number)
    return tmp_path / "photos"


def spoil(photos, *names):
    for name in names:
        (photos / name).write_bytes(b"spoilt")
    return [str(photos / name) for name in names]


@pytest.mark.parametrize("how", [["data.pack=true"], ["data.resident=always"], ["data.resident=never"]])
def test_all_unreadable_images_of_all_parts_are_named_before_the_training(cnnbench, tmp_path, photos, how):
    bad = spoil(photos, "train/a/0.png", "train/a/6.png", "val/b/3.png", "test/a/2.png", "test/b/5.png")
    if "data.pack=true" not in how:
        how = [*how, "data.pack=false"]
    data = ["data=image_folder", f"data.root={photos}", "data.workers=0", *how]
    exit_code, out, err = cnnbench("train", *data, *PLAIN, "hydra.run.dir=run")
    assert exit_code == 65
    errors = [line.removeprefix("error: ") for line in err.splitlines() if not line.startswith("note: ")]
    assert sorted(line.partition(": ")[0] for line in errors) == sorted(bad)
    assert err.count("note: packing") == ("data.pack=true" in how)
    assert "epoch 1/1" not in out
    assert summary(tmp_path / "run")["test_reads"] == 0


@pytest.mark.parametrize("how", ["data.resident=always", "data.resident=never"])
def test_test_images_that_can_be_read_are_read_once_and_counted_once(cnnbench, tmp_path, photos, how):
    data = ["data=image_folder", f"data.root={photos}", "data.workers=0", "data.pack=false", how]
    assert cnnbench("train", *data, *PLAIN, "hydra.run.dir=run")[0] == 0
    document = summary(tmp_path / "run")
    assert (document["test_reads"], document["status"]) == (1, "finished")
    assert document["data_fingerprints"]["test"]


def test_a_damaged_test_file_of_mnist_is_found_before_the_training(cnnbench, tmp_path):
    root = tmp_path / "idx"
    root.mkdir()
    for prefix, count in (("train", 20), ("t10k", 10)):
        images = bytes((0, 0, 8, 3)) + struct.pack(">3I", count, 8, 8) + bytes(64 * count)
        labels = bytes((0, 0, 8, 1)) + struct.pack(">I", count) + bytes(i % 10 for i in range(count))
        (root / f"{prefix}-images-idx3-ubyte.gz").write_bytes(gzip.compress(images))
        (root / f"{prefix}-labels-idx1-ubyte").write_bytes(labels)
    whole = root / "t10k-images-idx3-ubyte.gz"
    whole.write_bytes(whole.read_bytes()[:-10])
    exit_code, out, err = cnnbench("train", "data=mnist", f"data.root={root}", *PLAIN, "hydra.run.dir=run")
    assert exit_code == 65
    assert err.startswith(f"error: {whole}: damaged")
    assert err.count("\n") == 1
    assert "epoch 1/1" not in out


def test_of_very_many_bad_images_the_first_are_named_and_the_rest_counted(cnnbench, tmp_path, photos):
    for number in range(60):
        shutil.copy(photos / "test" / "a" / "0.png", photos / "test" / "a" / f"more{number}.png")
    spoil(photos, *(f"test/a/more{number}.png" for number in range(60)))
    data = ["data=image_folder", f"data.root={photos}", "data.workers=0", "data.pack=false"]
    exit_code, _, err = cnnbench("train", *data, *PLAIN, "hydra.run.dir=run")
    assert (exit_code, err.count("\n")) == (65, 51)
    assert err.splitlines()[-1] == ("error: 10 more images: cannot be read; `cnnbench data check FOLDER` lists all")
