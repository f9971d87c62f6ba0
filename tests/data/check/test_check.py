"""`cnnbench data check`: every kind of fault, planted and found; nothing found where nothing is."""

import csv
import json
import os
import re
import shutil

import numpy as np
import pytest
from PIL import Image, ImageOps

from cnnbench.data.check import scan
from cnnbench.data.check.findings import KINDS, Finding
from cnnbench.data.check.output import findings_csv


def photo(seed, size=(48, 40)):
    """A smooth picture of its own, as photographs are: noise would be no test of hashes."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


@pytest.fixture
def photos(tmp_path):
    """Two classes of 30 training images and 6 of the test, all different and of one size."""
    for number, (part, name) in enumerate((p, c) for p in ("Training", "Testing") for c in ("cat", "dog")):
        folder = tmp_path / "photos" / part / name
        folder.mkdir(parents=True)
        for index in range(30 if part == "Training" else 6):
            photo(1000 * number + index).save(folder / f"{index:02}.png")
    return tmp_path / "photos"


@pytest.fixture
def check(cnnbench, photos, tmp_path):
    """Checks the photos; gives back the exit code, the findings of each kind as (path below photos, other), stderr."""

    def run(*arguments):
        exit_code, out, err = cnnbench("data", "check", photos, "-o", "found", "--json", *arguments)
        document = json.loads((tmp_path / "found" / "findings.json").read_text())
        assert json.loads(out) == document
        kinds = {}
        for finding in document["findings"]:
            paths = [path.removeprefix(f"{photos}/") for path in (finding["path"], finding["other"]) if path]
            kinds.setdefault(finding["kind"], []).append(tuple(paths))
        return exit_code, kinds, err

    return run


def test_nothing_is_found_where_nothing_is(check, cnnbench, photos, tmp_path):
    assert check() == (0, {}, "")
    exit_code, out, _ = cnnbench("data", "check", photos, "-o", "found")
    assert exit_code == 0
    assert out.splitlines()[-1] == f"ready: cnnbench train data=image_folder data.root={photos}"
    assert sorted(path.name for path in (tmp_path / "found").iterdir()) == [
        "findings.csv",
        "findings.json",
        "index.html",
        "sheets",
    ]


def spoil_unreadable(train, test):
    (train / "cat" / "bad.jpg").write_bytes(b"")
    return {"unreadable": [("Training/cat/bad.jpg",)]}, 65


def spoil_link(train, test):
    outside = train.parent.parent / "outside.png"
    photo(1).save(outside)
    (train / "cat" / "link.png").symlink_to(outside)
    return {"unreadable": [("Training/cat/link.png",)]}, 65


def spoil_empty_class(train, test):
    (train / "mouse").mkdir()
    return {"folder": [("Training/mouse",)], "few images": [("Testing",)]}, 65


def copy_across_parts(train, test):
    Image.open(train / "cat" / "00.png").save(test / "cat" / "same.bmp")  # other bytes, the same pixels
    return {"same image, across parts": [("Testing/cat/same.bmp", "Training/cat/00.png")]}, 0


def copy_across_classes(train, test):
    shutil.copy(train / "cat" / "00.png", train / "dog" / "same.png")
    return {"same image, across classes": [("Training/dog/same.png", "Training/cat/00.png")]}, 0


def copy_within(train, test):
    shutil.copy(train / "cat" / "00.png", train / "cat" / "same.png")
    return {"same image": [("Training/cat/same.png", "Training/cat/00.png")]}, 0


def near_across_parts(train, test):
    Image.open(train / "cat" / "03.png").save(test / "cat" / "near.jpg", quality=50)
    return {"near image, across parts": [("Testing/cat/near.jpg", "Training/cat/03.png")]}, 0


def near_across_classes(train, test):
    ImageOps.mirror(Image.open(train / "cat" / "04.png")).save(train / "dog" / "near.png")
    return {"near image, across classes": [("Training/dog/near.png", "Training/cat/04.png")]}, 0


def near_within(train, test):
    Image.open(train / "cat" / "05.png").resize((96, 80)).save(train / "cat" / "near.png")
    return {"near image": [("Training/cat/near.png", "Training/cat/05.png")]}, 0


def few_and_lopsided(train, test):
    (train / "mouse").mkdir()
    for index in range(3):
        photo(9000 + index).save(train / "mouse" / f"{index}.png")
    return {"few images": [("Training",), ("Testing",)], "imbalance": [("Training",)]}, 0


def odd(kind, name, save):
    def plant(train, test):
        path = train / "cat" / name
        save(photo(7777), path)
        return {kind: [(f"Training/cat/{name}",)]}, 0

    plant.__name__ = kind.replace(" ", "_")
    return plant


def save_rotated(image, path):
    tags = Image.Exif()
    tags[0x0112] = 6
    image.save(path, exif=tags)


def save_transparent(image, path):
    image.putalpha(100)
    image.save(path)


ODD = [
    odd("CMYK", "a.jpg", lambda image, path: image.convert("CMYK").save(path)),
    odd("palette", "a.png", lambda image, path: image.quantize(64).save(path)),
    odd("turned", "a.jpg", save_rotated),
    odd("transparent", "a.png", save_transparent),
    odd("animated", "a.webp", lambda image, path: image.save(path, save_all=True, append_images=[photo(1), photo(2)])),
    odd("extension", "a.jpg", lambda image, path: image.save(path, format="PNG")),
    odd("huge", "a.jpg", lambda image, path: Image.new("L", (8000, 6300)).save(path)),
    odd("ignored", "a.txt", lambda image, path: path.write_text("text")),
]


@pytest.mark.parametrize(
    "plant",
    [spoil_unreadable, spoil_link, spoil_empty_class, copy_across_parts, copy_across_classes, copy_within,
     near_across_parts, near_across_classes, near_within, few_and_lopsided, *ODD],
    ids=lambda plant: plant.__name__,
)  # fmt: skip
def test_every_planted_fault_is_found_and_nothing_else(check, photos, plant):
    expected, exit_code = plant(photos / "Training", photos / "Testing")
    code, found, err = check()
    assert (code, found) == (exit_code, expected)
    assert err.count("error: ") == (code == 65)


def test_deep_images_that_use_little_of_their_range_are_said(check, photos, tmp_path):
    for index in range(2):
        grey = np.asarray(photo(50 + index).convert("L")).astype(np.uint16) * 16
        Image.fromarray(grey).save(photos / "Training" / "cat" / f"deep{index}.png")
    code, found, _ = check()
    assert code == 0
    values = [np.asarray(Image.open(photos / "Training" / "cat" / f"deep{index}.png")) for index in range(2)]
    low, high = int(np.min(values)), int(np.max(values))
    document = json.loads((tmp_path / "found" / "findings.json").read_text())
    assert document["next"].endswith(f"'data.grey_range=[{low},{high}]'")
    assert found == {
        "small range": [(str(photos),)],
        "16 bits": [("Training/cat/deep0.png",), ("Training/cat/deep1.png",)],
    }


def test_images_of_several_sizes_get_a_size_to_train_with(cnnbench, photos):
    photo(8888, (200, 100)).save(photos / "Training" / "cat" / "wide.png")
    out = cnnbench("data", "check", photos, "-o", "found")[1]
    command = f"ready: cnnbench train data=image_folder data.root={photos} 'data.image_size=[32,32]'"
    assert out.splitlines()[-1] == command


def test_the_worst_comes_first_and_the_last_line_says_what_to_do(check, cnnbench, photos):
    copy_across_parts(photos / "Training", photos / "Testing")
    assert "1 image of validation or test are in training too" in cnnbench("data", "check", photos, "-o", "found")[1]
    spoil_unreadable(photos / "Training", photos / "Testing")
    code, found, err = check()
    assert list(found) == ["unreadable", "same image, across parts"]
    assert (code, err) == (
        65,
        f"error: {photos}: 1 image cannot be read: repair, remove, or train with data.on_bad_image=skip\n",
    )


def test_many_images_are_read_by_processes_with_the_same_result(check, photos, monkeypatch):
    copy_across_parts(photos / "Training", photos / "Testing")
    spoil_unreadable(photos / "Training", photos / "Testing")
    alone = check()
    monkeypatch.setattr("cnnbench.data.check.scan.FEW_IMAGES", 1)
    assert check("data.workers=2") == alone


def test_a_process_that_dies_names_the_images_it_was_at(check, cnnbench, photos, monkeypatch):
    facts_of = scan.facts_of

    def dying(path):
        if path.endswith("Training/dog/20.png"):
            os._exit(1)
        return facts_of(path)

    monkeypatch.setattr(scan, "FEW_IMAGES", 1)
    monkeypatch.setattr(scan, "CHUNK_IMAGES", 2)
    monkeypatch.setattr(scan, "facts_of", dying)
    exit_code, _, err = cnnbench("data", "check", photos, "-o", "found", "data.workers=1")
    assert (exit_code, err.count("\n")) == (65, 1)
    assert re.search(r"error: .*Training/(dog|cat)/\d\d\.png: a process died while reading this", err)


def test_the_page_holds_no_markup_of_a_folder_and_loads_nothing(check, photos, tmp_path):
    (photos / "Training" / "cat").rename(photos / "Training" / "<script>x")
    (photos / "Testing" / "cat").rename(photos / "Testing" / "<script>x")
    shutil.copy(photos / "Training" / "dog" / "00.png", photos / "Training" / "<script>x" / "same\u202e.png")
    check()
    page = (tmp_path / "found" / "index.html").read_text()
    assert "<script" not in page
    assert "&lt;script&gt;x" in page
    assert "\u202e" not in page
    assert "default-src 'none'" in page
    assert "http://" not in page.replace("http-equiv", "")
    sheets = sorted(path.name for path in (tmp_path / "found" / "sheets").iterdir())
    assert sheets == ["0000-script-x.png", "0001-dog.png"]
    with Image.open(tmp_path / "found" / "sheets" / sheets[1]) as sheet:
        assert sheet.size == (10 * 76 + 4, 4 * 76 + 4)


def test_the_list_has_a_line_for_each_finding_and_no_formula(check, photos, tmp_path):
    copy_within(photos / "Training", photos / "Testing")
    check()
    with open(tmp_path / "found" / "findings.csv", newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["kind"], row["severity"], row["class"], row["part"]) == ("same image", "note", "cat", "train")

    class Found:
        findings = (Finding("ignored", "=cmd()", detail="-1"),)

    assert findings_csv(Found).splitlines()[1] == b"note,ignored,,,'=cmd(),,'-1"


@pytest.mark.parametrize(
    ("arguments", "exit_code", "message"),
    [
        (["/nope"], 65, "/nope: cannot be listed"),
        (["photos", "-o", "photos/found"], 2, "--output photos/found: lies in the folder that is checked"),
        (["photos", "data.train=nope"], 2, "data.train=nope: no such folder in data.root="),
        (["photos", "data.rot=1"], 2, "data.rot: unknown key"),
        ([], 2, "the following arguments are required: PATH"),
    ],
)
def test_mistakes_are_one_line(cnnbench, photos, arguments, exit_code, message):
    code, _, err = cnnbench("data", "check", *arguments)
    assert (code, err.count("\n")) == (exit_code, 1)
    assert err.startswith(f"error: {message}")


def test_every_kind_of_finding_has_a_test():
    tested = {"small range", "16 bits", "near image", "same image", "unreadable", "folder", "few images", "imbalance"}
    tested |= {f"{what} image, across {where}" for what in ("same", "near") for where in ("parts", "classes")}
    assert tested | {plant.__name__.replace("_", " ") for plant in ODD} == set(KINDS)
