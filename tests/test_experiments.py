"""Every experiment of conf/experiment, trained for as few epochs as one may ask for."""

import pytest
from tiny import summary

from cnnbench.config.compose import compose
from cnnbench.config.tables import conf_folder
from cnnbench.experiment import run_experiment

EXPERIMENTS = sorted(path.stem for path in (conf_folder() / "experiment").glob("*.yaml"))
SHAPES = {"digits": "[1,8,8]", "mnist": "[1,28,28]", "fashion_mnist": "[1,28,28]", "cifar10": "[3,32,32]"}
SMALL = ["data=synthetic", "data.num_classes=10", "data.train_images=24", "data.test_images=8", "batch_size=8"]
FIXED = ["device=cpu", "device.threads=1", "device.precision=fp32"]


@pytest.mark.parametrize("epochs", [1, 2])
@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_experiment_trains_for_the_fewest_epochs(experiment, epochs, tmp_path):
    data = compose([f"experiment={experiment}"]).data
    own_size = [f"data.image_shape={SHAPES[data['name']]}", f"data.val_fraction={data['val_fraction']}"]
    config = compose([f"experiment={experiment}", f"epochs={epochs}", *SMALL, *own_size, *FIXED])
    run_experiment(config, tmp_path / "run")
    assert summary(tmp_path / "run")["status"] == "finished"
    assert summary(tmp_path / "run")["epochs"] == epochs
