import math

import pytest
import torch
from torchvision.transforms.v2 import functional as reference

from cnnbench.techniques.augment import operations as ops

NEAREST, BILINEAR = reference.InterpolationMode.NEAREST, reference.InterpolationMode.BILINEAR


def pictures(channels=3, height=20, width=27, batch=8):
    """Smooth images with some noise: their histograms and edges are more like photographs' than noise alone."""
    generator = torch.Generator().manual_seed(1)
    coarse = torch.rand(batch, channels, 4, 5, generator=generator) * 220 + 10
    smooth = torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic")
    noisy = smooth + 6 * torch.randn(smooth.shape, generator=generator)
    return noisy.clamp(0, 255).to(torch.uint8)


def differences(images, magnitudes, operation, expected_of):
    """|ours - torchvision's| in grey levels, (B, C, H, W)."""
    ours = operation(images, torch.tensor(magnitudes))
    theirs = torch.stack([expected_of(image, m) for image, m in zip(images, magnitudes, strict=True)])
    return (ours.int() - theirs.int()).abs()


def affine(**changed):
    def apply(image, interpolation):
        unchanged = {"angle": 0.0, "translate": [0, 0], "scale": 1.0, "shear": [0.0, 0.0]}
        return reference.affine(image, **(unchanged | changed), interpolation=interpolation)

    return apply


def sheared(image, x, y, interpolation):
    angles = [math.degrees(math.atan(x)), math.degrees(math.atan(y))]
    return affine(shear=angles, center=[0, 0])(image, interpolation)


GEOMETRIC = {
    "shear_x": (0.3, lambda image, m, mode: sheared(image, m, 0, mode)),
    "shear_y": (0.3, lambda image, m, mode: sheared(image, 0, m, mode)),
    "translate_x": (9.0, lambda image, m, mode: affine(translate=[int(m), 0])(image, mode)),
    "translate_y": (9.0, lambda image, m, mode: affine(translate=[0, int(m)])(image, mode)),
    "rotate": (135.0, lambda image, m, mode: reference.rotate(image, m, interpolation=mode)),
}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("mode", [NEAREST, BILINEAR], ids=lambda mode: mode.value)
@pytest.mark.parametrize("name", GEOMETRIC)
def test_geometric_operations_equal_torchvision(name, mode, channels):
    """Bilinear within one grey level; nearest exactly, but for pixels half-way between two (under 0.5 %)."""
    largest, expected_of = GEOMETRIC[name]
    magnitudes = torch.linspace(-largest, largest, 8).tolist()
    operation = getattr(ops, name)
    difference = differences(
        pictures(channels),
        magnitudes,
        lambda images, m: operation(images, m, mode.value),
        lambda image, m: expected_of(image, m, mode),
    )
    if mode is BILINEAR:
        assert difference.max() <= 1
    else:
        assert (difference > 0).float().mean() < 0.005


COLOUR = {
    "brightness": reference.adjust_brightness,
    "contrast": reference.adjust_contrast,
    "colour": reference.adjust_saturation,
    "sharpness": reference.adjust_sharpness,
}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", COLOUR)
def test_colour_operations_equal_torchvision(name, channels):
    """At most one grey level (a rounding error that truncation shows), and that on under 2 % of the pixels."""
    factors = [0.0, 0.01, 0.4, 0.9, 1.0, 1.3, 1.73, 1.99]
    difference = differences(pictures(channels), factors, getattr(ops, name), COLOUR[name])
    assert difference.max() <= 1
    assert (difference > 0).float().mean() < 0.02


def test_colour_leaves_grey_images_alone():
    images = pictures(channels=1)
    assert torch.equal(ops.colour(images, torch.full((8,), 0.2)), images)


@pytest.mark.parametrize("channels", [1, 3])
def test_posterize_and_solarize_equal_torchvision_exactly(channels):
    images = pictures(channels)
    bits = [0.0, 1.0, 2.0, 3.0, 4.0, 6.0, 7.0, 8.0]
    assert not differences(images, bits, ops.posterize, lambda i, m: reference.posterize(i, int(m))).any()
    thresholds = [0.0, 10.5, 64.0, 127.5, 128.0, 200.0, 254.9, 255.0]
    assert not differences(images, thresholds, ops.solarize, reference.solarize).any()


@pytest.mark.parametrize("name", ["autocontrast", "equalize"])
@pytest.mark.parametrize("channels", [1, 3])
def test_histogram_operations_equal_torchvision_exactly(name, channels):
    images = pictures(channels)
    images[0] = 77  # flat
    images[1] = 77
    images[1, :, 0, 0] = 200  # nearly flat
    images[2] = images[2] // 200  # two levels
    assert torch.equal(getattr(ops, name)(images), getattr(reference, name)(images))


def test_sharpness_leaves_images_without_an_inside_alone():
    images = pictures(height=2, width=9)
    assert torch.equal(ops.sharpness(images, torch.full((8,), 1.9)), images)


@pytest.mark.parametrize("channels", [2, 4])
def test_colour_operations_take_images_that_are_neither_grey_nor_rgb(channels):
    images = pictures(channels)
    flat = ops.contrast(images, torch.zeros(8))
    means = images.float().mean((1, 2, 3))
    assert (flat.float().mean((1, 2, 3)) - means).abs().max() <= 2  # rounded down twice
    assert torch.equal(ops.contrast(images, torch.ones(8)), images)
