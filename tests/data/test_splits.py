from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from cnnbench.config.settings import check, settings
from cnnbench.data import DATASETS, ResidentImages, Source, split
from cnnbench.data.images import content_of
from cnnbench.data.splits import mean_and_std, stratified_order
from cnnbench.seeds import generator

CONF = Path(__file__).parents[2] / "conf" / "data"
SIZES = (50, 30, 7, 1)


def a_source(sizes=SIZES, **changes):
    labels = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    pixels = torch.randint(0, 256, (len(labels), 2, 3, 3), generator=generator(0), dtype=torch.uint8)
    pixels[:, 0, 0, 0] = torch.arange(len(labels)) % 256  # tells the images apart
    images = ResidentImages(pixels, labels)
    names = tuple(map(str, range(len(sizes))))
    return Source(**{"name": "a", "origin": "a", "image_shape": (2, 3, 3), "class_names": names,
                     "read": lambda part: images, **changes})  # fmt: skip


def ids(images):
    return images.images[:, 0, 0, 0].tolist()


def test_every_yaml_names_a_data_set_and_holds_exactly_its_settings():
    assert {path.stem for path in CONF.glob("*.yaml")} == set(DATASETS)
    for path in CONF.glob("*.yaml"):
        node = OmegaConf.to_container(OmegaConf.load(path))
        assert node["name"] == path.stem
        assert check(DATASETS, "data", node, shared=split) == []
        assert set(node) - {"name"} == set(settings(DATASETS[path.stem])) | set(settings(split))
        assert path.read_text().startswith("# ")


def test_validation_has_the_classes_in_proportion_and_training_the_rest():
    splits = split(a_source(), 0, val_fraction=0.2, fraction=1.0, split_seed=0)
    assert len(splits.val) == round(0.2 * sum(SIZES)) == 18
    for taken, size in zip(splits.val.labels.bincount(minlength=4).tolist(), SIZES, strict=True):
        assert abs(taken - 18 / 88 * size) < 1
    assert sorted(ids(splits.train) + ids(splits.val)) == list(range(sum(SIZES)))


@pytest.mark.parametrize(("val_fraction", "fraction"), [(0.99, 1.0), (0.5, 0.001), (0.0, 0.001)])
def test_every_class_keeps_an_image_for_training(val_fraction, fraction):
    splits = split(a_source(), 0, val_fraction=val_fraction, fraction=fraction, split_seed=3)
    assert splits.train.labels.unique().tolist() == [0, 1, 2, 3]


def test_one_image_is_enough():
    splits = split(a_source((1,)), 0, val_fraction=0.5, fraction=0.5, split_seed=0)
    assert (len(splits.train), len(splits.val)) == (1, 0)


def test_the_split_depends_on_its_seed_alone():
    first, again, other = (split(a_source(), 0, val_fraction=0.2, fraction=0.7, split_seed=s) for s in (0, 0, 1))
    assert ids(first.train) == ids(again.train)
    assert ids(first.val) == ids(again.val)
    assert first.content == again.content
    assert ids(first.val) != ids(other.val)
    assert all(first.content[part] != other.content[part] for part in ("train", "val"))


def test_without_a_split_seed_the_split_follows_the_seed_of_the_run():
    settings = {"val_fraction": 0.2, "fraction": 1.0}
    splits = {seed: split(a_source(), seed, **settings, split_seed=None) for seed in (0, 3)}
    for seed, found in splits.items():
        assert found.content == split(a_source(), 7, **settings, split_seed=seed).content
    assert splits[0].content["val"] != splits[3].content["val"]


def test_what_is_split_is_known_as_a_whole_by_content_unless_some_of_it_is_left_out():
    settings = {"val_fraction": 0.2, "split_seed": None}
    wholes = {split(a_source(), seed, **settings, fraction=1.0).whole for seed in range(3)}
    images = a_source().read("train")
    assert wholes == {content_of(images, a_source().class_names).fingerprint}
    other = a_source(read=lambda part: images.subset(torch.arange(len(images) - 1)))
    assert split(other, 0, **settings, fraction=1.0).whole not in wholes
    assert split(a_source(), 0, **settings, fraction=0.9).whole is None


def test_the_whole_holds_validation_images_that_the_source_has_itself():
    images = a_source().read("train")
    parts = {"train": images.subset(torch.arange(60)), "val": images.subset(torch.arange(60, len(images)))}
    own = split(a_source(has_val=True, read=parts.get), 0, val_fraction=0.5, fraction=1.0, split_seed=0)
    assert own.whole == split(a_source(), 0, val_fraction=0.0, fraction=1.0, split_seed=0).whole


def test_smaller_fractions_lie_within_larger_ones_and_leave_validation_alone():
    parts = [split(a_source(), 0, val_fraction=0.2, fraction=f, split_seed=0) for f in (0.1, 0.3, 0.31, 1.0)]
    for smaller, larger in pairwise(parts):
        assert set(ids(smaller.train)) <= set(ids(larger.train))
        assert ids(smaller.val) == ids(larger.val)
    assert [len(part.train) for part in parts] == [7, 21, 22, 70]


def test_every_prefix_of_the_stratified_order_has_the_classes_in_proportion():
    labels = torch.arange(3).repeat_interleave(torch.tensor([60, 30, 10]))
    order = stratified_order(labels, generator(0))
    assert sorted(order.tolist()) == list(range(100))
    for length in range(3, 101):
        counts = labels[order[:length]].bincount(minlength=3)
        assert (counts - length * torch.tensor([0.6, 0.3, 0.1])).abs().max() <= 1.5


def test_mean_and_std_are_those_of_the_training_part_in_float64():
    splits = split(a_source(), 0, val_fraction=0.2, fraction=1.0, split_seed=0)
    pixels = splits.train.images.numpy().astype(np.float64) / 255
    np.testing.assert_allclose(splits.mean, pixels.mean(axis=(0, 2, 3)), rtol=1e-6)
    np.testing.assert_allclose(splits.std, pixels.std(axis=(0, 2, 3)), rtol=1e-6)
    assert splits.mean.dtype == splits.std.dtype == torch.float32


def test_a_constant_channel_has_the_deviation_of_one_grey_level():
    images = ResidentImages(torch.full((5, 1, 2, 2), 7, dtype=torch.uint8), torch.zeros(5, dtype=torch.int64))
    mean, std = mean_and_std(images.histogram())
    assert mean.item() == pytest.approx(7 / 255)
    assert std.item() == pytest.approx(1 / 255)


def test_the_test_split_is_not_read_until_asked_for():
    read = []
    source = a_source()

    def noting(part):
        read.append(part)
        return source.read(part)

    splits = split(a_source(read=noting), 0, val_fraction=0.1, fraction=1.0, split_seed=0)
    assert read == ["train"]
    assert len(splits.read_test()) == sum(SIZES)
    assert read == ["train", "test"]
    assert split(a_source(has_test=False), 0, val_fraction=0.1, fraction=1.0, split_seed=0).read_test() is None


def test_a_source_with_validation_images_keeps_all_training_images():
    splits = split(a_source(has_val=True), 0, val_fraction=0.5, fraction=1.0, split_seed=0)
    assert len(splits.train) == len(splits.val) == sum(SIZES)


def test_batches_follow_the_indices_and_the_last_is_smaller():
    images = a_source().read("train")
    indices = torch.tensor([80, 3, 3, 41, 0])
    batches = list(images.batches(indices, 2))
    assert [len(labels) for _, labels in batches] == [2, 2, 1]
    assert torch.cat([pixels for pixels, _ in batches]).equal(images.images[indices])
    assert torch.cat([labels for _, labels in batches]).equal(images.labels[indices])
    assert list(images.batches(indices[:0], 2)) == []
