import json

import pytest
import torch
from PIL import Image
from tiny import TINY, metrics, summary
from torch import nn
from torch.testing import assert_close

from cnnbench.data.decode import decode_image
from cnnbench.device import make_device
from cnnbench.inference import evaluate, logits_over_views
from cnnbench.trained.load import load_trained

IMAGES = torch.randn(3, 2, 5, 6, generator=torch.Generator().manual_seed(0))


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(60, 4), nn.Tanh()).eval()


def test_no_views_is_the_plain_forward_pass():
    assert torch.equal(logits_over_views(net(), IMAGES, "none"), net()(IMAGES))


def test_flip_is_the_mean_over_the_image_and_its_mirror_image():
    forward = net()
    expected = (forward(IMAGES) + forward(IMAGES[:, :, :, [5, 4, 3, 2, 1, 0]])) / 2
    assert_close(logits_over_views(forward, IMAGES, "flip"), expected)
    assert_close(logits_over_views(forward, IMAGES.flip(3), "flip"), expected)


def test_flip_shift_weighs_the_image_a_half_and_each_one_pixel_shift_a_quarter():
    forward, seen = net(), []

    def look(images):
        seen.append(images)
        return forward(images)

    mean = logits_over_views(look, IMAGES, "flip_shift")
    before, after = [1, 0, 1, 2, 3, 4, 5], [1, 2, 3, 4, 5, 4]  # rows and columns, the border reflected
    shifts = [IMAGES, IMAGES[:, :, before[:5]][..., before[:6]], IMAGES[:, :, [1, 2, 3, 4, 3]][..., after]]
    weights = [0.5, 0.25, 0.25]
    expected = sum(
        weight * (forward(view) + forward(view.flip(3))) / 2 for weight, view in zip(weights, shifts, strict=True)
    )
    assert_close(mean, expected)
    assert len(seen) == 6


def test_views_of_a_constant_image_agree():
    image = torch.full((1, 2, 5, 6), 0.3)
    for views in ("flip", "flip_shift"):
        assert_close(logits_over_views(net(), image, views), net()(image))


def test_evaluation_counts_and_keeps_the_mean_logits():
    device = make_device("cpu", "fp32", "contiguous", threads=1)
    result = evaluate(net(), [(IMAGES, torch.tensor([0, 1, 2]))], device, "flip_shift")
    assert_close(result.logits, logits_over_views(net(), IMAGES, "flip_shift"))


def test_a_run_validates_tests_evaluates_and_predicts_with_the_same_views(train, cnnbench, tmp_path):
    plain, path = train("plain"), train("run", "test_time_augmentation=flip_shift")
    assert summary(plain)["weights_sha256"] == summary(path)["weights_sha256"]  # training is not touched
    assert [a["val_loss"] for a in metrics(plain)] != [b["val_loss"] for b in metrics(path)]
    document = json.loads(cnnbench("evaluate", path, "--json")[1])
    assert document["loss"] == summary(path)["test_loss"] != summary(plain)["test_loss"]
    Image.effect_noise((8, 8), 80).save(tmp_path / "a.png")
    (prediction,) = json.loads(cnnbench("predict", path, tmp_path / "a.png", "--json")[1])
    trained = load_trained(path)
    images = trained.normalize(decode_image(tmp_path / "a.png", (1, 8, 8))[None])
    expected = logits_over_views(trained.ready, images, "flip_shift").softmax(1)[0].tolist()
    assert list(prediction["probabilities"].values()) == pytest.approx(expected, abs=1e-5)


def test_unknown_views_are_refused(cnnbench):
    exit_code, _, err = cnnbench("train", *TINY, "test_time_augmentation=crop")
    assert exit_code == 2
    assert err == "error: test_time_augmentation=crop: should be one of none, flip, flip_shift\n"
