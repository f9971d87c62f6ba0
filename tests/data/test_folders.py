"""Folders as people have them: what is taken for what, what is ignored, what is asked for."""

import json
import os
import re
import shutil
import socket
from collections import Counter

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import FOLDER

from cnnbench.data import DATASETS, class_folders
from cnnbench.data.decode import decode_image
from cnnbench.data.folder_layout import part_of_name
from cnnbench.errors import ConfigError, DataError
from cnnbench.trained.load import load_trained


def find_parts(root, test_fraction, given):
    found = class_folders.find_parts(root, test_fraction, given)
    if found.problems:
        raise DataError(*found.problems)
    return found


PAIR = ("cat/1.png", "cat/2.png", "dog/1.png")


def plant(root, *names):
    """An image at each path; a path that ends in `/` becomes an empty folder, one in `.txt` a text."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith("/"):
            path.mkdir(exist_ok=True)
        elif path.suffix == ".txt":
            path.write_text("no image")
        else:
            Image.new("RGB", (4, 4), (len(name), 0, 0)).save(path, format="PNG")
    return root


def below(folder, names=PAIR):
    return [f"{folder}/{name}" for name in names]


def counts(found):
    return {
        part: files.labels.bincount(minlength=len(found.class_names)).tolist() for part, files in found.files.items()
    }


def reasons(found):
    return dict(Counter(line.reason for line in found.ignored))


TWO, ONE = ["cat", "dog"], [2, 1]
READ = {
    "Training, Testing": ([*below("Training"), *below("Testing")], {"train": "Training", "test": "Testing"}),
    "train, testing": ([*below("train"), *below("testing")], {"train": "train", "test": "testing"}),
    "TRAIN_SET, Test-Images": (
        [*below("TRAIN_SET"), *below("Test-Images")], {"train": "TRAIN_SET", "test": "Test-Images"},
    ),
    "train, dev": ([*below("train"), *below("dev")], {"train": "train", "val": "dev"}),
    "training alone": (below("training"), {"train": "training"}),
    "an empty second folder of validation": (
        [*below("train"), *below("val"), "valid/"], {"train": "train", "val": "val"},
    ),
    "an extra level": (below("photos"), {"train": "photos"}),
    "two extra levels": (below("archive/photos"), {"train": "archive/photos"}),
    "an extra level above the parts": (
        [*below("set/train"), *below("set/test")], {"train": "set/train", "test": "set/test"},
    ),
    "an extra level in each part": (
        [*below("train/train"), *below("test/test")], {"train": "train/train", "test": "test/test"},
    ),
    "classes": (list(PAIR), {"train": "."}),
    "stray images beside the classes of a part": ([*below("train"), "train/0.png"], {"train": "train"}),
}  # fmt: skip


@pytest.mark.parametrize("layout", READ)
def test_folders_are_taken_for_what_they_are(tmp_path, layout):
    names, taken = READ[layout]
    found = find_parts(plant(tmp_path, *names), 0, {})
    assert list(found.class_names) == TWO
    assert dict(found.taken) == taken
    assert counts(found) == dict.fromkeys(taken, ONE)


def test_a_class_called_train_is_a_class(tmp_path):
    found = find_parts(plant(tmp_path, "bus/1.png", "car/1.png", "train/1.png", "train/old/2.png"), 0, {})
    assert found.class_names == ("bus", "car", "train")
    assert counts(found) == {"train": [1, 1, 2]}


AMBIGUOUS = {
    "val and valid": (
        [*below("train"), *below("val"), *below("valid")], r"val and valid can both be the val part; .*data\.val=val$",
    ),
    "train and Training": (
        [*below("train"), *below("Training")], r"Training and train can both .*data\.train=Training$",
    ),
    "a test folder beside classes": (
        [*PAIR, *below("test")], r"test may be a part .*data\.train=\. data\.test=test for a part, data\.train=\.",
    ),
    "words in the names": (
        [*below("seg_train"), *below("seg_test"), "seg_pred/1.png"], r"data\.train=seg_train data\.test=seg_test",
    ),
    "other words": (
        [*below("lernen"), *below("pruefen")], r"lernen, pruefen may be .*data\.train=FOLDER data\.test=FOLDER",
    ),
}  # fmt: skip


@pytest.mark.parametrize("layout", AMBIGUOUS)
def test_what_can_be_read_in_two_ways_is_asked_for_by_a_key(tmp_path, layout):
    names, message = AMBIGUOUS[layout]
    with pytest.raises(DataError, match=message) as caught:
        find_parts(plant(tmp_path, *names), 0.1, {})
    assert all("\n" not in finding for finding in caught.value.findings)


@pytest.mark.parametrize(
    ("names", "given", "taken"),
    [
        ([*below("train"), *below("val"), *below("valid")], {"val": "valid"}, {"train": "train", "val": "valid"}),
        ([*below("seg_train"), *below("seg_test"), "seg_pred/1.png"], {"train": "seg_train", "test": "seg_test"},
         {"train": "seg_train", "test": "seg_test"}),
        ([*PAIR, *below("test")], {"train": ".", "test": "test"}, {"train": ".", "test": "test"}),
        (below("a/b"), {"train": "a/b"}, {"train": "a/b"}),
    ],
)  # fmt: skip
def test_the_keys_settle_it(tmp_path, names, given, taken):
    found = find_parts(plant(tmp_path, *names), 0.0, given)
    assert dict(found.taken) == taken
    assert list(found.class_names) == TWO
    assert counts(found) == dict.fromkeys(taken, ONE)


def test_the_root_itself_can_be_said_to_hold_the_classes(tmp_path):
    root = plant(tmp_path, *below("lernen"), *below("pruefen"))
    assert find_parts(root, 0.0, {"train": "."}).class_names == ("lernen", "pruefen")
    assert set(find_parts(root, 0.34, {"train": "."}).files) == {"train", "test"}


@pytest.mark.parametrize(
    ("name", "message"),
    [("nope", r"data\.val=nope: no such folder in data\.root=.*; there are: train"),
     ("../elsewhere", r"data\.val=\.\./elsewhere: lies outside data\.root")],
)  # fmt: skip
def test_a_key_that_names_no_folder_of_the_root_is_an_error(tmp_path, name, message):
    plant(tmp_path, *below("elsewhere"))
    with pytest.raises(ConfigError, match=message):
        find_parts(plant(tmp_path / "root", *below("train")), 0.0, {"val": name})


REFUSED = {
    "one level too high": (
        [*below("animals"), "docs/a.txt"], r"animals alone holds images \(docs: none\); set data\.root=.*animals$",
    ),
    "images beside the only folder": (
        [*below("animals"), "1.png"], r"animals alone holds images; set data\.root=.*animals$",
    ),
    "parts without class folders": (["train/1.png", "test/1.png"], r"test and train .* no class folders"),
    "an empty class": ([*PAIR, "mouse/"], "mouse: has no images"),
    "a class that training lacks": ([*below("train"), "test/cow/1.png", "test/cat/1.png"], "training lacks: cow"),
}  # fmt: skip


@pytest.mark.parametrize("layout", REFUSED)
def test_a_layout_of_no_use_says_what_to_do(tmp_path, layout):
    names, message = REFUSED[layout]
    with pytest.raises(DataError, match=message):
        find_parts(plant(tmp_path, *names), 0.1, {})


def test_all_empty_classes_are_named_at_once(tmp_path):
    with pytest.raises(DataError) as caught:
        find_parts(plant(tmp_path, *PAIR, "mouse/", "rat/"), 0.1, {})
    assert [finding.partition(": ")[0] for finding in caught.value.findings] == [
        str(tmp_path / name) for name in ("mouse", "rat")
    ]


def test_what_systems_leave_behind_is_ignored_and_listed(tmp_path):
    root = plant(
        tmp_path, *PAIR, "cat/.ipynb_checkpoints/1.png", ".ipynb_checkpoints/1.png", "cat/@eaDir/1.png/thumb.png",
        "@eaDir/1.png", "__MACOSX/cat/._1.png", "dog/Thumbs.db", "cat/.DS_Store", "cat/notes.txt", "0.png",
        "readme.txt",
    )  # fmt: skip
    found = find_parts(root, 0, {})
    assert counts(found) == {"train": ONE}
    assert reasons(found) == {
        "hidden": 3,
        "of the system": 4,
        "extension .txt": 2,
        "image of no class": 1,
    }


def test_a_pipe_a_socket_and_a_device_are_ignored_and_never_opened(tmp_path):
    plant(tmp_path, *PAIR)
    os.mkfifo(tmp_path / "cat" / "pipe.png")
    os.mkfifo(tmp_path / "cat" / "pipe")  # to open it would wait for ever
    with socket.socket(socket.AF_UNIX) as listening:
        os.chdir(tmp_path / "dog")  # the name of a socket has to be short
        listening.bind("socket.png")
    found = find_parts(tmp_path, 0, {})
    assert counts(found) == {"train": ONE}
    assert reasons(found) == {"no regular file": 3}


@pytest.mark.parametrize("name", ["1.JPG", "1.jfif", "1.JPE", "1.avif", "1.Webp", "without", "1.tiff", "1.pnm"])
def test_images_of_every_name_that_people_give_them_are_read(tmp_path, name):
    plant(tmp_path, *PAIR)
    kinds = {".avif": "AVIF", ".webp": "WEBP", ".tiff": "TIFF", ".pnm": "PPM"}
    kind = kinds.get(os.path.splitext(name)[1].lower(), "JPEG")
    Image.new("RGB", (4, 4), (200, 100, 0)).save(tmp_path / "dog" / name, format=kind)
    source = image_folder(tmp_path)
    assert source.ignored == ()
    images = source.read("train")
    assert images.labels.tolist() == [0, 0, 1, 1]
    assert sorted(images.images[:, 0, 0, 0].tolist())[-1] in range(195, 205)


def image_folder(root, **changes):
    settings = {"channels": 3, "image_size": None, "test_fraction": 0, "resident": "always", "pack": False}
    return DATASETS["image_folder"](
        root=str(root), **FOLDER | settings | {"workers": 0, "on_bad_image": "error"} | changes
    )


@pytest.mark.parametrize("content", [b"", b"text", b"BM not really a bitmap", b"P6 nor this", b"\x89PNG\r\n\x1a\n"])
def test_a_file_without_extension_that_is_no_image_is_ignored(tmp_path, content):
    plant(tmp_path, *PAIR)
    (tmp_path / "cat" / "LICENSE").write_bytes(content)
    assert reasons(find_parts(tmp_path, 0, {})) == {"no extension, no image": 1}


def test_a_test_folder_of_images_without_classes_is_left_out_and_said(tmp_path):
    found = find_parts(plant(tmp_path, *below("train"), "test/1.png"), 0.5, {})
    assert set(found.files) == {"train"}
    assert reasons(found) == {"test folder without class folders": 1}


def test_folders_beside_the_parts_are_ignored_and_listed(tmp_path):
    found = find_parts(plant(tmp_path, *below("train"), *below("extra"), "docs/a.txt", "0.png"), 0.5, {})
    assert counts(found) == {"train": ONE}
    assert reasons(found) == {"folder of no part": 1, "folder without images": 1, "image of no class": 1}


def test_linked_folders_within_a_class_are_not_entered_but_listed(tmp_path):
    plant(tmp_path, *PAIR)
    (tmp_path / "cat" / "again").symlink_to(tmp_path / "dog")
    found = find_parts(tmp_path, 0, {})
    assert (counts(found), reasons(found)) == ({"train": ONE}, {"linked folder": 1})


def test_classes_may_be_missing_from_validation_and_test(tmp_path):
    names = [*below("train"), "val/dog/1.png", "test/cat/1.png", "test/dog/"]
    found = find_parts(plant(tmp_path, *names), 0, {})
    assert counts(found) == {"train": [2, 1], "val": [0, 1], "test": [1, 0]}
    assert reasons(found) == {"folder without images": 1}


@pytest.mark.parametrize(
    ("name", "part"),
    [("train", "train"), ("Training", "train"), ("test_set", "test"), ("testset", "test"), ("data-train", "train"),
     ("Validation Images", "val"), ("trains", None), ("bullet_train", None), ("test1", None), ("contest", None)],
)  # fmt: skip
def test_the_names_of_parts(name, part):
    assert part_of_name(name) == part


def test_odd_classes_are_said_at_the_start_and_what_is_ignored_stands_in_the_log(cnnbench, tmp_path):
    root = plant(tmp_path / "pets", *below("Training"), *below("Testing", ["cat/1.png"]), "Training/cat/a.txt", "docs/")
    plain = ["device=cpu", "device.threads=1", "epochs=1", "model.widths=[4]", "model.hidden=8", "hydra.run.dir=run"]
    exit_code, out, err = cnnbench("train", "data=image_folder", f"data.root={root}", "data.val_fraction=0", *plain)
    assert exit_code == 0, err
    assert re.search(r"train folder +Training \(3 images\)", out)
    assert re.search(r"test folder +Testing \(1 image\)", out)
    assert "1 extension .txt, 1 folder without images" in out or "1 folder without images, 1 extension .txt" in out
    assert "note: a single training image: 1 of 2 classes (dog)" in err
    assert "note: no test images: 1 of 2 classes (dog)" in err
    log = (tmp_path / "run" / "train.log").read_text()
    assert f"ignored: {root}/Training/cat/a.txt (extension .txt)" in log
    assert f"ignored: {root}/docs (folder without images)" in log


def test_data_describes_what_is_taken_for_what(cnnbench, tmp_path):
    root = plant(tmp_path / "pets", *below("train"), *below("testing"), "docs/")
    settings = ["image_folder", f"data.root={root}", "data.val_fraction=0"]
    out = cnnbench("data", *settings)[1]
    assert "train: train, test: testing" in out
    assert "folder without images: 1" in out
    shutil.rmtree(root / "docs")
    assert re.search(r"ignored +none", cnnbench("data", *settings)[1])


def deep(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.array(values, np.uint16)).save(path)


@pytest.fixture
def deep_photos(tmp_path):
    """16-bit images of 12 bits, as cameras and scanners of the sciences write them."""
    for number, name in enumerate(("cat", "dog")):
        for index in range(6):
            row = [1000, 1000 + 100 * number, 3000, 5095]
            deep(tmp_path / "photos" / name / f"{index}.png", [row, row[::-1], row, row])
    return tmp_path / "photos"


@pytest.mark.parametrize(
    ("low", "high", "value", "level"),
    [(0, 65535, 65535, 255), (0, 65535, 128, 0), (0, 65535, 129, 1), (1000, 5095, 1000, 0), (1000, 5095, 5095, 255),
     (1000, 5095, 3000, 125), (1000, 5095, 7, 0), (1000, 5095, 65000, 255), (0, 1, 1, 255)],
)  # fmt: skip
def test_16_bit_values_are_scaled_by_the_range_and_clipped_to_it(tmp_path, low, high, value, level):
    deep(tmp_path / "a.png", [[value] * 4] * 4)
    assert decode_image(tmp_path / "a.png", (1, 4, 4), (low, high)).eq(level).all()


@pytest.mark.parametrize("how", [{"resident": "always"}, {"resident": "never"}, {"pack": True}])
def test_the_range_changes_the_images_and_what_they_are_known_by(deep_photos, how):
    full, scaled = (image_folder(deep_photos, grey_range=r, **how).read("train") for r in ([0, 65535], [1000, 5095]))
    for images, levels in ((full, [4, 20]), (scaled, [0, 255])):
        pixels = next(iter(images.batches(torch.arange(6), 6)))[0]
        assert [int(pixels.min()), int(pixels.max())] == levels
    assert (full.digests() != scaled.digests()).any()


@pytest.mark.parametrize("grey_range", [[0], [5, 5], [0, 70000], [3, 2], [0, 1, 2]])
def test_a_range_has_two_ends_in_their_order(deep_photos, grey_range):
    with pytest.raises(ConfigError, match=r"data\.grey_range=\[.*should be \[low, high\]"):
        image_folder(deep_photos, grey_range=grey_range)


def test_a_training_says_that_the_range_is_small_and_predicts_with_the_range_it_was_given(cnnbench, deep_photos):
    plain = ["device=cpu", "device.threads=1", "epochs=1", "model.widths=[4]", "model.hidden=8", "data.channels=1"]
    data = ["data=image_folder", f"data.root={deep_photos}"]
    err = cnnbench("train", *data, *plain, "hydra.run.dir=full")[2]
    assert "note: 16-bit images use values from 1000 to 5095 of 0 to 65535" in err
    exit_code, _, err = cnnbench("train", *data, *plain, "data.grey_range=[1000,5095]", "hydra.run.dir=scaled")
    assert (exit_code, "16-bit" in err) == (0, False)
    trained = load_trained("scaled")
    expected = trained.logits(decode_image(deep_photos / "cat" / "0.png", (1, 4, 4), (1000, 5095))[None]).softmax(1)
    (prediction,) = json.loads(cnnbench("predict", "scaled", deep_photos / "cat" / "0.png", "--json")[1])
    assert list(prediction["probabilities"].values()) == pytest.approx(expected[0].tolist())
