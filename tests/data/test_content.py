"""What a set of images is by content: the same however it is read and wherever it lies."""

import hashlib
import shutil

import pytest
import torch
from tiny import FOLDER, write_image

from cnnbench.data import DATASETS, ResidentImages
from cnnbench.data.images import content_of
from cnnbench.data.splits import split

CLASSES = ("cat", "dog")


@pytest.fixture
def photos(tmp_path):
    """Twelve images of each of two classes, every one different."""
    folder = tmp_path / "photos"
    for name in CLASSES:
        for number in range(12):
            write_image(folder / name / f"{number:02}.png", (9, 8, 3), seed=hash_of(name, number))
    return folder


def hash_of(*place):
    return int(hashlib.sha256(repr(place).encode()).hexdigest()[:8], 16)


def read(root, part="train", **settings):
    chosen = {
        "channels": 3,
        **FOLDER,
        "image_size": None,
        "test_fraction": 0.25,
        "resident": "always",
        "pack": False,
        "workers": 0,
        "on_bad_image": "error",
    }
    source = DATASETS["image_folder"](root=str(root), **chosen | settings)
    return source.read(part), source.class_names


def a_set(count=6):
    images = torch.randint(256, (count, 1, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return ResidentImages(images, torch.arange(count) % 2)


@pytest.mark.parametrize("part", ["train", "test"])
def test_resident_packed_and_streamed_images_are_the_same_by_content_and_by_order(photos, part):
    ways = [{}, {"pack": True}, {"pack": True, "resident": "never"}, {"resident": "never"}]
    images = [read(photos, part, **way) for way in ways]
    assert [type(each).__name__ for each, _ in images] == ["ResidentImages"] * 2 + ["PackedImages", "StreamedImages"]
    assert len({content_of(*each) for each in images}) == 1


def test_streamed_images_are_decoded_for_it_once_and_have_the_histogram_of_all(photos, monkeypatch):
    streamed, names = read(photos, resident="never")
    first, histogram = content_of(streamed, names), read(photos)[0].histogram()
    monkeypatch.setattr("cnnbench.data.streaming.decode_image", lambda *_: pytest.fail("decoded again"))
    again, names = read(photos, resident="never")
    assert content_of(again, names) == first
    assert torch.equal(again.histogram(), histogram)


def test_where_the_images_lie_changes_nothing(photos, tmp_path):
    moved = shutil.copytree(photos, tmp_path / "elsewhere" / "copy")
    assert content_of(*read(photos)) == content_of(*read(moved))


def test_a_changed_pixel_label_or_number_of_images_is_other_content():
    images = a_set()
    pixels, labels = images.images.clone(), images.labels.clone()
    pixels[5, 0, 0, 0] ^= 1
    labels[5] = 0
    others = [
        ResidentImages(pixels, images.labels),
        ResidentImages(images.images, labels),
        images.subset(torch.arange(5)),
    ]
    prints = {content_of(each, CLASSES).fingerprint for each in (images, *others)}
    assert len(prints) == 4


def test_the_order_of_images_and_of_classes_changes_the_order_but_not_what_they_are():
    images = a_set()
    turned = images.subset(torch.arange(5, -1, -1))
    renumbered = ResidentImages(images.images, 1 - images.labels)
    first, second = content_of(images, CLASSES), content_of(turned, CLASSES)
    assert first.fingerprint == second.fingerprint == content_of(renumbered, CLASSES[::-1]).fingerprint
    assert first.order != second.order
    assert content_of(renumbered, CLASSES).fingerprint != first.fingerprint


def test_the_same_bytes_in_another_shape_are_other_images():
    images = a_set()
    reshaped = ResidentImages(images.images.view(6, 1, 2, 8), images.labels)
    assert content_of(images, CLASSES).fingerprint != content_of(reshaped, CLASSES).fingerprint


def test_an_empty_validation_part_has_no_content(photos):
    source = DATASETS["digits"]()
    assert set(split(source, 0, val_fraction=0.0, fraction=1.0, split_seed=0).content) == {"train"}
