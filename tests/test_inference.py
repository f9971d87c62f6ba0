import copy

import pytest
import torch
from tiny import TINY, summary
from torch import nn
from torch.nn import functional as F
from torch.testing import assert_close

from cnnbench.cli import run
from cnnbench.device import make_device
from cnnbench.inference import evaluate, prepared
from cnnbench.models.airbench import airbench
from cnnbench.models.fold import fold
from cnnbench.models.resnet import resnet
from cnnbench.runs.predictions import load_predictions

CPU = make_device("cpu", "fp32", "contiguous", threads=1)


def trained(*layers):
    """A net whose norms have seen data and learnt scales and shifts."""
    torch.manual_seed(0)
    model = nn.Sequential(*layers)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias)
    for _ in range(3):
        model(torch.randn(8, 3, 12, 12) + 1)
    return model.eval()


def folded(model):
    copied = copy.deepcopy(model).eval()
    fold(copied)
    return copied


def norms_left(model):
    return [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]


def assert_folds(model, left=0):
    images = torch.randn(4, 3, 12, 12)
    with torch.inference_mode():
        torch.testing.assert_close(folded(model)(images), model(images), rtol=1e-4, atol=1e-5)
    assert len(norms_left(folded(model))) == left


def test_a_norm_after_a_convolution_is_folded_with_the_same_answers():
    assert_folds(trained(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, 3)))
    assert_folds(trained(nn.Sequential(nn.Conv2d(3, 8, 3), nn.Identity(), nn.BatchNorm2d(8)), nn.ReLU()))


def test_a_norm_after_a_max_pooling_is_folded_unless_a_scale_is_negative():
    model = trained(nn.Conv2d(3, 8, 3), nn.MaxPool2d(2), nn.BatchNorm2d(8), nn.ReLU())
    assert_folds(model)
    model[2].weight.data[0] = -1.0
    assert_folds(model, left=1)


def test_other_neighbours_stay():
    assert_folds(trained(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.BatchNorm2d(8)), left=1)
    assert_folds(trained(nn.Conv2d(3, 8, 3), nn.AvgPool2d(2), nn.BatchNorm2d(8)), left=1)
    assert_folds(trained(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8, track_running_stats=False)), left=1)


@pytest.mark.parametrize("make", [resnet, airbench])
def test_whole_networks_lose_all_their_norms(make):
    settings = {"activation": "relu"}
    if make is resnet:
        settings |= {"depth": 20, "stem": "small", "width_multiplier": 0.5, "residual": True, "norm": "batch"}
        settings |= {"dropout": 0.0}
    else:
        settings |= {"widths": [8, 16], "depth": 2, "whitening_size": 2, "whitening_stride": 1}
        settings |= {"norm_momentum": 0.4, "logit_scale": 1.0}
    assert_folds(trained(make((3, 12, 12), 5, **settings)))


def test_the_model_itself_stays_as_it_is():
    model = trained(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8)).train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    prepared(model, make_device("cpu", "bf16", "channels_last", threads=1), (3, 12, 12))
    assert model.training
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_weights_are_cast_once_to_what_autocast_makes_of_them():
    device = make_device("cpu", "bf16", "contiguous", threads=1)
    model = trained(nn.Conv2d(3, 8, 3), nn.GroupNorm(1, 8), nn.Flatten(), nn.Linear(800, 5))
    ready = prepared(model, device, (3, 12, 12))
    assert [parameter.dtype for parameter in ready.parameters()] == [
        torch.bfloat16, torch.bfloat16, torch.float32, torch.float32, torch.bfloat16, torch.bfloat16
    ]  # fmt: skip
    images = torch.randn(4, 3, 12, 12)
    with torch.inference_mode(), device.autocast():
        assert torch.equal(ready(images).bfloat16(), model(images))


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_logits_are_the_sums_that_low_precision_would_round(precision):
    device = make_device("cpu", precision, "contiguous", threads=1)
    model = trained(nn.Conv2d(3, 8, 3), nn.Flatten(), nn.Linear(800, 5))
    images, low = torch.randn(4, 3, 12, 12), device.autocast_dtype
    ready = prepared(prepared(model, device, (3, 12, 12)), device, (3, 12, 12))  # as `cnnbench evaluate` does
    with torch.inference_mode(), device.autocast():
        features = model[:2](images)
        logits = ready(images)
    exact = F.linear(*(tensor.to(low).double() for tensor in (features, model[2].weight, model[2].bias)))
    assert logits.dtype == torch.float32
    assert_close(logits.double(), exact, rtol=1e-5, atol=1e-5)
    assert not torch.equal(logits, logits.to(low).float())


def test_in_bf16_no_image_has_two_largest_logits():
    device = make_device("cpu", "bf16", "contiguous", threads=1)
    settings = {"widths": [8, 16], "depth": 2, "whitening_size": 2, "whitening_stride": 1, "activation": "relu"}
    model = trained(airbench((3, 12, 12), 5, **settings, norm_momentum=0.4, logit_scale=1.0))
    images = torch.randn(2000, 3, 12, 12)
    with torch.inference_mode(), device.autocast():
        tied = [
            (net(images).float().topk(2, 1).values.diff(dim=1) == 0).sum()
            for net in (model, prepared(model, device, (3, 12, 12)))
        ]
    assert tied[0] > 0
    assert tied[1] == 0


@pytest.mark.parametrize(
    "end",
    [
        [nn.Flatten(), nn.Linear(200, 6), nn.Unflatten(1, (6, 1, 1)), nn.Conv2d(6, 5, 1), nn.Flatten()],
        [nn.Conv2d(2, 5, 10), nn.Flatten()],
    ],
)
def test_a_network_that_ends_with_another_layer_stays_as_it_is(end):
    device = make_device("cpu", "bf16", "contiguous", threads=1)
    model = trained(nn.Conv2d(3, 2, 3), *end)
    images = torch.randn(4, 3, 12, 12)
    with torch.inference_mode(), device.autocast():
        assert torch.equal(prepared(model, device, (3, 12, 12))(images), model(images))


def test_the_accuracy_and_loss_of_a_bf16_run_are_those_of_the_answers_it_saved(tmp_path):
    folder = tmp_path / "run"
    overrides = ["device.precision=bf16", "data.test_images=500", "epochs=1"]
    assert run(["train", *TINY[:-1], *overrides, f"hydra.run.dir={folder}"]) == 0
    said, saved = summary(folder), load_predictions(folder)
    assert said["test_accuracy"] == (saved.predicted == saved.labels).mean()
    loss = F.cross_entropy(torch.from_numpy(saved.logits), torch.from_numpy(saved.labels)).item()
    assert said["test_loss"] == pytest.approx(loss, rel=1e-3)


class Backwards(nn.Sequential):
    """Calls its layers in another order than they stand in."""

    def forward(self, images):
        for layer in reversed(self):
            images = layer(images)
        return images


class Reaching(nn.Module):
    """Takes what comes out of a convolution before the norm that follows it."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8))

    def forward(self, images):
        return (self.layers(images) + self.layers[0](images)).flatten(1)


class Standardized(nn.Conv2d):
    """A convolution that computes with its weight."""

    def forward(self, images):
        return self._conv_forward(images, self.weight / self.weight.std(), self.bias)


class Float32Region(nn.Sequential):
    def forward(self, images):
        with torch.autocast("cpu", enabled=False):
            return super().forward(images.float())


def test_layers_that_stand_in_two_places_are_not_folded():
    act, conv, norm = nn.Tanh(), nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3)
    assert_folds(trained(act, nn.Conv2d(3, 8, 3), act, nn.BatchNorm2d(8)), left=1)
    assert_folds(trained(conv, nn.BatchNorm2d(3), nn.ReLU(), conv), left=1)
    assert_folds(trained(nn.Conv2d(3, 3, 3), norm, nn.ReLU(), norm), left=1)


def test_subclasses_are_not_folded_unless_they_are_sequential_in_all_but_name():
    class Named(nn.Sequential):
        pass

    torch.manual_seed(0)
    assert_folds(trained(Named(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8))))
    assert_folds(trained(Backwards(nn.Conv2d(3, 3, 3), nn.BatchNorm2d(3))), left=1)
    assert_folds(trained(Standardized(3, 8, 3), nn.BatchNorm2d(8)), left=1)


def test_a_layer_with_hooks_is_not_folded():
    model = trained(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8))
    model[0].register_forward_hook(lambda module, inputs, output: 2 * output)
    assert_folds(model, left=1)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_fold_that_changes_the_answers_is_not_kept(precision):
    model = trained(Reaching())
    device = make_device("cpu", precision, "contiguous", threads=1)
    images = torch.randn(4, 3, 12, 12)
    assert len(norms_left(folded(model))) == 0  # its layers stand in order
    with torch.inference_mode(), device.autocast():
        assert torch.equal(prepared(model, device, (3, 12, 12))(images), model(images))


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_a_region_in_float32_stays_one(precision):
    device = make_device("cpu", precision, "contiguous", threads=1)
    model = trained(nn.Conv2d(3, 8, 3), Float32Region(nn.Flatten(), nn.Linear(800, 5)))
    images = torch.randn(4, 3, 12, 12)
    with torch.inference_mode(), device.autocast():
        assert_close(prepared(model, device, (3, 12, 12))(images), model(images))


def test_preparing_draws_no_random_numbers():
    before = torch.get_rng_state()
    prepared(Reaching(), make_device("cpu", "bf16", "contiguous", threads=1), (3, 12, 12))
    state = torch.get_rng_state()
    torch.set_rng_state(before)
    Reaching()
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("classes", [3, 8])
def test_evaluation_over_uneven_batches_equals_the_formula_over_all_images(classes):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, classes))
    images, labels = torch.randn(12, 2, 4, 4), torch.arange(12) % 3
    parts = [(images[part], labels[part]) for part in (slice(7), slice(7, 11), slice(11, None))]
    result = evaluate(nn.Sequential(net, nn.Dropout(0.5)), parts, CPU)
    logits = net(images)
    order = logits.argsort(1, descending=True)
    rank = (order == labels[:, None]).int().argmax(1)
    assert result.accuracy == (rank == 0).double().mean()
    assert result.top5_accuracy == (rank < 5).double().mean()
    assert (result.top5_accuracy == 1) == (classes == 3)
    assert result.loss == pytest.approx(F.cross_entropy(logits, labels).item(), rel=1e-6)
    assert_close(result.logits, logits.detach())
    assert torch.equal(result.labels, labels)


def test_among_equal_logits_the_lowest_class_comes_first_in_both_accuracies():
    logits = torch.tensor([[1.0, 1, 1, 1, 1, 1, 1], [0, 0, 2, 2, 2, 2, 2], [0, 2, 2, 2, 2, 2, 2]])
    expected = [[0, 1, 2, 3, 4], [2, 3, 4, 5, 6], [1, 2, 3, 4, 5]]
    for label in range(7):
        labels = torch.full((3,), label)
        result = evaluate(nn.Identity(), [(logits, labels)], CPU)
        assert result.accuracy == (logits.numpy().argmax(1) == label).mean()
        assert result.top5_accuracy == pytest.approx(sum(label in five for five in expected) / 3)


def test_evaluating_nothing_gives_nothing():
    assert evaluate(nn.Identity(), [], CPU) is None
