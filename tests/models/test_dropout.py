"""Dropout: what it keeps, how often, and how it is scaled."""

import pytest
import torch
from torch import nn

from cnnbench.models.dropout import Dropout, random_levels


@pytest.mark.parametrize("p", [0.0, 0.2, 0.5, 0.9])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_values_are_dropped_with_probability_p_and_the_others_scaled(p, dtype):
    torch.manual_seed(0)
    kept = Dropout(p)(torch.ones(1001, 333, dtype=dtype))
    share = float((kept == 0).float().mean())
    assert share == pytest.approx(p, abs=4 * (p * (1 - p) / kept.numel()) ** 0.5)  # four standard errors
    assert kept.dtype == dtype
    assert torch.equal(kept[kept != 0].unique(), (torch.ones(1, dtype=dtype) / (1 - p)))


def test_the_gradient_has_the_mask_of_the_forward_pass():
    images = torch.full((64, 64), 3.0, requires_grad=True)
    out = Dropout(0.5)(images)
    out.sum().backward()
    assert torch.equal(images.grad, out.detach() / 3)


def test_all_but_everything_can_be_dropped():
    torch.manual_seed(0)
    assert torch.equal(Dropout(0.9999999)(torch.ones(50, 50)) != 0, torch.zeros(50, 50, dtype=torch.bool))


def test_evaluation_is_the_identity():
    images = torch.randn(5, 7)
    assert torch.equal(Dropout(0.5).eval()(images), images)


@pytest.mark.parametrize("shape", [(0, 3), (1,), (3,), (5, 7)])
def test_masks_have_the_shape_of_the_input(shape):
    assert Dropout(0.5)(torch.ones(shape)).shape == shape


def test_the_same_seed_drops_the_same_values():
    masks = []
    for _ in range(2):
        torch.manual_seed(3)
        masks.append(Dropout(0.5)(torch.ones(100, 10)))
    assert torch.equal(*masks)


def test_the_four_values_of_a_draw_are_uniform_and_independent():
    torch.manual_seed(0)
    levels = random_levels(torch.Size([200_000])).view(-1, 4).double()
    assert levels.mean(dim=0).abs().max() < 4 * 65536 / 12**0.5 / 50_000**0.5
    correlation = torch.corrcoef(levels.T) - torch.eye(4)
    assert correlation.abs().max() < 4 / 50_000**0.5
    assert levels.min() < -32700
    assert levels.max() > 32700


def test_maps_in_channels_last_keep_their_format():
    maps = torch.ones(4, 8, 5, 5).to(memory_format=torch.channels_last)
    dropped = Dropout(0.5)(maps)
    assert dropped.is_contiguous(memory_format=torch.channels_last)
    assert isinstance(Dropout(0.5), nn.Dropout)
