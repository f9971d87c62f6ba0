import pytest
import torch

from cnnbench.techniques.augment import policies
from cnnbench.techniques.augment.policies import augmix, randaugment, trivialaugment

SHAPE = (3, 16, 20)


def random_batch(draws, batch=256):
    generator = torch.Generator().manual_seed(2)
    images = torch.randint(256, (batch, *SHAPE), dtype=torch.uint8, generator=generator)
    return images, torch.rand(batch, draws, generator=generator)


def one_by_one(operations, images, choices, levels):
    """A loop over images and steps, as plain as can be."""
    results = []
    for image, chosen, level in zip(images, choices, levels, strict=True):
        current = image[None]
        for index, value in zip(chosen, level, strict=True):
            current = operations[index](current, torch.tensor([value]))
        results.append(current)
    return torch.cat(results)


def test_randaugment_applies_the_drawn_operations_in_order():
    images, noise = random_batch(6)
    results = randaugment(SHAPE, num_ops=3, magnitude=15).apply(images, noise)
    operations = policies._fourteen_operations(
        shear=0.3, translate=(150 / 331 * 20, 150 / 331 * 16), degrees=30, enhance=0.9, bits=4
    )
    choices = (noise[:, 0::2] * 14).long().tolist()
    levels = torch.where(noise[:, 1::2] < 0.5, -0.5, 0.5).tolist()
    assert torch.equal(results, one_by_one(operations, images, choices, levels))
    assert {index for chosen in choices for index in chosen} == set(range(14))


def test_trivialaugment_applies_one_operation_at_the_drawn_level():
    images, noise = random_batch(3)
    results = trivialaugment().apply(images, noise)
    operations = policies._fourteen_operations(shear=0.99, translate=(32, 32), degrees=135, enhance=0.99, bits=6)
    choices = (noise[:, :1] * 14).long().tolist()
    signs = torch.where(noise[:, 2:] < 0.5, -1, 1)
    levels = (signs * (noise[:, 1:2] * 31).long() / 30).tolist()
    assert torch.equal(results, one_by_one(operations, images, choices, levels))


@pytest.mark.parametrize("operation", range(14))
def test_every_operation_of_the_policies_changes_images_except_the_first(operation):
    images, _ = random_batch(0, batch=16)
    images = images // 2 + 40
    operations = policies._fourteen_operations(shear=0.3, translate=(5, 5), degrees=30, enhance=0.9, bits=4)
    changed = operations[operation](images, torch.full((16,), 0.9))
    assert changed.dtype == torch.uint8
    assert torch.equal(changed, images) == (operation == 0)


@pytest.mark.parametrize("depth", [None, 2])
def test_augmix_is_the_weighted_sum_of_the_image_and_its_chains(depth):
    width, steps = 3, depth or 3
    augmentation = augmix(SHAPE, severity=5, width=width, depth=depth)
    images, noise = random_batch(augmentation.draws, batch=48)
    operations = [*policies._nine_operations(16, 20), lambda image, level: image]
    for image, row, result in zip(images, noise, augmentation.apply(images, noise), strict=True):
        share, (low, high) = row[0], row[1:3].sort().values
        lengths = [steps] * width if depth else [1 + int(u * 3) for u in row[3:6]]
        draws = row[3 if depth else 6 :].view(width, steps, 3)
        mixed = (1 - share) * image
        for weight, length, draw in zip((low, high - low, 1 - high), lengths, draws, strict=True):
            choice = [[int(u * 9) if step < length else 9 for step, u in enumerate(draw[:, 0])]]
            level = (0.1 + draw[:, 1] * 4.9) / 10 * torch.where(draw[:, 2] < 0.5, -1, 1)
            mixed += share * weight * one_by_one(operations, image[None], choice, [level.tolist()])[0]
        assert (result - mixed).abs().max() <= 0.501


@pytest.mark.parametrize("width", [1, 2, 4])
def test_the_weights_of_augmix_sum_to_one(width):
    """Chains that change nothing, mixed with the image, give the image."""
    augmentation = augmix((1, 8, 8), severity=1, width=width, depth=1)
    noise = torch.rand(64, augmentation.draws, generator=torch.Generator().manual_seed(3))
    noise[:, width::3] = 8.5 / 9  # the choice of every chain: equalize, which leaves a flat image alone
    images = torch.full((64, 1, 8, 8), 90, dtype=torch.uint8)
    assert torch.equal(augmentation.apply(images, noise), images)


def test_augmix_gives_chains_equal_weights_on_average():
    """Dirichlet(1, 1, 1) has mean 1/3 and variance 1/18 in each part."""
    images = torch.zeros(20_000, 1, 1, 1, dtype=torch.uint8)
    chains = torch.zeros(20_000, 3, 1, 1, 1, dtype=torch.uint8)
    chains[:, 1] = 255
    cuts = torch.rand(20_000, 2, generator=torch.Generator().manual_seed(4))
    weights = policies._mix(images, chains, torch.ones(20_000, 1), cuts).float() / 255
    assert weights.mean().item() == pytest.approx(1 / 3, abs=0.01)
    assert weights.var().item() == pytest.approx(1 / 18, abs=0.003)
