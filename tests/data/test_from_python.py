import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset, IterableDataset, TensorDataset

from cnnbench.data.from_python import fingerprints, read_given
from cnnbench.errors import ConfigError, DataError

PIXELS = torch.randint(0, 256, (6, 3, 5, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 1, 2, 0, 1, 2])


class Given(Dataset):
    """Items as `make` makes them of the pixels (3, 5, 4) of an image."""

    def __init__(self, make, labels=LABELS, count=6):
        self.make = make
        self.labels = labels
        self.count = count

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        return self.make(PIXELS[index]), self.labels[index]


def photo(pixels):
    return Image.fromarray(pixels.permute(1, 2, 0).numpy())


AS_GIVEN = {
    "uint8 tensor": lambda pixels: pixels,
    "fractions": lambda pixels: pixels / 255,
    "half fractions": lambda pixels: (pixels / 255).double(),
    "array": lambda pixels: pixels.permute(1, 2, 0).numpy(),
    "PIL": photo,
    "PIL with transparency": lambda pixels: photo(pixels).convert("RGBA"),
}


@pytest.mark.parametrize("kind", AS_GIVEN)
def test_an_image_of_every_kind_comes_out_as_its_pixels(kind):
    source = read_given(Given(AS_GIVEN[kind]))
    images = source.read("train")
    assert torch.equal(images.images, PIXELS)
    assert torch.equal(images.labels, LABELS)
    assert (source.image_shape, source.class_names, source.has_val, source.has_test) == (
        (3, 5, 4), ("0", "1", "2"), False, False,
    )  # fmt: skip


@pytest.mark.parametrize(
    "make",
    [lambda pixels: pixels[0], lambda pixels: pixels[0].numpy(), lambda pixels: Image.fromarray(pixels[0].numpy())],
)
def test_a_grey_image_has_one_channel(make):
    assert read_given(Given(make)).image_shape == (1, 5, 4)


@pytest.mark.parametrize("labels", [LABELS, LABELS.numpy(), LABELS.tolist()])
def test_a_label_is_a_whole_number_of_any_kind(labels):
    assert read_given(Given(photo, labels)).read("train").labels.tolist() == LABELS.tolist()


def test_classes_are_named_as_the_data_set_names_them():
    named = Given(photo)
    named.classes = ["cat", "dog", "owl", "yak"]
    assert read_given(named).class_names == ("cat", "dog", "owl", "yak")


def test_parts_are_read_by_name_and_known_by_their_content():
    parts = {"train": TensorDataset(PIXELS, LABELS), "test": TensorDataset(PIXELS[:2] // 2, LABELS[:2])}
    source = read_given(parts)
    found = fingerprints(source)
    assert (source.has_val, source.has_test, len(source.read("test"))) == (False, True, 2)
    assert found == fingerprints(read_given({"train": Given(photo), "test": parts["test"]}))
    assert found != fingerprints(read_given({"train": Given(photo), "test": Given(photo)}))


class Endless(IterableDataset):
    def __iter__(self):
        return iter(())


@pytest.mark.parametrize(
    ("given", "finding"),
    [
        (Endless(), r"dataset \(train\): Endless has no length"),
        (Given, r"dataset \(train\): Given is a class"),
        (Given(photo, count=0), r"dataset \(train\): Given is empty"),
        ({"test": Given(photo)}, "no part 'train'"),
        ({"train": Given(photo), "valid": Given(photo)}, "'valid'; name them train, val, test"),
        ([1, 2, 3], r"dataset \(train\), image 0: is of type int; a data set gives"),
        (Given(lambda pixels: "a.jpg"), r"image 0: is of type str; give a PIL image"),
        (Given(lambda pixels: pixels[:, 0, 0]), r"image 0: has the shape \(3,\)"),
        (Given(lambda pixels: pixels.int()), r"image 0: holds torch.int32"),
        (Given(lambda pixels: pixels / 255 - 0.5), r"image 0: has values from -0.4.*without Normalize"),
        (Given(lambda pixels: pixels * torch.nan), "image 0: has values from nan"),
        (Given(photo, ["cat"] * 6), "image 0: has the label 'cat'"),
        (Given(photo, LABELS / 2), r"image 0: has the label tensor\(0.\)"),
    ],
)
def test_what_is_no_data_set_of_labelled_images_is_refused(given, finding):
    with pytest.raises(ConfigError, match=finding):
        read_given(given)


def test_images_of_several_sizes_are_refused():
    sizes = iter([5] * 9 + [4] * 99)
    with pytest.raises(DataError, match=r"dataset \(train\), image \d: .* the first .*; resize"):
        read_given(Given(lambda pixels: pixels[:, : next(sizes)]))
    with pytest.raises(DataError, match="its test images are 3x4x4, those of train 3x5x4"):
        read_given({"train": Given(photo), "test": Given(lambda pixels: pixels[:, :4])})


def test_labels_below_0_or_without_a_name_are_refused():
    with pytest.raises(DataError, match=r"dataset \(train\): image 0 has label -1"):
        read_given(Given(photo, LABELS - 1))


def test_a_random_transform_is_refused_for_it_would_be_frozen():
    random = np.random.default_rng(0)
    with pytest.raises(DataError, match=r"comes out differently each time.*augmentation="):
        read_given(Given(lambda pixels: pixels.roll(int(random.integers(1, 5)), 1)))
