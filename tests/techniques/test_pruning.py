import copy
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf
from torch import Tensor, nn
from torch.testing import assert_close

from cnnbench.config.settings import build, check
from cnnbench.errors import ConfigError
from cnnbench.techniques.callback import Callback
from cnnbench.techniques.masking import Calendar, plan
from cnnbench.techniques.pruning import PRUNING, filters, magnitude, threshold
from cnnbench.techniques.regularizers import REGULARIZERS

CONF = Path(__file__).parents[2] / "conf" / "pruning"
STEPS_PER_EPOCH = 2
AT_ONCE = {"schedule": "one_shot", "start_epoch": 1, "end_epoch": None}


def tiny() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(96, 3))


def weights(model: nn.Module) -> list[Tensor]:
    return [p.detach() for p in model.parameters() if p.ndim >= 2]


def zero_share(tensors: list[Tensor]) -> float:
    return sum(int((t == 0).sum()) for t in tensors) / sum(t.numel() for t in tensors)


def train(model: nn.Module, callbacks: list[Callback], epochs: int, lr: float = 0.01) -> list[float]:
    """Trains on noise; returns the sparsity `callbacks[0]` reports after each epoch."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr)
    sparsity = []
    for _ in range(epochs):
        for _ in range(STEPS_PER_EPOCH):
            images, labels = torch.randn(8, 1, 8, 8), torch.randint(3, (8,))
            for callback in callbacks:
                images, labels = callback.on_batch(images, labels)
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(images), labels).backward()
            optimizer.step()
            for callback in callbacks:
                callback.after_step(model)
        for callback in callbacks:
            callback.on_epoch_end(model)
        sparsity.append(callbacks[0].epoch_metrics(model).get("sparsity", 0.0))
    return sparsity


def prune_at_once(model: nn.Module, function, **settings) -> Callback:
    if function is filters:
        settings = {"image_shape": (1, 8, 8), "finalize": "masks"} | settings
    pruning = function(model, STEPS_PER_EPOCH, 4, **settings, **AT_ONCE)
    pruning.on_batch(torch.zeros(1, 1, 8, 8), torch.zeros(1, dtype=torch.int64))
    return pruning


@pytest.mark.parametrize("file", sorted(CONF.glob("*.yaml")), ids=lambda file: file.stem)
@pytest.mark.parametrize("epochs", [1, 2, 3, 10])
def test_every_yaml_fits_its_function_and_is_settled_by_the_end(file: Path, epochs: int) -> None:
    node = OmegaConf.to_container(OmegaConf.load(file))
    assert check(PRUNING, "pruning", node) == []
    assert node["name"] == file.stem
    model = tiny()
    context = {"model": model, "steps_per_epoch": STEPS_PER_EPOCH, "epochs": epochs, "image_shape": (1, 8, 8)}
    callback = build(PRUNING, "pruning", node, **context)
    sparsity = train(model, [callback], epochs)
    assert callback.is_settled()
    assert (sparsity[-1] > 0) == (node["name"] != "none")


def test_the_table_and_the_yaml_files_name_the_same() -> None:
    assert {file.stem for file in CONF.glob("*.yaml")} == set(PRUNING)


@pytest.mark.parametrize("amount", [0.0, 0.5, 0.8])
def test_global_magnitude_removes_exactly_the_smallest_of_all_weights(amount: float) -> None:
    model = tiny()
    before = torch.cat([w.flatten() for w in weights(model)]).clone()
    prune_at_once(model, magnitude, amount=amount, scope="global")
    after = torch.cat([w.flatten() for w in weights(model)])
    removed = after == 0
    assert removed.sum() == round(amount * len(before))
    assert torch.equal(after[~removed], before[~removed])
    if amount:
        assert before[removed].abs().max() <= before[~removed].abs().min()


def test_layer_magnitude_removes_the_same_share_of_each_layer() -> None:
    model = tiny()
    prune_at_once(model, magnitude, amount=0.75, scope="layer")
    assert [int((w == 0).sum()) for w in weights(model)] == [27, 162, 216]  # of 36, 216, 288


@pytest.mark.parametrize("scope", ["global", "layer"])
def test_every_layer_keeps_its_largest_weight(scope: str) -> None:
    model = tiny()
    weights(model)[0].mul_(1e-6)
    largest = [w.abs().max().item() for w in weights(model)]
    prune_at_once(model, magnitude, amount=0.999, scope=scope)
    assert [w.abs().max().item() for w in weights(model)] == largest


def test_threshold_removes_exactly_the_weights_below_it() -> None:
    model = tiny()
    before = [w.clone() for w in weights(model)]
    prune_at_once(model, threshold, threshold=0.1)
    for old, new in zip(before, weights(model), strict=True):
        assert_close(new, torch.where(old.abs() < 0.1, 0.0, old))


@pytest.mark.parametrize(("norm", "p"), [("l1", 1), ("l2", 2)])
def test_filter_pruning_removes_whole_filters_of_the_smallest_norm_with_their_biases(norm: str, p: int) -> None:
    model = tiny()
    norms = model[2].weight.detach().flatten(1).norm(p=p, dim=1)
    smallest = norms.argsort()[:3]
    prune_at_once(model, filters, amount=0.5, norm=norm, scope="layer")
    left = model[2].weight.detach().flatten(1).abs().sum(1)
    assert set((left == 0).nonzero().flatten().tolist()) == set(smallest.tolist())
    assert (model[2].bias.detach()[smallest] == 0).all()
    assert zero_share([model[2].weight]) == 0.5
    assert zero_share([model[5].weight]) == 0.0


def test_filters_of_different_sizes_compare_by_their_mean() -> None:
    model = tiny()
    nn.init.constant_(model[0].weight, 0.2)  # 9 weights a filter
    nn.init.constant_(model[2].weight, 0.1)  # 36 weights a filter: a larger sum, a smaller mean
    prune_at_once(model, filters, amount=0.5, norm="l1", scope="global")
    assert zero_share([model[0].weight]) == 0.0
    assert zero_share([model[2].weight]) == pytest.approx(5 / 6)


@pytest.mark.parametrize("scope", ["global", "layer"])
def test_filter_pruning_keeps_one_filter_of_each_layer(scope: str) -> None:
    model = tiny()
    prune_at_once(model, filters, amount=0.99, norm="l2", scope=scope)
    assert [int((model[i].weight.flatten(1) != 0).any(1).sum()) for i in (0, 2)] == [1, 1]


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("one_shot", [0, 0.8, 0.8, 0.8, 0.8]),
        ("linear", [0, 0.8 / 3, 1.6 / 3, 0.8, 0.8]),
        ("cubic", [0, 0.8 * (1 - (2 / 3) ** 3), 0.8 * (1 - (1 / 3) ** 3), 0.8, 0.8]),
    ],
)
def test_sparsity_follows_the_schedule(schedule: str, expected: list[float]) -> None:
    model = tiny()
    pruning = magnitude(
        model, STEPS_PER_EPOCH, 5, amount=0.8, scope="global", schedule=schedule, start_epoch=2, end_epoch=4
    )
    assert train(model, [pruning], 5) == pytest.approx(expected, abs=1 / 540)


def test_training_is_settled_in_the_first_epoch_with_everything_removed() -> None:
    model = tiny()
    pruning = magnitude(
        model, STEPS_PER_EPOCH, 4, amount=0.5, scope="global", schedule="linear", start_epoch=2, end_epoch=3
    )
    settled = []
    for _ in range(4):
        train(model, [pruning], 1)
        settled.append(pruning.is_settled())
    assert settled == [False, False, True, True]


@pytest.mark.parametrize(
    ("epochs", "given", "expected"),
    [
        (1, (None, None), (1, 1)),
        (2, (None, None), (2, 2)),
        (3, (None, None), (2, 3)),
        (20, (None, None), (11, 15)),
        (20, (18, None), (18, 18)),
        (20, (None, 4), (4, 4)),
        (20, (3, 9), (3, 9)),
    ],
)
def test_epochs_left_null_follow_from_the_length_of_the_training(epochs: int, given, expected) -> None:
    assert plan("cubic", *given, epochs) == Calendar("cubic", *expected)


def test_epochs_out_of_order_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"pruning\.end_epoch=4: before start_epoch; set it to 5 or later"):
        plan("linear", 5, 4, 10)


@pytest.mark.parametrize("amount", [1.0, -0.1])
def test_removing_everything_is_refused(amount: float) -> None:
    node = OmegaConf.to_container(OmegaConf.load(CONF / "magnitude.yaml")) | {"amount": amount}
    assert len(check(PRUNING, "pruning", node)) == 1


def test_filter_pruning_of_a_model_without_convolutions_is_refused() -> None:
    with pytest.raises(ConfigError, match="no filter to remove"):
        filters(nn.Linear(2, 2), 1, 1, (1, 1, 2), amount=0.5, norm="l1", scope="layer", finalize="masks", **AT_ONCE)


def test_masked_weights_stay_zero_and_removed_ones_never_return() -> None:
    model = tiny()
    pruning = magnitude(
        model, STEPS_PER_EPOCH, 6, amount=0.9, scope="global", schedule="linear", start_epoch=1, end_epoch=4
    )
    removed = [torch.zeros_like(w, dtype=torch.bool) for w in weights(model)]
    for _ in range(6):
        train(model, [pruning], 1, lr=0.1)
        assert all((w[mask] == 0).all() for w, mask in zip(weights(model), removed, strict=True))
        removed = [w == 0 for w in weights(model)]
    assert zero_share(weights(model)) == pytest.approx(0.9, abs=1e-9)


def test_channels_last_weights_are_pruned_alike() -> None:
    plain, last = tiny(), tiny().to(memory_format=torch.channels_last)
    for model in (plain, last):
        prune_at_once(model, magnitude, amount=0.7, scope="global")
    for one, other in zip(weights(plain), weights(last), strict=True):
        assert torch.equal(one, other)


def test_a_resumed_run_has_the_same_masks() -> None:
    def build_pruning(model: nn.Module) -> Callback:
        return magnitude(
            model, STEPS_PER_EPOCH, 5, amount=0.8, scope="layer", schedule="cubic", start_epoch=2, end_epoch=4
        )

    straight = tiny()
    pruning = build_pruning(straight)
    train(straight, [pruning], 3)
    resumed = copy.deepcopy(straight)
    again = build_pruning(resumed)
    again.load_state_dict(copy.deepcopy(pruning.state_dict()))
    for model, callback in ((straight, pruning), (resumed, again)):
        torch.manual_seed(1)
        train(model, [callback], 2)
    assert zero_share(weights(resumed)) == pytest.approx(0.8, abs=0.01)
    for one, other in zip(weights(straight), weights(resumed), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize(("name", "settings"), [("ema", {"decay": 0.99}), ("swa", {"start": 0.25})])
def test_an_average_of_weights_is_masked_for_evaluation(name: str, settings: dict) -> None:
    model = tiny()
    late = {"schedule": "one_shot", "start_epoch": 4, "end_epoch": None}
    pruning = magnitude(model, STEPS_PER_EPOCH, 4, amount=0.8, scope="global", **late)
    context = {"model": model, "steps_per_epoch": STEPS_PER_EPOCH, "epochs": 4}
    average = build(REGULARIZERS, "regularization", {"name": name, **settings}, **context)
    train(model, [pruning, average], 4)
    evaluated = average.model_for_evaluation(model)
    assert zero_share(weights(evaluated)) < 0.1
    evaluated = pruning.model_for_evaluation(evaluated)
    assert evaluated is not model
    assert zero_share(weights(evaluated)) == zero_share(weights(model)) == pytest.approx(0.8)
