import pytest
import torch
from torch import nn

from cnnbench.device import make_device
from cnnbench.inference import folded, prepared
from cnnbench.models.airbench import airbench
from cnnbench.models.resnet import resnet


def trained(*layers):
    """A net whose norms have seen data and learnt scales and shifts."""
    torch.manual_seed(0)
    model = nn.Sequential(*layers)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias)
    for _ in range(3):
        model(torch.randn(8, 3, 12, 12) + 1)
    return model.eval()


def norms_left(model):
    return [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]


def assert_folds(model, left=0):
    images = torch.randn(4, 3, 12, 12)
    with torch.inference_mode():
        torch.testing.assert_close(folded(model)(images), model(images), rtol=1e-4, atol=1e-5)
    assert len(norms_left(folded(model))) == left


def test_a_norm_after_a_convolution_is_folded_with_the_same_answers():
    assert_folds(trained(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, 3)))
    assert_folds(trained(nn.Sequential(nn.Conv2d(3, 8, 3), nn.Identity(), nn.BatchNorm2d(8)), nn.ReLU()))


def test_a_norm_after_a_max_pooling_is_folded_unless_a_scale_is_negative():
    model = trained(nn.Conv2d(3, 8, 3), nn.MaxPool2d(2), nn.BatchNorm2d(8), nn.ReLU())
    assert_folds(model)
    model[2].weight.data[0] = -1.0
    assert_folds(model, left=1)


def test_other_neighbours_stay():
    assert_folds(trained(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.BatchNorm2d(8)), left=1)
    assert_folds(trained(nn.Conv2d(3, 8, 3), nn.AvgPool2d(2), nn.BatchNorm2d(8)), left=1)
    assert_folds(trained(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8, track_running_stats=False)), left=1)


@pytest.mark.parametrize("make", [resnet, airbench])
def test_whole_networks_lose_all_their_norms(make):
    settings = {"activation": "relu"}
    if make is resnet:
        settings |= {"depth": 20, "stem": "small", "width_multiplier": 0.5, "residual": True, "norm": "batch"}
        settings |= {"dropout": 0.0}
    else:
        settings |= {"widths": [8, 16], "depth": 2, "whitening_size": 2, "whitening_stride": 1}
        settings |= {"norm_momentum": 0.4, "logit_scale": 1.0}
    assert_folds(trained(make((3, 12, 12), 5, **settings)))


def test_the_model_itself_stays_as_it_is():
    model = trained(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8)).train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    prepared(model, make_device("cpu", "bf16", "channels_last", threads=1))
    assert model.training
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_weights_are_cast_once_to_what_autocast_makes_of_them():
    device = make_device("cpu", "bf16", "contiguous", threads=1)
    model = trained(nn.Conv2d(3, 8, 3), nn.GroupNorm(1, 8), nn.Flatten(), nn.Linear(800, 5))
    ready = prepared(model, device)
    assert [parameter.dtype for parameter in ready.parameters()] == [
        torch.bfloat16, torch.bfloat16, torch.float32, torch.float32, torch.bfloat16, torch.bfloat16
    ]  # fmt: skip
    images = torch.randn(4, 3, 12, 12)
    with torch.inference_mode(), device.autocast():
        assert torch.equal(ready(images), model(images))
