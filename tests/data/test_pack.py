import json
import os
import signal
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import FOLDER

from cnnbench.config.compose import compose
from cnnbench.data import DATASETS, PackedImages, ResidentImages, split
from cnnbench.data.decode import decode_image
from cnnbench.errors import DataError, DiskError
from cnnbench.experiment import run_experiment

pack_module = import_module("cnnbench.data.pack")
folder_module = import_module("cnnbench.data.image_folder")
ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "cnnbench" / "packs"


@pytest.fixture
def root(tmp_path):
    """40 images of noise in two classes."""
    numbers = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (tmp_path / "images" / name).mkdir(parents=True)
        for i in range(20):
            pixels = numbers.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "images" / name / f"{i:02}.png")
    return tmp_path / "images"


def source(root, **changes):
    settings = {"channels": 3, **FOLDER, "image_size": None, "test_fraction": 0.2, "resident": "never", "pack": True}
    return DATASETS["image_folder"](root=str(root), **settings | {"workers": 0, "on_bad_image": "error"} | changes)


def pixels_of(images):
    return next(iter(images.batches(torch.arange(len(images)), len(images))))[0]


def only(cache):
    (found,) = cache.iterdir()
    return found


def test_packed_images_are_those_of_decode_image(root):
    images = source(root, test_fraction=0).read("train")
    assert isinstance(images, PackedImages)
    paths = sorted(root.glob("*/*.png"))
    assert pixels_of(images).equal(torch.stack([decode_image(path, (3, 8, 8)) for path in paths]))


def test_every_way_to_read_gives_equal_splits(root):
    sources = [source(root, pack=False), source(root), source(root, resident="always")]
    streamed, packed, resident = (split(s, 0, val_fraction=0.2, fraction=0.9, split_seed=1) for s in sources)
    assert isinstance(resident.train, ResidentImages)
    for other in (packed, streamed):
        for one, two in ((resident.train, other.train), (resident.val, other.val)):
            assert pixels_of(one).equal(pixels_of(two))
            assert one.labels.equal(two.labels)
        assert resident.mean.equal(other.mean)
        assert resident.std.equal(other.std)
        assert pixels_of(resident.read_test()).equal(pixels_of(other.read_test()))


def test_training_bits_do_not_depend_on_how_images_are_read(root, tmp_path):
    weights = set()
    for name, pack, resident in (("a", "false", "never"), ("b", "true", "never"), ("c", "true", "always")):
        config = compose(
            ["device=cpu", "device.threads=1", "model.widths=[4]", "model.hidden=8", "batch_size=8", "epochs=2",
             "augmentation=flip", "data=image_folder", f"data.root={root}", f"data.pack={pack}",
             f"data.resident={resident}", "data.workers=0"]
        )  # fmt: skip
        weights.add(run_experiment(config, tmp_path / name)["weights_sha256"])
    assert len(weights) == 1


def test_a_pack_is_built_once_and_says_what_it_takes(root, cache, monkeypatch, capsys):
    source(root).read("train")
    assert f"packing 40 images once into {only(cache)} (7,680 bytes)" in capsys.readouterr().err
    monkeypatch.setattr(pack_module, "decode_batches", lambda *_: pytest.fail("decoded again"))
    assert len(source(root, test_fraction=0.5).read("test")) == 20
    contents = json.loads((only(cache) / "pack.json").read_text())
    assert contents["class_names"] == ["cat", "dog"]
    assert contents["labels"] == [0] * 20 + [1] * 20


def changed(root):
    Image.new("RGB", (8, 8)).save(root / "cat" / "03.png")


def added(root):
    Image.new("RGB", (8, 8)).save(root / "cat" / "new.png")


def touched(root):
    os.utime(root / "cat" / "03.png", (1, 1))


@pytest.mark.parametrize("change", [changed, added, touched])
def test_other_files_make_another_pack(root, cache, change):
    source(root).read("train")
    change(root)
    images = source(root, test_fraction=0).read("train")
    assert len(list(cache.iterdir())) == 2
    paths = sorted(root.glob("*/*.png"))
    assert pixels_of(images).equal(torch.stack([decode_image(path, (3, 8, 8)) for path in paths]))


def flipped(folder):
    with open(folder / "pixels.bin", "r+b") as file:
        file.seek(100)
        byte = file.read(1)[0]
        file.seek(100)
        file.write(bytes([byte ^ 1]))


def cut(folder):
    os.truncate(folder / "pixels.bin", 1000)


def foreign_digests(folder):
    (folder / "digests.bin").write_bytes(bytes(40 * 32))


def foreign_contents(folder):
    (folder / "pack.json").write_text("[1, 2]")


def without_pixels(folder):
    (folder / "pixels.bin").unlink()


@pytest.mark.parametrize("damage", [flipped, cut, foreign_digests, foreign_contents, without_pixels])
@pytest.mark.parametrize("resident", ["always", "never"])
def test_a_damaged_pack_is_named_in_one_line(root, cache, damage, resident):
    source(root).read("train")
    damage(only(cache))
    with pytest.raises(DataError, match=r"remove .*to have it built anew") as caught:
        pixels_of(source(root, resident=resident, test_fraction=0).read("train"))
    assert str(caught.value).startswith(str(only(cache)))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("resident", ["always", "never"])
def test_bad_images_are_recorded_and_left_out_on_request(root, cache, tmp_path, resident):
    (root / "cat" / "03.png").write_text("text")
    secret = tmp_path / "secret.png"
    Image.new("RGB", (8, 8), (1, 2, 3)).save(secret)
    (root / "dog" / "link.png").symlink_to(secret)
    for _ in range(2):  # the second time from the pack's record
        images = source(root, resident=resident, on_bad_image="skip", test_fraction=0).read("train")
        assert len(images) == 39
        assert [line.split(": ")[0] for line in images.skipped] == [f"{root}/dog/link.png", f"{root}/cat/03.png"]
    assert (only(cache) / "pixels.bin").stat().st_size == 40 * 192  # the link is not in it
    (root / "dog" / "link.png").unlink()
    with pytest.raises(DataError, match=r"cat/03\.png: is no image"):
        source(root).read("train")


SCRIPT = """
import os, signal, sys, time
from importlib import import_module
from cnnbench.data import DATASETS
pack = import_module("cnnbench.data.pack")
pack.CHUNK_IMAGES = 4
decode_batches = pack.decode_batches
def decode(*arguments):
    open(sys.argv[2], "a").write("x")
    for number, batch in enumerate(decode_batches(*arguments)):
        if sys.argv[3] == "kill" and number == 5:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.02)
        yield batch
pack.decode_batches = decode
DATASETS["image_folder"](root=sys.argv[1], channels=3, image_size=None, train=None, val=None, test=None,
                         grey_range=[0, 65535], test_fraction=0.2, resident="never", pack=True, workers=0,
                         on_bad_image="skip").read("train")
"""


def process(root, log, what=""):
    arguments = [sys.executable, "-c", SCRIPT, str(root), str(log), what]
    return subprocess.Popen(arguments, env=os.environ | {"PYTHONPATH": str(ROOT)}, stderr=subprocess.PIPE)


def test_of_two_processes_one_builds(root, cache, tmp_path):
    both = [process(root, tmp_path / "log") for _ in range(2)]
    assert [p.wait(120) for p in both] == [0, 0], [p.stderr.read() for p in both]
    assert (tmp_path / "log").read_text() == "x"


def test_a_killed_build_goes_on_where_it_was(root, cache, tmp_path, monkeypatch):
    (root / "cat" / "03.png").write_text("text")
    assert process(root, tmp_path / "log", "kill").wait(120) == -signal.SIGKILL
    assert not (only(cache) / "pack.json").exists()
    assert (only(cache) / "digests.bin").stat().st_size == 5 * 4 * 32
    with open(only(cache) / "pixels.bin", "r+b") as file:  # lost with the power: rows 18 and on are decoded again
        file.seek(18 * 192)
        file.write(bytes(192))
    started = []
    decode_batches = pack_module.decode_batches

    def watched(paths, shape, chunks, *rest):
        started.append(int(chunks[0][0]))
        return decode_batches(paths, shape, chunks, *rest)

    monkeypatch.setattr(pack_module, "decode_batches", watched)
    images = source(root, on_bad_image="skip", test_fraction=0).read("train")
    assert started == [18]
    paths = [path for path in sorted(root.glob("*/*.png")) if path.name != "03.png" or path.parent.name == "dog"]
    assert pixels_of(images).equal(torch.stack([decode_image(path, (3, 8, 8)) for path in paths]))
    assert len(images.skipped) == 1


def test_without_room_auto_goes_on_and_true_says_how_much_is_needed(root, monkeypatch, capsys):
    monkeypatch.setattr(folder_module, "MANY_IMAGES", 1)
    usage = type("Usage", (), {"free": 10_000})
    monkeypatch.setattr(pack_module.shutil, "disk_usage", lambda _: usage)
    assert not isinstance(source(root, pack="auto").read("train"), PackedImages)  # 8,960 are over half of it
    assert "going on without a pack" in capsys.readouterr().err
    usage.free = 8_959
    with pytest.raises(DiskError, match=r"needs 8,960 bytes and 8,959 are free"):
        source(root).read("train")


def test_auto_packs_large_folders_only(root, cache, monkeypatch):
    source(root, pack="auto").read("train")
    assert not cache.exists()
    monkeypatch.setattr(folder_module, "MANY_IMAGES", 40)
    assert isinstance(source(root, pack="auto").read("train"), PackedImages)


def test_a_kept_histogram_that_is_damaged_is_counted_again(root, cache):
    images = source(root).read("train")
    counts = images.histogram()
    (kept,) = only(cache).glob("histogram-*")
    for content in ("", "[1]", "{}"):
        kept.write_text(content)
        assert images.histogram().equal(counts)
    assert source(root, resident="always").read("train").histogram().equal(counts)


def test_leaving_an_epoch_early_ends_the_reading(root):
    start = time.monotonic()
    batches = source(root).read("train").batches(torch.arange(30), 2)
    next(batches)
    batches.close()
    assert time.monotonic() - start < 30
