import pytest
import torch
from torch import nn

from cnnbench.errors import ConfigError
from cnnbench.models import MODELS
from cnnbench.models.describe import walk


def published(architecture: str, image_shape=(3, 224, 224), num_classes=1000):
    with torch.device("meta"):
        return walk(MODELS["torchvision"](image_shape, num_classes, architecture=architecture), image_shape)


@pytest.mark.parametrize(
    ("architecture", "parameters", "gmacs"),
    [
        ("resnet18", 11_689_512, 1.81),
        ("mobilenet_v3_small", 2_542_856, 0.06),
        ("squeezenet1_1", 1_235_496, 0.35),
        ("googlenet", 6_624_904, 1.50),
        ("shufflenet_v2_x0_5", 1_366_792, 0.04),
        ("densenet121", 7_978_856, 2.83),
        ("regnet_y_400mf", 4_344_144, 0.40),
    ],
)
def test_parameters_and_macs_are_those_of_torchvisions_tables(architecture, parameters, gmacs):
    description = published(architecture)
    assert description.parameters == parameters
    assert description.macs / 1e9 == pytest.approx(gmacs, abs=0.01)


def test_grey_images_change_only_the_first_convolution():
    colour = published("resnet18", num_classes=7)
    grey = published("resnet18", (1, 224, 224), num_classes=7)
    assert colour.parameters - grey.parameters == 2 * 64 * 49
    assert grey.layers[-1].output_shape == (7,)


def test_a_replaced_convolution_computes_logits():
    net = MODELS["torchvision"]((4, 32, 32), 3, architecture="mobilenet_v3_small").eval()
    assert net(torch.zeros(2, 4, 32, 32)).shape == (2, 3)


def test_a_training_googlenet_gives_logits_only():
    net = MODELS["torchvision"]((3, 32, 32), 3, architecture="googlenet")
    assert not any("aux" in name for name, m in net.named_modules() if isinstance(m, nn.Linear))
    assert net.train()(torch.zeros(2, 3, 32, 32)).shape == (2, 3)


def test_an_unknown_architecture_suggests_the_nearest():
    with pytest.raises(ConfigError, match=r"^model.architecture=resnet19: .*did you mean 'resnet1?"):
        published("resnet19")
    with pytest.raises(ConfigError, match=r"not a convolutional classifier"):
        published("vit_b_16")


def test_images_too_small_for_alexnet_are_named_in_one_line():
    with pytest.raises(
        ConfigError, match=r"^model: features.\d+ \w+ window 3 is larger than its .* for 3x32x32 images"
    ):
        published("alexnet", (3, 32, 32))
