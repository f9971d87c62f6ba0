import copy
import json

import pytest
import torch
from torch import nn

from cnnbench.models.layer_sizes import layer_sizes, resize


class Scaled(nn.Module):
    """Has a parameter that belongs to no layer, as the layer scale of a ConvNeXt does."""

    def __init__(self, width):
        super().__init__()
        self.conv = nn.Conv2d(3, width, 3, padding=1)
        self.depthwise = nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.norm = nn.BatchNorm2d(width)
        self.scale = nn.Parameter(torch.rand(width, 1, 1))
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LayerNorm(width), nn.Linear(width, 4))

    def forward(self, images):
        return self.head(self.scale * self.norm(self.depthwise(self.conv(images))))


def test_a_network_resized_to_anothers_sizes_takes_its_weights():
    large, small = Scaled(8).eval(), Scaled(5).eval()
    resize(large, json.loads(json.dumps(layer_sizes(small))))
    large.load_state_dict(small.state_dict())
    images = torch.randn(2, 3, 6, 6)
    assert torch.equal(large(images), small(images))


def test_equal_sizes_change_nothing():
    model = Scaled(8)
    before = copy.deepcopy(model.state_dict())
    resize(model, layer_sizes(model))
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize(
    ("layer", "key", "value"),
    [
        ("conv", "out_channels", 9),
        ("conv", "out_channels", 0),
        ("conv", "out_channels", True),
        ("conv", "out_channels", 5.0),
        ("conv", "out_channels", None),
        ("head.2", "normalized_shape", [9]),
        ("head.2", "normalized_shape", [4, 2]),
        ("scale", "shape", [10**9, 1, 1]),
    ],
)
def test_sizes_that_no_removal_of_filters_leads_to_are_refused(layer, key, value):
    sizes = layer_sizes(Scaled(8))
    sizes[layer][key] = value
    with pytest.raises(ValueError, match=f"{layer} cannot have the sizes"):
        resize(Scaled(8), sizes)


def test_groups_that_do_not_divide_the_channels_are_refused():
    sizes = layer_sizes(Scaled(8))
    sizes["depthwise"] |= {"groups": 3}
    with pytest.raises(ValueError, match="3 groups do not divide its channels"):
        resize(Scaled(8), sizes)


@pytest.mark.parametrize("change", ["missing", "added", "renamed"])
def test_layers_of_another_network_are_refused(change):
    sizes = layer_sizes(Scaled(8))
    if change != "added":
        del sizes["norm"]
    if change != "missing":
        sizes["other"] = {"num_features": 8}
    with pytest.raises(ValueError, match="is a layer of one of them only"):
        resize(Scaled(8), sizes)
