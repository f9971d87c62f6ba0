import subprocess
import sys

import pytest
import torch

from cnnbench.data import DATASETS
from cnnbench.errors import ConfigError


def synthetic(**changes):
    settings = {"image_shape": [2, 9, 7], "num_classes": 3, "train_images": 90, "test_images": 30, "noise": 30.0}
    return DATASETS["synthetic"](**settings | {"seed": 0} | changes)


def test_digits_are_1797_images_with_a_fixed_stratified_test_part():
    source = DATASETS["digits"]()
    train, test = source.read("train"), source.read("test")
    assert (len(train), len(test)) == (1438, 359)
    assert train.image_shape == source.image_shape == (1, 8, 8)
    assert (train.images.min(), train.images.max()) == (0, 255)
    assert min(test.labels.bincount()) >= 34
    assert max(test.labels.bincount()) <= 37
    assert test.labels[:6].tolist() == source.read("test").labels[:6].tolist()


def test_digits_equal_those_of_scikit_learn():
    from sklearn.datasets import load_digits

    ours = torch.cat([DATASETS["digits"]().read(part).images for part in ("train", "test")])
    theirs = torch.from_numpy(load_digits().images)
    assert ours.double().sum().item() == (theirs * 255 / 16).round().sum().item()


def test_loading_digits_imports_neither_scikit_learn_nor_torchvision():
    code = """import sys; from cnnbench.data import DATASETS; DATASETS["digits"]().read("train")
print([name for name in ("sklearn", "scipy", "torchvision") if name in sys.modules])"""
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


def test_synthetic_images_come_from_the_seed_alone():
    first, again, other = (synthetic(seed=s).read("train") for s in (4, 4, 5))
    assert first.images.shape == (90, 2, 9, 7)
    assert first.images.equal(again.images)
    assert not first.images.equal(other.images)
    assert first.labels.bincount().tolist() == [30, 30, 30]


def test_synthetic_classes_can_be_told_apart_on_unseen_images():
    source = synthetic()
    train, test = source.read("train"), source.read("test")
    means = torch.stack([train.images[train.labels == k].float().mean(0) for k in range(3)])
    nearest = (test.images.float()[:, None] - means).square().sum((2, 3, 4)).argmin(1)
    assert (nearest == test.labels).float().mean() > 0.9
    assert not test.images.equal(train.images[:30])


@pytest.mark.parametrize("changes", [{"image_shape": [3, 3]}, {"num_classes": 1}])
def test_impossible_synthetic_settings_are_named(changes):
    with pytest.raises(ConfigError, match=f"data.{next(iter(changes))}="):
        synthetic(**changes)
