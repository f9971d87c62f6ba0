from pathlib import Path

import pytest
import torch
import yaml
from torch import nn
from torch.testing import assert_close

from cnnbench.config.settings import build
from cnnbench.errors import ConfigError
from cnnbench.models import MODELS
from cnnbench.models.airbench import whitening_filters
from cnnbench.models.describe import walk

NODE = yaml.safe_load((Path(__file__).parents[2] / "conf" / "model" / "airbench.yaml").read_text())
SMALL = {"widths": [8, 16, 16]}


def airbench(image_shape=(3, 32, 32), **changes):
    torch.manual_seed(0)
    return build(MODELS, "model", NODE | changes, image_shape=image_shape, num_classes=10)


def some_images(shape, count=40):
    """Neighbouring pixels are alike, as in photographs."""
    noise = torch.randn(count, *shape, generator=torch.Generator().manual_seed(0))
    return noise + nn.functional.avg_pool2d(noise, 3, 1, 1) * 6


def test_the_net_has_the_layers_and_the_learning_parameters_of_the_published_one():
    net = airbench()
    convolutions = 9 * (24 * 64 + 64 * 64 + 64 * 256 + 3 * 256 * 256)
    norm_biases = 2 * (64 + 256 + 256)
    assert sum(p.numel() for p in net.parameters() if p.requires_grad) == convolutions + norm_biases + 24 + 256 * 10
    frozen = {name for name, p in net.named_parameters() if not p.requires_grad}
    assert frozen == {name for name in net.state_dict() if name.endswith((".norm.weight", "whitening.weight"))}
    kinds = [type(m) for m in net.stages.block2.modules() if not any(m.children())]
    unit = [nn.Conv2d, nn.BatchNorm2d, nn.GELU]
    assert kinds == [nn.Conv2d, nn.MaxPool2d, nn.BatchNorm2d, nn.GELU, *unit]
    sides = [x.output_shape[-1] for x in walk(net, (3, 32, 32)).layers if x.kind in ("Conv2d", "AdaptiveMaxPool2d")]
    assert sides == [31, 31, 15, 15, 7, 7, 3, 1]
    norm = net.stages.block1[0].norm
    assert (norm.eps, norm.momentum) == (1e-12, pytest.approx(1 - 0.6))


def test_each_convolution_starts_as_the_identity_on_its_first_channels():
    conv = airbench(**SMALL).stages.block2[0].conv
    maps = torch.randn(2, 8, 5, 5)
    assert_close(conv(maps)[:, :8], maps)
    assert conv.weight[8:].abs().min() > 0


def test_depth_adds_convolutions_that_keep_the_map():
    for depth in (1, 2, 3):
        layers = walk(airbench(depth=depth), (3, 32, 32)).layers
        assert sum(x.kind == "Conv2d" for x in layers) == 1 + 3 * depth
        assert sum(x.kind == "MaxPool2d" for x in layers) == 3


def test_logits_are_those_of_the_layers_times_the_scale():
    images = some_images((3, 32, 32), 4)
    scaled, plain = airbench(**SMALL, logit_scale=0.25).eval(), airbench(**SMALL, logit_scale=1.0).eval()
    assert_close(scaled(images), plain(images) / 4)


@pytest.mark.parametrize("shape", [(3, 12, 10), (1, 28, 28)])
@pytest.mark.parametrize("size", [2, 3])
def test_whitened_patches_are_uncorrelated_with_variances_near_one_in_both_signs(shape, size):
    images = some_images(shape)
    filters = whitening_filters(images, size).float()
    half = shape[0] * size**2
    assert filters.shape == (2 * half, shape[0], size, size)
    assert_close(filters[half:], -filters[:half])
    responses = nn.functional.conv2d(images, filters[:half]).transpose(0, 1).flatten(1)
    moments = responses @ responses.T / responses.shape[1]
    assert_close(moments - moments.diag().diag(), torch.zeros_like(moments), atol=1e-3, rtol=0)
    variances = 1 / filters[:half].flatten(1).square().sum(1) - 5e-4  # of the patches, the largest first
    assert (variances.diff() <= 1e-4).all()
    assert_close(moments.diag(), variances / (variances + 5e-4), atol=1e-3, rtol=0)


def test_whitening_filters_are_the_scaled_eigenvectors_of_the_patches_moments():
    images = some_images((2, 6, 7), 5)
    patches = [image[:, i : i + 2, j : j + 2].flatten() for image in images for i in range(5) for j in range(6)]
    moments = sum(torch.outer(patch, patch) for patch in patches) / len(patches)
    values, vectors = torch.linalg.eigh(moments)
    expected = (vectors / (values + 5e-4).sqrt()).T.flip(0)
    filters = whitening_filters(images, 2).float().flatten(1)[: len(expected)]
    signs = (filters * expected).sum(1, keepdim=True).sign()
    assert_close(signs * filters, expected, atol=1e-3, rtol=1e-3)


def test_the_whitening_weight_comes_from_images_and_stays_frozen():
    net, images = airbench(**SMALL), some_images((3, 32, 32))
    weight = net.stages.whitening.weight
    net.to(memory_format=torch.channels_last).initialize_from_images(images)
    assert_close(weight.detach(), whitening_filters(images, 2).float())
    assert not weight.requires_grad
    assert weight.is_contiguous(memory_format=torch.channels_last)


def test_bf16_in_channels_last_is_near_fp32():
    net = airbench(**SMALL).to(memory_format=torch.channels_last)
    images = some_images((3, 32, 32), 8).contiguous(memory_format=torch.channels_last)
    net.initialize_from_images(images)
    exact = net(images)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = net(images)
    rounded.float().sum().backward()
    assert_close(rounded.float(), exact, atol=0.05, rtol=0.05)
    assert net.stages.whitening.bias.grad.isfinite().all()
    assert net.stages.whitening.weight.grad is None


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 9, 9), (2, 40, 33)])
def test_other_sizes_and_channels_are_taken(shape):
    assert airbench(shape, **SMALL).eval()(some_images(shape, 2)).shape == (2, 10)


@pytest.mark.parametrize(
    ("shape", "changes", "message"),
    [
        (
            (1, 8, 8),
            {},
            r"stages\.block3\.0\.pool MaxPool2d window 2 is larger than its 1x1 map for 1x8x8 images; use f",
        ),
        ((3, 32, 32), {"whitening_size": 33}, r"stages\.whitening Conv2d kernel 33 is larger than its 32x32 map"),
        ((3, 32, 32), {"widths": []}, r"model\.widths=\[\]: names no block"),
        ((3, 32, 32), {"depth": 4}, r"model\.depth=4: should be a whole number >= 1 and <= 3"),
    ],
)
def test_what_does_not_fit_is_named(shape, changes, message):
    with pytest.raises(ConfigError, match=message):
        airbench(shape, **changes)
