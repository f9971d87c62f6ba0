import pytest
import torch
from torchvision.transforms.v2 import functional as reference

from cnnbench.errors import ConfigError
from cnnbench.techniques.augment.geometry import crop_flip, cutout, flip, rotate

CROP = {"padding_mode": "constant", "flip": True, "alternate": False}


def random_batch(draws, channels=3, height=12, width=17, batch=64):
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (batch, channels, height, width), dtype=torch.uint8, generator=generator)
    return images, torch.rand(batch, draws, generator=generator)


@pytest.mark.parametrize("channels", [1, 3])
def test_crop_flip_equals_slicing_the_padded_image(channels):
    images, noise = random_batch(3, channels)
    cropped = crop_flip((3, 12, 17), padding=4, **CROP).apply(images, noise)
    mirrored = 0
    for image, (u, v, w), result in zip(images, noise.tolist(), cropped, strict=True):
        padded = torch.zeros(channels, 12 + 8, 17 + 8, dtype=torch.uint8)
        padded[:, 4:-4, 4:-4] = image
        top, left = int(u * 9), int(v * 9)
        expected = padded[:, top : top + 12, left : left + 17]
        mirrored += w < 0.5
        assert torch.equal(result, expected.flip(2) if w < 0.5 else expected)
    assert 0 < mirrored < len(images)


def test_reflected_padding_shows_the_image_behind_its_border():
    images, noise = random_batch(3)
    cropped = crop_flip((3, 12, 17), padding=11, **(CROP | {"padding_mode": "reflect"})).apply(images, noise)
    for image, (u, v, w), result in zip(images, noise.tolist(), cropped, strict=True):
        top, left = int(u * 23) - 11, int(v * 23) - 11
        rows = [11 - abs(11 - abs(row)) for row in range(top, top + 12)]
        columns = [16 - abs(16 - abs(column)) for column in range(left, left + 17)]
        expected = image[:, rows][:, :, columns]
        assert torch.equal(result, expected.flip(2) if w < 0.5 else expected)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"padding": 8, "padding_mode": "reflect"}, r"padding=8: should be at most 7 to be reflected"),
        ({"padding": 4, "flip": False, "alternate": True}, r"alternate=true: there is nothing to alternate"),
    ],
)
def test_a_crop_that_cannot_be_is_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        crop_flip((3, 8, 10), **(CROP | settings))


def test_what_alternates_is_the_mirroring_only():
    assert crop_flip((3, 8, 8), padding=2, **CROP).alternating == ()
    assert crop_flip((3, 8, 8), padding=2, **(CROP | {"alternate": True})).alternating == (2,)
    assert flip(horizontal=True, vertical=False, alternate=True).alternating == (0,)
    assert flip(horizontal=True, vertical=True, alternate=True).alternating == (0, 1)


def test_crop_without_flip_reaches_every_offset_and_never_mirrors():
    ramp = torch.arange(1, 8, dtype=torch.uint8).expand(1, 1, 5, 7)
    grid = torch.cartesian_prod(torch.arange(5) / 5 + 0.01, torch.arange(5) / 5 + 0.01)
    cropped = crop_flip((1, 5, 7), padding=2, **(CROP | {"flip": False})).apply(ramp.expand(25, -1, -1, -1), grid)
    assert len({tuple(image.flatten().tolist()) for image in cropped}) == 25
    inside = cropped[:, 0, 2, 2:5].int()
    assert (inside.diff(dim=1) == 1).all()


def test_the_largest_noise_below_one_stays_inside_the_padding():
    images, _ = random_batch(3, batch=2)
    noise = torch.full((2, 3), 1 - 2**-24)
    cropped = crop_flip((3, 12, 17), padding=4, **CROP).apply(images, noise)
    assert torch.equal(cropped[:, :, :-4, :-4], images[:, :, 4:, 4:])
    assert not cropped[:, :, -4:].any()


def test_flip_mirrors_each_direction_independently():
    images, noise = random_batch(2)
    flipped = flip(horizontal=True, vertical=True, alternate=False).apply(images, noise)
    for image, (u, v), result in zip(images, noise.tolist(), flipped, strict=True):
        expected = image.flip(2) if u < 0.5 else image
        assert torch.equal(result, expected.flip(1) if v < 0.5 else expected)


def test_flip_in_no_direction_is_refused():
    with pytest.raises(ConfigError, match=r"augmentation\.flip"):
        flip(horizontal=False, vertical=False, alternate=False)


@pytest.mark.parametrize("size", [5, 6])
def test_cutout_covers_exactly_the_clipped_square(size):
    images, noise = random_batch(2)
    fill = torch.tensor([10, 20, 30], dtype=torch.uint8)
    covered = cutout((3, 12, 17), fill, size=size).apply(images, noise)
    for image, (u, v), result in zip(images, noise.tolist(), covered, strict=True):
        top, left = int(u * 12) - size // 2, int(v * 17) - size // 2
        expected = image.clone()
        for row in range(max(top, 0), min(top + size, 12)):
            for column in range(max(left, 0), min(left + size, 17)):
                expected[:, row, column] = fill
        assert torch.equal(result, expected)


def test_cutout_larger_than_the_image_is_refused():
    with pytest.raises(ConfigError, match=r"augmentation\.cutout\.size=9: should be at most 8"):
        cutout((1, 8, 10), torch.zeros(1, dtype=torch.uint8), size=9)


@pytest.mark.parametrize("channels", [1, 3])
def test_rotate_equals_torchvision_within_one_grey_level(channels):
    images, noise = random_batch(1, channels)
    rotated = rotate(degrees=30).apply(images, noise)
    for image, u, result in zip(images, noise[:, 0].tolist(), rotated, strict=True):
        expected = reference.rotate(image, (2 * u - 1) * 30, interpolation=reference.InterpolationMode.BILINEAR)
        assert (result.int() - expected.int()).abs().max() <= 1
