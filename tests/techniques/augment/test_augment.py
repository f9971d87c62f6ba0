"""What every augmentation promises, for every YAML of the group."""

from pathlib import Path

import pytest
import torch
import yaml

from cnnbench.config.settings import build, settings
from cnnbench.techniques.augment import AUGMENTATIONS, compose

YAMLS = sorted((Path(__file__).parents[3] / "conf" / "augmentation").glob("*.yaml"))
CHOICES = [path.stem for path in YAMLS if path.stem != "none"]


def augmentation(name, shape):
    path = YAMLS[0].with_name(f"{name}.yaml")
    node = {"name": name} | yaml.safe_load(path.read_text())[name]
    fill = torch.full((shape[0],), 120, dtype=torch.uint8)
    return build(AUGMENTATIONS, "augmentation", node, image_shape=shape, fill=fill)


def random_batch(draws, shape, batch=37):
    generator = torch.Generator().manual_seed(5)
    images = torch.randint(256, (batch, *shape), dtype=torch.uint8, generator=generator)
    return images // 2 + 50, torch.rand(batch, draws, generator=generator)


def test_every_function_has_a_yaml_with_exactly_its_settings():
    assert sorted(CHOICES) == sorted(AUGMENTATIONS)
    for path in YAMLS:
        text = path.read_text()
        assert text.startswith("# ")
        for name, values in yaml.safe_load(text).items():
            assert name == path.stem
            assert set(values) == set(settings(AUGMENTATIONS[name]))


def test_none_is_the_empty_composition():
    assert yaml.safe_load(YAMLS[0].with_name("none.yaml").read_text()) == {}
    images, noise = random_batch(0, (3, 8, 8))
    assert compose([]).draws == 0
    assert torch.equal(compose([]).apply(images, noise), images)


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 28, 28), (3, 9, 14), (2, 8, 8)])
@pytest.mark.parametrize("name", CHOICES)
def test_an_image_has_the_same_outcome_in_any_batch(name, shape):
    chosen = augmentation(name, shape)
    images, noise = random_batch(chosen.draws, shape)
    before = images.clone()
    together = chosen.apply(images, noise)
    assert together.dtype == torch.uint8
    assert together.shape == images.shape
    assert torch.equal(images, before)
    assert not torch.equal(together, images)
    for size in (1, 5, 16):
        parts = [chosen.apply(*part) for part in zip(images.split(size), noise.split(size), strict=True)]
        assert torch.equal(torch.cat(parts), together)


@pytest.mark.parametrize("name", CHOICES)
def test_an_image_has_the_same_outcome_in_any_order(name):
    chosen = augmentation(name, (3, 15, 13))
    images, noise = random_batch(chosen.draws, (3, 15, 13))
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(6))
    assert torch.equal(chosen.apply(images[order], noise[order]), chosen.apply(images, noise)[order])


@pytest.mark.parametrize("name", CHOICES)
def test_the_memory_format_changes_nothing(name):
    chosen = augmentation(name, (3, 12, 17))
    images, noise = random_batch(chosen.draws, (3, 12, 17))
    channels_last = images.contiguous(memory_format=torch.channels_last)
    assert torch.equal(chosen.apply(channels_last, noise), chosen.apply(images, noise))


def test_composition_applies_in_order_with_separate_noise():
    shape = (3, 16, 16)
    first, second = augmentation("crop_flip", shape), augmentation("cutout", shape)
    both = compose([first, second])
    assert both.draws == first.draws + second.draws
    images, noise = random_batch(both.draws, shape)
    expected = second.apply(first.apply(images, noise[:, : first.draws]), noise[:, first.draws :])
    assert torch.equal(both.apply(images, noise), expected)


def test_a_composition_alternates_the_columns_of_its_parts():
    shape = (3, 16, 16)
    mirror = AUGMENTATIONS["flip"](horizontal=True, vertical=True, alternate=True)
    assert compose([augmentation("crop_flip", shape), mirror, augmentation("cutout", shape), mirror]).alternating == (
        3, 4, 7, 8,
    )  # fmt: skip
