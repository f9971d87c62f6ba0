import pytest
import torch

from cnnbench.data import ResidentImages
from cnnbench.data.batches import EvaluationBatches, Normalize, TrainBatches
from cnnbench.device import make_device
from cnnbench.seeds import generator
from cnnbench.techniques.augment import Augmentation

MEAN, STD = torch.tensor([0.25, 0.5]), torch.tensor([0.2, 0.4])
BRIGHTER = Augmentation(2, lambda images, noise: images + (64 * noise.sum(1)).byte()[:, None, None, None])


def an_image_set(count):
    """Images told apart by their first pixel, with labels equal to their index."""
    pixels = torch.randint(0, 128, (count, 2, 3, 3), generator=generator(0), dtype=torch.uint8)
    pixels[:, 0, 0, 0] = torch.arange(count)
    return ResidentImages(pixels, torch.arange(count))


def no_change(images):
    return images


def normalize(memory_format="contiguous"):
    return Normalize(MEAN, STD, make_device("cpu", "fp32", memory_format, threads=1))


def batches(count, batch_size, *, seed=0, augmentation=None, normalize=no_change):
    return TrainBatches(an_image_set(count), batch_size, seed, augmentation, normalize)


def labels(made, epoch, start=0):
    return [batch_labels.tolist() for _, batch_labels in made.epoch(epoch, start)]


def by_image(made, epoch):
    """Each image of an epoch as its batch gave it, by its index."""
    images, all_labels = (torch.cat(parts) for parts in zip(*made.epoch(epoch), strict=True))
    return dict(zip(all_labels.tolist(), images, strict=True))


def test_normalised_images_are_pixels_over_255_minus_mean_over_std():
    images = an_image_set(5).images
    expected = (images.float() / 255 - MEAN.view(1, 2, 1, 1)) / STD.view(1, 2, 1, 1)
    torch.testing.assert_close(normalize()(images), expected)


def test_normalised_images_have_the_memory_format_of_the_device():
    images = an_image_set(5).images
    assert normalize()(images).is_contiguous()
    last = normalize("channels_last")(images)
    assert last.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(last, normalize()(images))
    assert images.dtype == torch.uint8


def test_the_order_is_a_permutation_that_depends_on_seed_and_epoch_only():
    order = batches(50, 8).order(3)
    assert sorted(order.tolist()) == list(range(50))
    assert torch.equal(batches(50, 16, augmentation=BRIGHTER).order(3), order)
    assert not torch.equal(batches(50, 8).order(4), order)
    assert not torch.equal(batches(50, 8, seed=1).order(3), order)


def test_the_order_does_not_depend_on_the_epochs_before():
    made = batches(30, 8)
    labels(made, 0)
    torch.rand(7)
    assert labels(made, 1) == labels(batches(30, 8), 1)


def test_an_epoch_follows_the_order_in_full_batches_and_leaves_out_the_rest():
    made = batches(50, 16)
    assert made.steps_per_epoch == 3
    assert labels(made, 2) == [made.order(2)[at : at + 16].tolist() for at in (0, 16, 32)]


def test_other_images_are_left_out_in_other_epochs():
    made = batches(50, 48)
    left_out = {frozenset(range(50)) - frozenset(labels(made, epoch)[0]) for epoch in range(5)}
    assert len(left_out) == 5


def test_images_go_with_their_labels():
    for images, batch_labels in batches(50, 16).epoch(0):
        assert images[:, 0, 0, 0].tolist() == batch_labels.tolist()


@pytest.mark.parametrize("start", [0, 1, 3, 5])
def test_a_later_start_continues_exactly(start):
    made = batches(45, 8, augmentation=BRIGHTER, normalize=normalize())
    whole = list(made.epoch(2))
    rest = list(made.epoch(2, start))
    assert len(whole) == 5
    assert len(rest) == 5 - start
    for (images, batch_labels), (expected, expected_labels) in zip(rest, whole[start:], strict=True):
        assert torch.equal(images, expected)
        assert torch.equal(batch_labels, expected_labels)


def test_the_augmentation_of_an_image_depends_on_seed_epoch_and_index_only():
    reference = by_image(batches(48, 8, augmentation=BRIGHTER), 1)
    other_batches = by_image(batches(48, 16, augmentation=BRIGHTER), 1)
    assert len(reference) == 48
    assert all(torch.equal(other_batches[index], image) for index, image in reference.items())
    for other in (batches(48, 8, seed=1, augmentation=BRIGHTER), batches(48, 8, augmentation=BRIGHTER)):
        epoch = 1 if other.seed else 2
        changed = sum(not torch.equal(by_image(other, epoch)[index], image) for index, image in reference.items())
        assert changed > 40


def test_noise_is_uniform_and_has_a_row_for_each_image():
    seen = []

    def look(images, noise):
        seen.append(noise)
        return images

    made = batches(100, 50, augmentation=Augmentation(40, look))
    list(made.epoch(0))
    noise = torch.cat(seen)
    assert noise.shape == (100, 40)
    assert noise.dtype == torch.float32
    assert 0 <= noise.min() < 0.01
    assert 0.99 < noise.max() < 1
    assert len(noise.unique(dim=0)) == 100


def noise_of(epoch, *, batch_size=8, seed=0, alternating=(0, 2)):
    """The noise of each image in an epoch, (N, 3), by its index."""
    seen = {}

    def look(images, noise):
        seen.update(zip(images[:, 0, 0, 0].tolist(), noise, strict=True))
        return images

    made = batches(96, batch_size, seed=seed, augmentation=Augmentation(3, look, alternating))
    list(made.epoch(epoch))
    return torch.stack([seen[index] for index in range(96)])


def test_alternating_noise_changes_its_side_of_one_half_every_epoch_and_the_rest_is_new():
    first, second, third = (noise_of(epoch) for epoch in range(3))
    for column in (0, 2):
        assert torch.equal(second[:, column] < 0.5, first[:, column] >= 0.5)
        assert torch.equal(third[:, column], first[:, column])
        assert 30 < (first[:, column] < 0.5).sum() < 66
    assert not torch.equal(third[:, 1], first[:, 1])
    assert torch.equal(first[:, 1], noise_of(0, alternating=())[:, 1])
    assert not torch.equal(first[:, 0] < 0.5, first[:, 2] < 0.5)


def test_alternating_noise_depends_on_seed_and_index_only():
    assert torch.equal(noise_of(5, batch_size=32), noise_of(5))
    assert not torch.equal(noise_of(5, seed=1)[:, 0], noise_of(5)[:, 0])


def test_alternating_noise_changes_its_side_exactly_at_the_ends_of_the_halves():
    edges = torch.tensor([0, 0.5 - 2**-24, 0.5, 1 - 2**-24])
    assert ((edges - 0.5) % 1).tolist() == [0.5, 1 - 2**-24, 0, 0.5 - 2**-24]


def test_a_sample_is_the_first_images_that_are_trained_on_before_they_are_normalised():
    for count, asked, given in ((20, 6, 6), (3, 16, 3), (1, 16, 2)):
        state = torch.get_rng_state()
        sample = batches(count, 4, augmentation=BRIGHTER, normalize=normalize()).sample(asked)
        assert torch.equal(torch.get_rng_state(), state)
        first = torch.cat([images for images, _ in batches(count, 4, augmentation=BRIGHTER).epoch(0)])
        assert sample.dtype == torch.uint8
        assert torch.equal(sample, first[:asked])
        assert len(sample) == given


def test_fewer_images_than_a_batch_make_one_smaller_batch():
    made = batches(5, 64)
    assert (made.batch_size, made.steps_per_epoch) == (5, 1)
    assert sorted(labels(made, 0)[0]) == [0, 1, 2, 3, 4]


def test_a_single_image_fills_a_batch_of_two():
    made = batches(1, 64, augmentation=BRIGHTER)
    assert (made.batch_size, made.steps_per_epoch) == (2, 1)
    ((images, batch_labels),) = made.epoch(0)
    assert batch_labels.tolist() == [0, 0]
    assert images.shape == (2, 2, 3, 3)


def test_evaluation_gives_every_image_once_in_its_order_with_a_smaller_last_batch():
    made = EvaluationBatches(an_image_set(10), 4, normalize())
    for _ in range(2):  # it can be walked again
        given = list(made)
        assert [len(images) for images, _ in given] == [4, 4, 2]
        assert torch.cat([batch_labels for _, batch_labels in given]).tolist() == list(range(10))
        assert torch.equal(torch.cat([images for images, _ in given]), normalize()(an_image_set(10).images))


def test_an_empty_set_gives_no_evaluation_batches():
    assert list(EvaluationBatches(an_image_set(0), 4, normalize())) == []
