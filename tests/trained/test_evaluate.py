import json
import shutil
from pathlib import Path

import pytest
from PIL import Image
from tiny import set_summary, summary


def test_evaluate_gives_what_train_found_and_counts_the_read(train, cnnbench):
    path = train("run")
    before = summary(path)
    assert before["test_reads"] == 1
    exit_code, out, err = cnnbench("evaluate", path, "--json")
    document = json.loads(out)
    assert (exit_code, err) == (0, "")
    assert document["accuracy"] == before["test_accuracy"]
    assert document["top5_accuracy"] == before["test_top5_accuracy"]
    assert document["loss"] == before["test_loss"]
    assert (document["split"], document["images"], document["test_reads"]) == ("test", 30, 2)
    assert summary(path)["test_reads"] == 2
    assert "has now been read 3 times" in cnnbench("evaluate", path)[1]


def test_a_first_layer_computed_from_training_images_is_evaluated_as_it_was_trained(cnnbench, tmp_path):
    net = ["experiment=airbench94", "model.widths=[4,8]", "batch_size=32", "epochs=2", "device.threads=1"]
    data = ["data=synthetic", "data.image_shape=[1,12,12]", "data.train_images=100", "data.test_images=40"]
    assert cnnbench("train", *net, *data, "hydra.run.dir=run")[0] == 0
    found = summary(tmp_path / "run")
    document = json.loads(cnnbench("evaluate", "run", "--json")[1])
    assert (document["loss"], document["accuracy"]) == (found["test_loss"], found["test_accuracy"])


def test_naming_the_runs_own_data_counts_as_a_read_too(train, cnnbench):
    path = train("run")
    own = [f"data.{key}" for key in ("image_shape=[1,8,8]", "num_classes=3", "train_images=120", "test_images=30")]
    cnnbench("evaluate", path, "data=synthetic", *own)
    assert summary(path)["test_reads"] == 2


def test_the_validation_split_is_not_a_read_of_the_test_split(train, cnnbench):
    path = train("run")
    document = json.loads(cnnbench("evaluate", path, "--split", "val", "--json")[1])
    assert document["accuracy"] == summary(path)["best_val_accuracy"]
    assert "test_reads" not in document
    assert summary(path)["test_reads"] == 1


def test_other_data_of_the_same_shape_is_evaluated_and_not_counted(train, cnnbench):
    path = train("run")
    other = ["data=synthetic", "data.image_shape=[1,8,8]", "data.num_classes=3", "data.seed=1", "data.test_images=20"]
    document = json.loads(cnnbench("evaluate", path, *other, "--json")[1])
    assert document["images"] == 20
    assert document["accuracy"] != summary(path)["test_accuracy"]
    assert summary(path)["test_reads"] == 1


@pytest.mark.parametrize("inside", ["", "test"])
def test_a_folder_of_images_is_evaluated_whole_in_the_size_and_channels_of_the_run(train, cnnbench, tmp_path, inside):
    path = train("run", "epochs=1")
    for name in ("class 0", "class 1", "class 2"):
        (tmp_path / "photos" / inside / name).mkdir(parents=True)
        for number in range(4):
            Image.new("RGB", (20, 16), (number, 0, 0)).save(tmp_path / "photos" / inside / name / f"{number}.png")
    other = ["data=image_folder", f"data.root={tmp_path / 'photos'}"]
    assert json.loads(cnnbench("evaluate", path, *other, "--json")[1])["images"] == 12
    if not inside:
        half = json.loads(cnnbench("evaluate", path, *other, "data.test_fraction=0.5", "--json")[1])
        assert half["images"] == 6


@pytest.mark.parametrize(
    ("arguments", "exit_code", "message"),
    [
        (
            ["data=synthetic"],
            65,
            "data=synthetic: has 3x32x32 images, the run was trained on 1x8x8",
        ),
        (["data=mnist", "data.root=/nope", "data.download=false"], 65, "/nope/MNIST/raw/train-images-idx3-ubyte.gz: "),
        (["data=minst"], 2, "data=minst: no such data; did you mean 'mnist'?"),
        (["model=deep"], 2, "model=deep: evaluate takes data=... and data.KEY=... only"),
        (["--splt", "val"], 2, "unrecognized arguments: --splt"),
    ],
)
def test_what_cannot_be_evaluated_is_one_line(train, cnnbench, arguments, exit_code, message):
    result = cnnbench("evaluate", train("run", "epochs=1"), *arguments)
    assert result[:2] == (exit_code, "")
    assert result[2].startswith(f"error: {message}")
    assert result[2].count("\n") == 1


def test_a_folder_that_is_no_run_is_one_line(cnnbench, tmp_path):
    exit_code, _, err = cnnbench("evaluate", tmp_path)
    assert exit_code == 65
    assert err.startswith(f"error: {tmp_path}: not a run folder")


def test_a_damaged_checkpoint_is_passed_over_for_an_older_one(train, cnnbench):
    path = train("run", "select=last", "regularization=[]")
    newest = max((path / "checkpoints").glob("*.pt"))
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes(content)
    exit_code, out, err = cnnbench("evaluate", path, "--json")
    assert exit_code == 0
    assert json.loads(out)["images"] == 30
    assert err.startswith(f"note: {newest}: is damaged")


def test_naming_the_folder_a_run_was_trained_on_evaluates_its_test_part_and_counts(cnnbench, tmp_path):
    for name in ("a", "b"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(10):
            Image.new("RGB", (8, 8), (number, 9 * (name == "b"), 0)).save(tmp_path / "photos" / name / f"{number}.png")
    own = ["data=image_folder", f"data.root={tmp_path / 'photos'}"]
    small = ["model.widths=[4]", "model.hidden=8", "epochs=1", "device.threads=1", "hydra.run.dir=run"]
    assert cnnbench("train", *own, "data.test_fraction=0.2", *small)[0] == 0
    document = json.loads(cnnbench("evaluate", "run", "data=image_folder", "data.root=photos", "--json")[1])
    assert (document["images"], document["test_reads"]) == (4, 2)


SMALL = ["model.widths=[4]", "model.hidden=8", "epochs=2", "batch_size=8", "device=cpu", "device.threads=1"]


def a_folder(root, classes, per_class=10, first=0):
    """Grey images, those of each class of another brightness and no two alike."""
    for place, name in enumerate(sorted(classes)):
        (root / name).mkdir(parents=True)
        for number in range(per_class):
            Image.new("L", (8, 8), 80 * place + first + number).save(root / name / f"{number}.png")
    return root


@pytest.fixture
def folder_run(cnnbench, tmp_path):
    """A run on tmp_path/photos, whose test images lie in its test folder; its own path."""
    for part in ("train", "test"):
        a_folder(tmp_path / "photos" / part, ("ape", "bee", "cow"), first=20 * (part == "test"))
    arguments = ["data=image_folder", "data.root=photos", "data.channels=1", *SMALL, "hydra.run.dir=run"]
    assert cnnbench("train", *arguments)[0] == 0
    return tmp_path / "run"


def test_the_runs_own_test_images_are_known_by_content_wherever_they_lie(folder_run, cnnbench, tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "photos" / "test")
    shutil.copytree(tmp_path / "photos" / "test", tmp_path / "copy")
    (tmp_path / "copy" / "ape" / "0.png").rename(tmp_path / "copy" / "ape" / "zzz.png")
    roots = ["photos/../photos/test", "link", "copy"]
    reads = [
        json.loads(cnnbench("evaluate", folder_run, "data=image_folder", f"data.root={root}", "--json")[1])[
            "test_reads"
        ]
        for root in roots
    ]
    assert reads == [2, 3, 4]


def test_from_another_working_directory_the_same_images_are_found(folder_run, cnnbench, tmp_path, monkeypatch):
    a_folder(tmp_path / "other" / "photos" / "train", ("ape", "bee", "cow"))
    a_folder(tmp_path / "other" / "photos" / "test", ("ape", "bee", "cow"), first=40)
    monkeypatch.chdir(tmp_path / "other")
    document = json.loads(cnnbench("evaluate", folder_run, "--json")[1])
    assert document["accuracy"] == summary(folder_run)["test_accuracy"]


def test_own_images_that_have_changed_are_not_scored_as_the_runs_own(folder_run, cnnbench, tmp_path):
    Image.new("L", (8, 8), 255).save(tmp_path / "photos" / "test" / "ape" / "0.png")
    exit_code, out, err = cnnbench("evaluate", folder_run)
    assert (exit_code, out) == (65, "")
    assert "its test images are not those of the run any more" in err
    assert summary(folder_run)["test_reads"] == 1


def test_classes_are_the_same_by_name_and_not_by_place(folder_run, cnnbench, tmp_path):
    two = tmp_path / "two"
    for name in ("bee", "cow"):
        shutil.copytree(tmp_path / "photos" / "train" / name, two / name)
    document = json.loads(cnnbench("evaluate", folder_run, "data=image_folder", f"data.root={two}", "--json")[1])
    right = json.loads(cnnbench("predict", folder_run, *sorted(two.glob("*/*.png")), "--json")[1])
    expected = [row["class"] == Path(row["image"]).parent.name for row in right]
    assert document["accuracy"] == sum(expected) / len(expected)
    (two / "bee").rename(two / "bea")
    exit_code, _, err = cnnbench("evaluate", folder_run, "data=image_folder", f"data.root={two}")
    assert exit_code == 65
    assert err.startswith("error: data=image_folder: the run does not know its class 'bea'; did you mean 'bee'?")


def test_a_run_does_not_go_on_with_other_images(folder_run, cnnbench, tmp_path):
    set_summary(folder_run, status="interrupted")
    Image.new("L", (8, 8), 255).save(tmp_path / "photos" / "train" / "ape" / "0.png")
    exit_code, _, err = cnnbench("resume", folder_run)
    assert exit_code == 65
    assert "images have changed since it began" in err


def test_the_contents_of_all_parts_are_in_the_summary(folder_run, tmp_path):
    found = summary(folder_run)
    assert set(found["data_fingerprints"]) == {"train", "val", "test", "whole"}
    assert all(len(fingerprint) == 64 for fingerprint in found["data_fingerprints"].values())
    assert found["image_shape"] == [1, 8, 8]


@pytest.mark.parametrize("key", ["data.val_fraction=0.2", "data.fraction=0.5", "data.split_seed=3"])
def test_what_changes_no_test_image_is_refused_before_a_read_is_spent(train, cnnbench, key):
    path = train("run")
    exit_code, _, err = cnnbench("evaluate", path, key)
    assert (exit_code, err) == (
        2,
        f"error: {key}: changes nothing about the test images; leave it out, or give --split val\n",
    )
    assert summary(path)["test_reads"] == 1


def test_a_run_whose_split_follows_its_seed_is_validated_on_that_split_again(train, cnnbench):
    paths = {name: train(name, "epochs=1", f"seed={seed}", f"data.split_seed={split_seed}")
             for name, seed, split_seed in (("own", 5, "null"), ("fixed", 0, 5), ("usual", 5, 0))}  # fmt: skip
    contents = {name: summary(path)["data_fingerprints"] for name, path in paths.items()}
    assert contents["own"] == contents["fixed"]
    assert contents["own"]["val"] != contents["usual"]["val"]
    assert contents["own"]["whole"] == contents["usual"]["whole"]
    document = json.loads(cnnbench("evaluate", paths["own"], "--split", "val", "--json")[1])
    assert document["accuracy"] == summary(paths["own"])["best_val_accuracy"]
