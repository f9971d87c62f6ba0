"""The listings of the articles: their networks by hand computation, and what the articles train them with."""

from itertools import pairwise

import pytest
import torch

from cnnbench.assemble import make_model
from cnnbench.config.compose import compose
from cnnbench.errors import ConfigError
from cnnbench.models.describe import walk

CIFAR, MNIST, DIGITS = (3, 32, 32), (1, 28, 28), (1, 8, 8)
PADDED = ["article_000", "article_002_batch_norm", "article_002_dropout", "article_002_pruning"]
PADDED += ["article_002_regularization", "article_003"]
UNPADDED = ["article_001", "article_004"]
LISTINGS = [*PADDED, *UNPADDED, "article_002_deep"]


def conv(in_channels, out_channels):
    return 9 * in_channels * out_channels + out_channels


def linear(inputs, outputs):
    return inputs * outputs + outputs


def described(listing, image_shape, *overrides):
    with torch.device("meta"):
        model = make_model(compose([f"experiment={listing}", *overrides]), image_shape, 10)
        return walk(model, image_shape)


def parameters(listing, image_shape):
    return described(listing, image_shape).parameters


def test_000_flattens_64_maps_of_8x8_where_the_listing_says_16x16():
    convolutions = conv(3, 32) + conv(32, 64)
    assert parameters("article_000", CIFAR) == convolutions + linear(64 * 8 * 8, 512) + linear(512, 10) == 2_122_186


def test_001_has_three_unpadded_convolutions_two_poolings_and_93322_parameters():
    # 28 pixels: conv 26, pool 13, conv 11, pool 5, conv 3
    by_hand = conv(1, 32) + conv(32, 64) + conv(64, 64) + linear(64 * 3 * 3, 64) + linear(64, 10)
    assert parameters("article_001", MNIST) == by_hand == 93_322


def test_002_and_003_have_two_convolutions_a_hidden_layer_of_128_and_545098_parameters():
    by_hand = conv(3, 32) + conv(32, 64) + linear(64 * 8 * 8, 128) + linear(128, 10)
    assert by_hand == 545_098
    for listing in ("article_002_pruning", "article_002_regularization", "article_002_dropout", "article_003"):
        assert parameters(listing, CIFAR) == by_hand, listing


def test_the_batch_norms_of_002_bring_a_scale_and_a_shift_and_take_the_bias_of_the_convolution():
    assert parameters("article_002_batch_norm", CIFAR) == 545_098 + (32 + 64)


def test_the_deep_net_of_002_flattens_256_maps_of_2x2_where_the_listing_says_8x8():
    widths = [3, 32, 64, 128, 256]
    convolutions = sum(9 * a * b + 2 * b for a, b in pairwise(widths))
    by_hand = convolutions + linear(256 * 2 * 2, 1024) + linear(1024, 10)
    assert parameters("article_002_deep", CIFAR) == by_hand == 1_448_746
    # 28 pixels: 14, 7, 3, 1
    assert parameters("article_002_deep", MNIST) == by_hand - 9 * 2 * 32 - 3 * 256 * 1024


def test_004_has_two_unpadded_convolutions_and_121930_parameters():
    # 28 pixels: conv 26, pool 13, conv 11, pool 5
    by_hand = conv(1, 32) + conv(32, 64) + linear(64 * 5 * 5, 64) + linear(64, 10)
    assert parameters("article_004", MNIST) == by_hand == 121_930


@pytest.mark.parametrize("listing", LISTINGS)
def test_poolings_of_the_listings_leave_out_the_row_that_fills_no_window(listing):
    sizes = [x.output_shape[1:] for x in described(listing, (3, 39, 39)).layers if len(x.output_shape) == 3]
    halved = [(before, after) for before, after in pairwise(sizes) if after[0] < before[0] - 2]
    assert [after for _, after in halved] == [(before[0] // 2,) * 2 for before, _ in halved]
    assert any(before[0] % 2 for before, _ in halved)


@pytest.mark.parametrize("listing", LISTINGS)
@pytest.mark.parametrize("image_shape", [CIFAR, MNIST, (3, 37, 51)])
def test_the_listings_infer_the_size_of_the_flattened_map(listing, image_shape):
    layers = {layer.name: layer for layer in described(listing, image_shape).layers}
    (flat,) = layers["head.flatten"].output_shape
    hidden = layers["head.hidden1"]
    assert hidden.parameters == linear(flat, hidden.output_shape[0])
    assert layers["head.logits"].output_shape == (10,)


@pytest.mark.parametrize("listing", [*UNPADDED, "article_002_deep"])
def test_images_too_small_for_a_listing_are_refused_with_a_cure_that_works(listing):
    with pytest.raises(ConfigError, match=r"is larger than its .x. map for 1x8x8 images; use model\.\w+=\w+") as error:
        described(listing, DIGITS)
    cure = str(error.value).partition("; use ")[2].split(",")[0]
    assert described(listing, DIGITS, cure).layers[-1].output_shape == (10,)


SGD = {"name": "sgd", "lr": 0.01, "momentum": 0.0, "nesterov": False, "weight_decay": 0.0}
ADAM = {"name": "adam", "lr": 1e-3, "betas": [0.9, 0.999], "eps": 1e-8, "weight_decay": 0.0}
TRAINED = dict.fromkeys(LISTINGS, ("digits", SGD, 10, 64, 0.0)) | {
    "article_001": ("mnist", ADAM, 5, 64, 0.5),
    "article_002_deep": ("cifar10", SGD, 10, 64, 0.0),
    "article_002_dropout": ("digits", SGD, 10, 64, 0.5),
    "article_004": ("mnist", ADAM, 5, 32, 0.2),
}


@pytest.mark.parametrize("listing", LISTINGS)
def test_each_listing_trains_as_its_article_does(listing):
    data, optimizer, epochs, batch_size, dropout = TRAINED[listing]
    config = compose([f"experiment={listing}"])
    assert optimizer.items() <= config.optimizer.items()
    assert (config.data["name"], config.epochs, config.batch_size) == (data, epochs, batch_size)
    assert config.model["dropout"] == dropout
    assert (config.model["pool"], config.model["activation"]) == ("max", "relu")
    assert config.loss == {"name": "cross_entropy", "label_smoothing": 0.0}
    assert config.schedule == {"name": "constant", "warmup_epochs": 0}
    assert config.augmentation == {}


def test_002_penalises_its_weights_by_l1_and_l2_and_the_other_listings_by_nothing():
    penalties = {listing: compose([f"experiment={listing}"]).regularization for listing in LISTINGS}
    assert penalties.pop("article_002_regularization") == {"l1": {"strength": 1e-3}, "l2": {"strength": 1e-4}}
    assert list(penalties.values()) == [{}] * 8


def test_002_trains_then_removes_weights_by_magnitude_then_trains_on():
    pruning = {listing: compose([f"experiment={listing}"]).pruning for listing in LISTINGS}
    ours = pruning.pop("article_002_pruning")
    assert (ours["name"], ours["schedule"], ours["amount"], ours["start_epoch"]) == ("magnitude", "one_shot", 0.8, 7)
    assert list(pruning.values()) == [{"name": "none"}] * 8
