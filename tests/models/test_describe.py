from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from cnnbench.assemble import make_model
from cnnbench.config.compose import compose
from cnnbench.errors import ConfigError
from cnnbench.models.describe import output_shape, walk

CONF = Path(__file__).parents[2] / "conf"


def field(*layers: nn.Module, size: int = 64) -> int:
    height, width = walk(nn.Sequential(*layers), (1, size, size)).receptive_field
    assert height == width
    return height


def conv(kernel_size: int, **options: int) -> nn.Conv2d:
    return nn.Conv2d(1, 1, kernel_size, **options)


def test_parameters_and_macs_equal_the_formulas():
    model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 16 * 12, 5))
    description = walk(model, (3, 16, 12))
    assert description.parameters == (8 * 3 * 9 + 8) + (8 * 16 * 12 * 5 + 5)
    assert description.macs == 8 * 3 * 9 * 16 * 12 + 8 * 16 * 12 * 5
    assert [(layer.name, layer.kind, layer.output_shape, layer.macs) for layer in description.layers] == [
        ("0", "Conv2d", (8, 16, 12), 8 * 3 * 9 * 16 * 12),
        ("1", "ReLU", (8, 16, 12), 0),
        ("2", "Flatten", (8 * 16 * 12,), 0),
        ("3", "Linear", (5,), 8 * 16 * 12 * 5),
    ]
    assert sum(layer.parameters for layer in description.layers) == description.parameters


def test_a_depthwise_convolution_costs_one_kernel_per_channel():
    description = walk(nn.Conv2d(6, 6, 3, padding=1, groups=6, bias=False), (6, 10, 10))
    assert description.parameters == 6 * 9
    assert description.macs == 6 * 9 * 100


@pytest.mark.parametrize("name", sorted({path.stem for path in (CONF / "model").glob("*.yaml")} - {"torchvision"}))
def test_macs_of_every_model_are_half_the_flops_that_torch_counts(name: str):
    model = make_model(compose([f"model={name}"]), (3, 32, 32), 10).eval()
    with FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, 3, 32, 32))
    description = walk(model, (3, 32, 32))
    assert description.macs == counter.get_total_flops() // 2 > 0
    assert sum(layer.macs for layer in description.layers) == description.macs


class Attention(nn.Module):
    """Over the four columns of a 6x4 map."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(6, num_heads=2, batch_first=True)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        columns = images[:, 0].transpose(1, 2)
        return self.attention(columns, columns, columns)[0]


def test_products_within_one_function_of_torch_count():
    projections, scores, mixtures = 4 * (4 * 6 * 6), 4 * 4 * 6, 4 * 4 * 6
    assert walk(Attention(), (1, 6, 4)).macs == projections + scores + mixtures


def test_receptive_field_of_stacks_equals_the_known_numbers():
    assert field(conv(3), conv(3)) == 5
    assert field(conv(3), conv(3), conv(3)) == field(conv(7)) == 7
    assert field(conv(3), nn.MaxPool2d(2), conv(3)) == 3 + 1 + 2 * 2
    assert field(conv(7, stride=2, padding=3), nn.MaxPool2d(3, 2, 1), conv(3)) == 7 + 2 * 2 + 2 * 4
    assert field(conv(3, dilation=4, padding=4)) == 9
    assert field(nn.AvgPool2d(2), conv(5, padding=2)) == 2 + 4 * 2


def test_receptive_field_counts_height_and_width_apart():
    assert walk(nn.Conv2d(1, 1, (1, 7), padding=(0, 3)), (1, 9, 9)).receptive_field == (1, 7)


def test_global_pooling_and_what_follows_leave_the_receptive_field_alone():
    assert field(conv(3), nn.AdaptiveAvgPool2d(1), conv(1), nn.Flatten(), nn.Linear(1, 2)) == 3


class Branches(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = conv(2), conv(3, padding=1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        right = self.right(images)[:, :, :-1, :-1]
        return torch.cat([self.left(images), right], dim=1) + right


def test_receptive_field_of_branches_is_the_union_of_theirs():
    # left sees the pixels 0..1 of an output, right -1..1: together 3, not 2 + 3
    assert walk(Branches(), (1, 8, 8)).receptive_field == (3, 3)


def test_the_receptive_field_is_where_the_gradient_reaches():
    torch.manual_seed(0)
    model = nn.Sequential(conv(3, padding=1), nn.AvgPool2d(2), conv(5, padding=2), nn.AvgPool2d(3, 2, 1), conv(3))
    images = torch.rand(1, 1, 96, 96, requires_grad=True)
    output = model(images)
    output[0, 0, output.shape[2] // 2, output.shape[3] // 2].backward()
    assert images.grad is not None
    rows = images.grad[0, 0].abs().sum(dim=1).nonzero()
    assert walk(model, (1, 96, 96)).receptive_field[0] == int(rows.max() - rows.min() + 1)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (nn.MaxPool2d(4), "model: 0 MaxPool2d window 4 is larger than its 3x3 map for 1x3x3 images; "),
        (nn.AvgPool2d(4), "model: 0 AvgPool2d window 4 is larger than its 3x3 map for 1x3x3 images; "),
        (conv(5), "model: 0 Conv2d kernel 5 is larger than its 3x3 map for 1x3x3 images; "),
        (nn.Conv2d(1, 1, (1, 7)), "model: 0 Conv2d kernel 1x7 is larger than its 3x3 map for 1x3x3 images; "),
    ],
)
def test_a_window_larger_than_its_map_is_one_line(layer: nn.Module, message: str):
    with pytest.raises(ConfigError) as caught:
        walk(nn.Sequential(layer), (1, 3, 3))
    assert len(caught.value.findings) == 1
    assert caught.value.findings[0].startswith(message)


@pytest.mark.parametrize("size", range(1, 9))
@pytest.mark.parametrize(
    "layer", [conv(3), conv(5, padding=1), conv(3, dilation=3), nn.MaxPool2d(3, 2, ceil_mode=True)]
)
def test_the_walk_refuses_exactly_what_pytorch_refuses(layer: nn.Module, size: int):
    try:
        expected = tuple(layer(torch.zeros(1, 1, size, size)).shape[1:])
    except RuntimeError:
        with pytest.raises(ConfigError, match="is larger than its"):
            output_shape(layer, (1, size, size), name="layer")
    else:
        assert output_shape(layer, (1, size, size), name="layer") == expected


def test_walking_a_real_model_leaves_weights_flags_hooks_and_random_state_alone():
    model = nn.Sequential(conv(3), nn.BatchNorm2d(1), nn.Dropout(0.5), nn.Flatten())
    model[1].eval()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    random_state = torch.get_rng_state()
    walk(model, (1, 8, 8))
    assert torch.equal(torch.get_rng_state(), random_state)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert [m.training for m in model] == [True, False, True, True]
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


class Restless(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return images + torch.rand(())


def test_walking_a_model_that_draws_and_counts_at_every_call_leaves_no_trace():
    model = Restless()
    random_state = torch.get_rng_state()
    walk(model, (1, 8, 8))
    assert torch.equal(torch.get_rng_state(), random_state)
    assert model.calls == 0


def test_a_model_on_the_meta_device_has_the_same_description_as_a_real_one():
    with torch.device("meta"):
        on_meta = nn.Sequential(conv(3), nn.BatchNorm2d(1), nn.MaxPool2d(2))
    assert walk(on_meta, (1, 8, 8)) == walk(nn.Sequential(conv(3), nn.BatchNorm2d(1), nn.MaxPool2d(2)), (1, 8, 8))
