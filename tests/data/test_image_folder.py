import multiprocessing
import os
import signal
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path

import pytest
import torch
from PIL import Image
from tiny import FOLDER

from cnnbench.data import DATASETS, StreamedImages, split
from cnnbench.data.images import content_of
from cnnbench.errors import ConfigError, DataError

ROOT = str(Path(__file__).parents[2])
module = import_module("cnnbench.data.image_folder")  # the package has a function of this name


def a_folder(root, per_class=10, classes=("cat", "dog"), size=(6, 5)):
    """`per_class` PNG images in each class, each of one grey level of its own."""
    for label, name in enumerate(classes):
        (root / name).mkdir(parents=True, exist_ok=True)
        for i in range(per_class):
            Image.new("RGB", size, (label * per_class + i,) * 3).save(root / name / f"{i:03}.png")
    return root


def source(root, **changes):
    settings = {
        "channels": 3,
        **FOLDER,
        "image_size": None,
        "test_fraction": 0.2,
        "resident": "always",
        "pack": False,
        "workers": 0,
    }
    return DATASETS["image_folder"](root=str(root), **settings | {"pack": False, "on_bad_image": "error"} | changes)


def levels(images):
    return images.images[:, 0, 0, 0].tolist()


def test_a_folder_of_classes_is_cut_into_training_and_a_fixed_test_part(tmp_path):
    found = source(a_folder(tmp_path))
    train, test = found.read("train"), found.read("test")
    assert (found.class_names, found.image_shape) == (("cat", "dog"), (3, 5, 6))
    assert sorted(levels(train) + levels(test)) == list(range(20))
    assert test.labels.tolist() == [0, 0, 1, 1]
    assert [level // 10 for level in levels(train)] == train.labels.tolist()
    assert levels(source(tmp_path).read("test")) == levels(test)
    assert not source(tmp_path, test_fraction=0).has_test


@pytest.mark.parametrize("val", ["val", "Valid", "validation"])
def test_train_val_and_test_folders_are_taken_as_they_are(tmp_path, val):
    for name, per_class in (("train", 6), (val, 2), ("test", 3)):
        a_folder(tmp_path / name, per_class)
    splits = split(source(tmp_path), 0, val_fraction=0.5, fraction=1.0, split_seed=0)
    assert [len(part) for part in (splits.train, splits.val, splits.read_test())] == [12, 4, 6]


def test_a_folder_without_val_gives_validation_from_training(tmp_path):
    a_folder(tmp_path / "train", 10)
    splits = split(source(tmp_path), 0, val_fraction=0.2, fraction=1.0, split_seed=0)
    assert (len(splits.train), len(splits.val), splits.read_test()) == (16, 4, None)


def test_only_images_count_whatever_the_case_of_their_extension(tmp_path):
    a_folder(tmp_path, 2)
    Image.new("RGB", (6, 5)).save(tmp_path / "cat" / "more.JPEG")
    for name in ("notes.txt", ".hidden.png", "Thumbs.db"):
        (tmp_path / "cat" / name).write_text("no image")
    (tmp_path / ".cache").mkdir()
    assert len(source(tmp_path, test_fraction=0).read("train")) == 5


def test_names_that_are_not_utf_8_survive(tmp_path):
    folder = os.fsencode(a_folder(tmp_path, 2) / "cat")
    os.rename(folder + b"/000.png", folder + b"/\xe9.png")
    os.rename(folder, os.fsencode(tmp_path) + b"/c\xe4t")
    found = source(tmp_path, test_fraction=0)
    assert len(found.read("train")) == 4
    assert os.fsencode(found.class_names[0]) == b"c\xe4t"
    streamed = source(tmp_path, test_fraction=0, resident="never")
    assert content_of(streamed.read("train"), streamed.class_names) == content_of(
        found.read("train"), found.class_names
    )


def test_grey_images_and_another_size_on_request(tmp_path):
    found = source(a_folder(tmp_path), channels=1, image_size=[3, 4])
    assert found.image_shape == found.read("train").image_shape == (1, 3, 4)


def test_images_of_different_sizes_need_an_image_size(tmp_path):
    a_folder(tmp_path)
    Image.new("RGB", (9, 9)).save(tmp_path / "dog" / "large.png")
    with pytest.raises(DataError, match=r"data\.image_size=null: the images differ in size .*large\.png \(9, 9\)"):
        source(tmp_path, test_fraction=0)
    assert len(source(tmp_path, image_size=[5, 6], test_fraction=0).read("train")) == 21


def empty(root):
    root.joinpath("empty").mkdir()
    return root / "empty"


def missing(root):
    return root / "missing"


def files_only(root):
    Image.new("RGB", (6, 5)).save(root / "a.png")
    return root


def one_class(root):
    return a_folder(root, classes=("cat",))


def empty_class(root):
    (a_folder(root) / "mouse").mkdir()
    return root


def other_classes_in_test(root):
    a_folder(root / "train")
    a_folder(root / "test", classes=("cat", "cow"))
    return root


def no_train(root):
    a_folder(root / "test")
    return a_folder(root / "val").parent


def class_linked_from_outside(root):
    a_folder(root / "elsewhere")
    a_folder(root / "here", classes=("cat", "cow"))
    (root / "here" / "dog").symlink_to(root / "elsewhere" / "dog")
    return root / "here"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (empty, "has no class folders"),
        (missing, "cannot be listed"),
        (files_only, "has no class folders"),
        (one_class, "has one class folder, cat"),
        (empty_class, "mouse: has no images"),
        (other_classes_in_test, "test: has classes that training lacks: cow"),
        (class_linked_from_outside, "dog: is a link out of"),
    ],
)
def test_a_folder_that_cannot_be_used_is_named_in_one_line(tmp_path, make, message):
    with pytest.raises(DataError, match=message) as caught:
        source(make(tmp_path))
    assert "\n" not in str(caught.value)
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize(("make", "options"), [(no_train, {}), (a_folder, {"test_fraction": 1.0})])
def test_a_folder_without_training_images_is_for_evaluation_only(tmp_path, make, options):
    found = source(make(tmp_path), **options)
    assert (found.has_train, found.has_test) == (False, True)
    assert found.read("test").labels.bincount().tolist() == [10, 10]
    with pytest.raises(DataError, match="no training images"):
        split(found, 0, val_fraction=0.1, fraction=1.0, split_seed=0)


def test_root_is_needed_and_image_size_has_two_numbers(tmp_path):
    with pytest.raises(ConfigError, match=r"data\.root=null"):
        DATASETS["image_folder"](root=None, channels=3, test_fraction=0.1, resident="auto", image_size=None, **FOLDER,
                                 pack=False, workers=0, on_bad_image="error")  # fmt: skip
    with pytest.raises(ConfigError, match=r"data\.image_size=\[3\]"):
        source(a_folder(tmp_path), image_size=[3])


def with_bad_images(root):
    """20 images, of which two cannot be read and one is a link out of the folder."""
    a_folder(root / "data")
    (root / "data" / "cat" / "003.png").write_text("text")
    (root / "data" / "dog" / "004.png").write_bytes(b"")
    secret = a_folder(root / "elsewhere") / "cat" / "000.png"
    (root / "data" / "dog" / "005.png").unlink()
    (root / "data" / "dog" / "005.png").symlink_to(secret)
    return root / "data"


@pytest.mark.parametrize("resident", ["always", "never"])
def test_bad_images_are_left_out_and_listed_on_request(tmp_path, resident):
    found = source(with_bad_images(tmp_path), resident=resident, on_bad_image="skip", test_fraction=0)
    splits = split(found, 0, val_fraction=0.0, fraction=1.0, split_seed=0)
    assert splits.train.labels.bincount().tolist() == [9, 8]
    assert len(splits.skipped) == 3
    assert all(any(name in line for line in splits.skipped) for name in ("cat/003.png", "dog/004.png", "dog/005.png"))


@pytest.mark.parametrize("resident", ["always", "never"])
def test_a_bad_image_stops_otherwise_and_is_named(tmp_path, resident):
    root = with_bad_images(tmp_path)
    with pytest.raises(DataError, match=r"dog/005\.png: is a link out of .*data\.on_bad_image=skip"):
        source(root, resident=resident, test_fraction=0).read("train")
    (root / "dog" / "005.png").unlink()
    with pytest.raises(DataError, match=r"cat/003\.png: is no image .*data\.on_bad_image=skip"):
        list(source(root, resident=resident, test_fraction=0).read("train").batches(torch.arange(19), 4))


def test_a_folder_of_bad_images_only_is_an_error(tmp_path):
    for path in a_folder(tmp_path, 2).glob("*/*.png"):
        path.write_bytes(b"")
    with pytest.raises(DataError, match=r"000\.png: is empty"):
        source(tmp_path, on_bad_image="skip", image_size=[4, 4]).read("train")


@pytest.mark.parametrize("workers", [0, 2])
def test_streamed_batches_equal_resident_ones(tmp_path, workers):
    a_folder(tmp_path)
    resident, streamed = (source(tmp_path, resident=r, workers=workers) for r in ("always", "never"))
    resident, streamed = (split(s, 0, val_fraction=0.2, fraction=0.9, split_seed=1) for s in (resident, streamed))
    assert isinstance(streamed.train, StreamedImages)
    indices = torch.tensor([5, 0, 0, 9, 3, 7, 1])
    state = torch.random.get_rng_state()
    pairs = list(zip(resident.train.batches(indices, 3), streamed.train.batches(indices, 3), strict=True))
    assert len(pairs) == 3
    for (images, labels), (streamed_images, streamed_labels) in pairs:
        assert images.equal(streamed_images)
        assert labels.equal(streamed_labels)
    assert resident.mean.equal(streamed.mean)
    assert resident.std.equal(streamed.std)
    assert torch.random.get_rng_state().equal(state)


def test_a_worker_names_the_bad_image_in_one_line(tmp_path):
    root = a_folder(tmp_path)
    images = source(root, resident="never", workers=2, test_fraction=0).read("train")
    (root / "dog" / "007.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"dog/007\.png: is empty") as caught:
        list(images.batches(torch.arange(20), 4))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("fault", "limit"), [(lambda: os._exit(1), 120), (lambda: time.sleep(60), 1)])
def test_a_worker_that_dies_or_hangs_names_the_image(tmp_path, monkeypatch, fault, limit):
    streaming = import_module("cnnbench.data.streaming")
    decode = streaming.decode_image

    def failing(path, shape, *_):
        if os.path.basename(path) == "005.png":
            fault()
        return decode(path, shape)

    monkeypatch.setattr(streaming, "decode_image", failing)
    monkeypatch.setattr(streaming, "TIMEOUT_SECONDS", limit)
    monkeypatch.setattr(torch.utils.data._utils, "MP_STATUS_CHECK_INTERVAL", 0.1)  # how long it waits for the end
    images = source(a_folder(tmp_path), resident="never", workers=1, test_fraction=0).read("train")
    with pytest.raises(DataError, match=r"cat/005\.png: a worker died or took over"):
        list(images.batches(torch.arange(20), 4))


@pytest.mark.parametrize("batch_size", [4, 2], ids=["before it has sent", "what it has sent is lost with it"])
def test_a_worker_that_dies_is_told_where_the_next_batch_is_asked_for(tmp_path, monkeypatch, batch_size):
    streaming = import_module("cnnbench.data.streaming")
    decode = streaming.decode_image

    def dying(path, shape, *_):
        if os.path.basename(path) == "005.png":
            while not first_is_there.exists():
                time.sleep(0.01)
            os._exit(1)
        return decode(path, shape)

    first_is_there = tmp_path / "first"
    monkeypatch.setattr(streaming, "decode_image", dying)
    others = set(multiprocessing.active_children())
    handler = signal.getsignal(signal.SIGCHLD)
    images = source(a_folder(tmp_path), resident="never", workers=1, test_fraction=0).read("train")
    batches = images.batches(torch.arange(20), batch_size)
    next(batches)
    first_is_there.touch()
    (worker,) = set(multiprocessing.active_children()) - others
    worker.join(60)  # the training is at work, and nothing is raised there
    time.sleep(0.1)
    assert signal.getsignal(signal.SIGCHLD) is handler
    with pytest.raises(DataError, match=r"cat/005\.png: a worker died or took over"):
        list(batches)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2])
def test_a_signal_to_the_whole_process_group_leaves_the_workers_at_work(tmp_path, number):
    images = source(a_folder(tmp_path), resident="never", workers=2, test_fraction=0).read("train")
    batches = images.batches(torch.arange(20), 2)
    got = [next(batches)]
    for worker in multiprocessing.active_children():
        os.kill(worker.pid, number)
    got += batches
    assert [int(batch[0, 0, 0, 0]) for batch, _ in got] == list(range(0, 20, 2))


def test_a_process_that_ends_amid_an_epoch_does_not_wait_for_the_workers(tmp_path):
    a_folder(tmp_path)
    script = (
        "import torch\nfrom cnnbench.data.streaming import decode_batches\n"
        "paths = [f'cat/{i:03}.png' for i in range(10)]\n"
        "batches = decode_batches(paths, (3, 5, 6), torch.arange(10).split(1), workers=2)\n"
        "next(batches)"  # still there at the end, as where a traceback holds it
    )
    command = [sys.executable, "-c", script]
    ended = subprocess.run(
        command, cwd=tmp_path, env=os.environ | {"PYTHONPATH": ROOT}, capture_output=True, timeout=60
    )
    assert (ended.returncode, ended.stderr) == (0, b"")


def test_workers_start_in_a_process_whose_own_way_of_starting_some_is_not_pythons(tmp_path, monkeypatch):
    images = source(a_folder(tmp_path), resident="never", workers=2, test_fraction=0).read("train")
    monkeypatch.setattr(multiprocessing, "get_start_method", lambda: "loky")  # as in joblib's processes
    monkeypatch.setattr(multiprocessing.context.Process, "_Popen", None)  # how that would start them
    assert len(list(images.batches(torch.arange(20), 4))) == 5


def test_many_images_are_decoded_by_workers_in_the_same_order(tmp_path, monkeypatch):
    a_folder(tmp_path)
    alone = source(tmp_path).read("train")
    monkeypatch.setattr(module, "MANY_IMAGES", 1)
    monkeypatch.setattr(module, "CHUNK_IMAGES", 3)
    assert source(tmp_path, workers=2).read("train").images.equal(alone.images)


def test_auto_streams_what_does_not_fit_into_memory(tmp_path, monkeypatch):
    a_folder(tmp_path)
    needed = 3 * 20 * 3 * 5 * 6
    for available, resident in ((needed, True), (needed - 1, False)):
        monkeypatch.setattr(module, "available_memory", lambda available=available: available)
        assert hasattr(source(tmp_path, resident="auto").read("train"), "images") == resident
