import pytest
from torch import nn

from cnnbench.config.compose import compose
from cnnbench.runs.identity import SEPARATES_NO_GROUPS, architecture_hash, config_hash, group_hash


def hashes(*overrides):
    config = compose(overrides).as_dict()
    return config_hash(config), group_hash(config)


def test_a_number_is_the_same_however_it_is_spelled():
    assert hashes("optimizer=sgd", "optimizer.momentum=0", "optimizer.lr=1") == hashes(
        "optimizer=sgd", "optimizer.momentum=0.0", "optimizer.lr=1.0"
    )
    assert hashes("target.value=1") == hashes("target.value=1.0")
    assert hashes("optimizer=adam", "optimizer.betas=[0,0.9]") == hashes("optimizer=adam", "optimizer.betas=[0.0,0.9]")


def test_the_order_of_augmentations_counts_and_that_of_regularizers_does_not():
    assert hashes("augmentation=[cutout,crop_flip]") != hashes("augmentation=[crop_flip,cutout]")
    assert hashes("regularization=[mixup,ema]") == hashes("regularization=[ema,mixup]")


def test_a_relative_folder_is_the_absolute_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    relative = compose(["data=fashion_mnist", "data.root=here/../there"]).data["root"]
    assert relative == str(tmp_path / "there")
    monkeypatch.setenv("HOME", "/home/me")
    assert compose(["data=fashion_mnist", "data.root='~/images'"]).data["root"] == "/home/me/images"


@pytest.mark.parametrize(
    "override",
    ["seed=1", "data.root=/elsewhere", "data.workers=1", "data.resident=never", "data.pack=false"],
)
def test_where_images_lie_and_how_they_are_read_separates_no_groups(override):
    plain, other = hashes("data=image_folder"), hashes("data=image_folder", override)
    assert plain[1] == other[1]
    assert plain[0] != other[0]


def test_what_separates_no_groups_are_keys_of_a_config():
    config = compose(["data=image_folder"]).as_dict() | {"data.download": compose(["data=mnist"]).data["download"]}
    keys = {*config, *(f"data.{key}" for key in config["data"]), "loss.teacher"}
    assert "teacher" in compose(["loss=distillation", "loss.teacher=a"]).loss
    assert set(SEPARATES_NO_GROUPS) - keys == set()


@pytest.mark.parametrize("override", ["data.image_size=[9,9]", "data.val_fraction=0.2", "data.on_bad_image=skip"])
def test_which_images_they_are_separates_groups(override):
    assert hashes("data=image_folder")[1] != hashes("data=image_folder", override)[1]


def test_architectures_are_told_apart_by_modules_settings_and_shapes():
    networks = [
        nn.Sequential(nn.Linear(4, 3), nn.ReLU()),
        nn.Sequential(nn.Linear(4, 3), nn.GELU()),
        nn.Sequential(nn.Linear(4, 2), nn.ReLU()),
        nn.Sequential(nn.Linear(4, 3, bias=False), nn.ReLU()),
        nn.Sequential(nn.Linear(4, 3), nn.Dropout(0.1)),
        nn.Sequential(nn.Linear(4, 3), nn.Dropout(0.2)),
    ]
    assert len({architecture_hash(network) for network in networks}) == len(networks)
    assert architecture_hash(nn.Linear(4, 3)) == architecture_hash(nn.Linear(4, 3))
