import copy
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from omegaconf import OmegaConf
from torch import Tensor, nn
from torch.testing import assert_close

from cnnbench.config.settings import build, check
from cnnbench.errors import ConfigError
from cnnbench.techniques.optimizers import sgd
from cnnbench.techniques.regularizers import (
    EMA,
    L1,
    L2,
    REGULARIZERS,
    SAM,
    SWA,
    CutMix,
    EarlyStopping,
    FreezeFirstLayer,
    GradientClip,
    Lookahead,
    MaxNorm,
    MixUp,
    ProgressiveResizing,
    stochastic_depth,
)
from cnnbench.techniques.regularizers.averaging import renew_statistics

CONF = Path(__file__).parents[2] / "conf" / "regularization"
IMAGES = torch.rand(4, 3, 8, 10, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 2, 1, 2])
ONE_HOT = F.one_hot(LABELS, 3).float()


class Branch(nn.Identity):
    """Stands for a residual block."""

    drop_probability = 0.0


def tiny() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), Branch(), Branch(), nn.Flatten(), nn.Linear(192, 3)
    ).eval()


def tensors(model: nn.Module) -> list[Tensor]:
    return [t.detach().clone() for t in (*model.parameters(), *model.buffers())]


def assert_tensors_close(model: nn.Module, expected: list[Tensor]) -> None:
    for ours, theirs in zip(tensors(model), expected, strict=True):
        assert_close(ours, theirs)


def shake(model: nn.Module) -> None:
    """New numbers in every parameter and buffer, as a training step leaves them."""
    with torch.no_grad():
        for tensor in (*model.parameters(), *model.buffers()):
            tensor.add_(torch.rand_like(tensor) if tensor.is_floating_point() else 1)


@pytest.mark.parametrize("file", sorted(CONF.glob("*.yaml")), ids=lambda file: file.stem)
def test_every_yaml_fits_its_regularizer(file: Path) -> None:
    [(name, settings)] = OmegaConf.to_container(OmegaConf.load(file)).items()
    node = {"name": name, **settings}
    assert name == file.stem
    assert check(REGULARIZERS, "regularization", node) == []
    context = {"model": tiny(), "steps_per_epoch": 2, "epochs": 4, "num_classes": 3}
    callback = build(REGULARIZERS, "regularization", node, **context)
    callback.load_state_dict(callback.state_dict())


def test_the_table_and_the_yaml_files_name_the_same() -> None:
    assert {file.stem for file in CONF.glob("*.yaml")} == set(REGULARIZERS)


def test_penalties_sum_over_conv_and_linear_weights_only() -> None:
    model = tiny()
    weights = torch.cat([model[0].weight.flatten(), model[5].weight.flatten()]).detach()
    assert_close(L1(strength=0.3).penalty(model).detach(), 0.3 * weights.abs().sum())
    assert_close(L2(strength=0.3).penalty(model).detach(), 0.3 * (weights**2).sum())


def test_penalties_have_gradients_lambda_sign_w_and_2_lambda_w() -> None:
    for regularizer, gradient in ((L1(strength=0.3), torch.sign), (L2(strength=0.3), lambda w: 2 * w)):
        model = tiny()
        regularizer.penalty(model).backward()
        assert_close(model[0].weight.grad, 0.3 * gradient(model[0].weight.detach()))
        assert model[0].bias.grad is None
        assert model[1].weight.grad is None


def test_an_l2_penalty_is_the_coupled_weight_decay_of_twice_its_strength() -> None:
    penalised, decayed = nn.Linear(5, 2, bias=False), nn.Linear(5, 2, bias=False)
    decayed.load_state_dict(penalised.state_dict())
    plain = {"lr": 0.1, "momentum": 0.9, "nesterov": False, "decay_biases": False, "norm_bias_lr_factor": 1.0}
    with_penalty = sgd(penalised, **plain, weight_decay=0.0)
    with_decay = sgd(decayed, **plain, weight_decay=0.04)
    for _ in range(3):
        with_penalty.zero_grad()
        with_decay.zero_grad()
        (penalised.weight.sin().sum() + L2(strength=0.02).penalty(penalised)).backward()
        decayed.weight.sin().sum().backward()
        with_penalty.step()
        with_decay.step()
    assert_close(penalised.weight, decayed.weight)


def test_l1_reports_the_share_of_weights_near_zero() -> None:
    model = nn.Linear(4, 1)
    model.weight.data = torch.tensor([[0.0, 5e-4, -5e-4, 0.1]])
    assert L1(strength=1.0).epoch_metrics(model) == {"near_zero_weights": 0.75}


def test_max_norm_scales_only_filters_above_the_limit() -> None:
    model = tiny()
    model[0].weight.data[0] *= 100
    before = [m.weight.detach().clone() for m in (model[0], model[5])]
    bias = model[0].bias.detach().clone()
    MaxNorm(limit=0.5).after_step(model)
    for old, layer in zip(before, (model[0], model[5]), strict=True):
        norms = old.flatten(1).norm(dim=1)
        factors = (0.5 / norms).clamp(max=1).view(-1, *[1] * (old.ndim - 1))
        assert_close(layer.weight.detach(), old * factors)
    assert torch.equal(model[0].bias, bias)


def test_max_norm_takes_channels_last_weights() -> None:
    plain, last = tiny(), tiny().to(memory_format=torch.channels_last)
    for model in (plain, last):
        MaxNorm(limit=0.1).after_step(model)
    assert_close(plain[0].weight.detach(), last[0].weight.detach().contiguous())


@pytest.mark.parametrize(("max_norm", "expected"), [(1.0, [0.6, 0.8]), (10.0, [3.0, 4.0])])
def test_gradient_clip_scales_a_long_gradient_and_leaves_a_short_one(max_norm: float, expected) -> None:
    model = nn.Linear(2, 1, bias=False)
    model.weight.grad = torch.tensor([[3.0, 4.0]])
    GradientClip(max_norm=max_norm).on_gradients(model, lambda: None)
    assert_close(model.weight.grad, torch.tensor([expected]))


@pytest.mark.parametrize("given", [LABELS, ONE_HOT])
def test_mixup_mixes_images_and_targets_in_one_proportion(given: Tensor) -> None:
    torch.manual_seed(3)
    images, targets = MixUp(3, alpha=1.0).on_batch(IMAGES, given)
    share = targets[0, 0].item()  # image 0 is the only one of class 0
    assert 0 < share < 1
    assert_close(images, share * IMAGES + (1 - share) * IMAGES.roll(1, 0))
    assert_close(targets, share * ONE_HOT + (1 - share) * ONE_HOT.roll(1, 0))


def test_cutmix_pastes_one_box_and_weighs_targets_by_its_area() -> None:
    sizes = set()
    for seed in range(20):
        torch.manual_seed(seed)
        images, targets = CutMix(3, alpha=1.0).on_batch(IMAGES, LABELS)
        pasted = (images == IMAGES.roll(1, 0)).all(1)  # (N, H, W)
        assert torch.equal(images, torch.where(pasted[:, None], IMAGES.roll(1, 0), IMAGES))
        rows, columns = pasted[0].any(1).sum(), pasted[0].any(0).sum()
        assert pasted[0].sum() == rows * columns
        area = pasted[0].float().mean()
        assert_close(targets, (1 - area) * ONE_HOT + area * ONE_HOT.roll(1, 0))
        sizes.add(area.item())
    assert min(sizes) < 0.2
    assert max(sizes) > 0.6


@pytest.mark.parametrize("mixing", [MixUp(3, alpha=0.4), CutMix(3, alpha=0.4)])
def test_mixing_is_seeded_and_leaves_its_input_alone(mixing) -> None:
    before = IMAGES.clone()
    results = []
    for _ in range(2):
        torch.manual_seed(5)
        results.append(mixing.on_batch(IMAGES, LABELS))
    assert torch.equal(IMAGES, before)
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


def test_mixup_then_cutmix_keeps_targets_a_distribution() -> None:
    torch.manual_seed(0)
    images, targets = CutMix(3, alpha=1.0).on_batch(*MixUp(3, alpha=1.0).on_batch(IMAGES, LABELS))
    assert_close(targets.sum(1), torch.ones(4))
    assert targets.min() >= 0
    assert images.min() >= IMAGES.min()
    assert images.max() <= IMAGES.max()


@pytest.mark.parametrize("mixing", [MixUp(3, alpha=1.0), CutMix(3, alpha=1.0)])
def test_mixing_keeps_channels_last(mixing) -> None:
    images, _ = mixing.on_batch(IMAGES.to(memory_format=torch.channels_last), LABELS)
    assert images.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("mixing", [MixUp(3, alpha=1.0), CutMix(3, alpha=1.0)])
def test_a_batch_of_one_image_is_left_as_it_is(mixing) -> None:
    images, targets = mixing.on_batch(IMAGES[:1], LABELS[:1])
    assert_close(images, IMAGES[:1])
    assert_close(targets, ONE_HOT[:1])


def test_progressive_resizing_reaches_full_size_when_it_says_in_even_sizes() -> None:
    resizing = ProgressiveResizing(5, 4, start_scale=0.5, until=0.6, steps=2)
    images = torch.rand(2, 3, 32, 28).to(memory_format=torch.channels_last)
    sizes = []
    for _ in range(20):
        smaller, targets = resizing.on_batch(images, LABELS)
        assert targets is LABELS
        assert smaller.is_contiguous(memory_format=torch.channels_last)
        sizes.append(tuple(smaller.shape[2:]))
    assert sizes == [(16, 14)] * 6 + [(24, 20)] * 6 + [(32, 28)] * 8  # 28 * 0.75 = 21 is odd
    assert resizing.image_sizes(32, 28) == [(16, 14), (24, 20)]
    assert resizing.image_sizes(3, 3) == [(2, 2), (2, 2)]


def test_half_size_is_the_mean_of_two_by_two_pixels_and_a_constant_stays_one() -> None:
    resizing = ProgressiveResizing(1, 9, start_scale=0.5, until=0.9, steps=1)
    images = torch.rand(2, 3, 8, 12)
    assert_close(resizing.on_batch(images, LABELS)[0], F.avg_pool2d(images, 2))
    three_quarters = ProgressiveResizing(1, 9, start_scale=0.75, until=0.9, steps=1)
    assert_close(three_quarters.on_batch(torch.full((1, 1, 8, 8), 0.3), LABELS)[0], torch.full((1, 1, 6, 6), 0.3))


def test_progressive_resizing_keeps_on_from_its_state_dict() -> None:
    straight, resumed = (ProgressiveResizing(2, 2, start_scale=0.5, until=0.5, steps=1) for _ in range(2))
    straight.on_batch(IMAGES, LABELS)
    resumed.load_state_dict(straight.state_dict())
    shapes = [[resizing.on_batch(IMAGES, LABELS)[0].shape[2] for _ in range(3)] for resizing in (straight, resumed)]
    assert shapes[0] == shapes[1] == [4, 8, 8]


def test_a_frozen_first_layer_neither_moves_nor_decays_and_the_rest_goes_on() -> None:
    model = tiny().train()
    freezing = FreezeFirstLayer(model, 2, 2, after=0.5)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=0.1)
    for batch in range(4):
        images, _ = freezing.on_batch(torch.rand(4, 3, 8, 10), LABELS)
        before = [p.detach().clone() for p in model.parameters()]
        optimizer.zero_grad()
        F.cross_entropy(model(images), LABELS).backward()
        optimizer.step()
        moved = [not torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True)]
        assert moved == [batch < 2] * 2 + [True] * 4  # convolution, norm, linear
    assert (model[0].weight.grad, model[0].bias.grad) == (None, None)


def test_a_resumed_run_freezes_the_first_layer_at_once() -> None:
    model = tiny()
    freezing = FreezeFirstLayer(model, 2, 2, after=0.5)
    freezing.load_state_dict({"batches": 3})
    freezing.on_batch(IMAGES, LABELS)
    assert [p.requires_grad for p in model.parameters()] == [False] * 2 + [True] * 4
    assert freezing.state_dict() == {"batches": 4}


def test_freezing_the_only_layer_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"regularization\.freeze_first_layer: this model has no second layer"):
        FreezeFirstLayer(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), 1, 1, after=0.5)


def test_ema_equals_its_formula_for_parameters_and_buffers() -> None:
    model = tiny()
    ema = EMA(model, decay=0.3)
    expected = tensors(model)
    for t in range(6):
        shake(model)
        ema.after_step(model)
        decay = min(0.3, (1 + t) / (10 + t))
        expected = [
            decay * a + (1 - decay) * w if w.is_floating_point() else w
            for a, w in zip(expected, tensors(model), strict=True)
        ]
    assert_tensors_close(ema.model_for_evaluation(model), expected)


def test_ema_keeps_on_from_its_state_dict() -> None:
    model = tiny()
    straight, resumed = EMA(model, decay=0.99), EMA(model, decay=0.99)
    shake(model)
    straight.after_step(model)
    resumed.load_state_dict(copy.deepcopy(straight.state_dict()))
    shake(model)
    for ema in (straight, resumed):
        ema.after_step(model)
    assert_tensors_close(resumed.average, tensors(straight.average))


def test_averages_leave_the_trained_model_alone() -> None:
    model = tiny()
    ema = EMA(model, decay=0.9)
    shake(model)
    before = tensors(model)
    ema.after_step(model)
    assert_tensors_close(model, before)
    assert not any(p.requires_grad for p in ema.average.parameters())
    assert all(p.requires_grad for p in model.parameters())


BATCHES = [(IMAGES, LABELS), (IMAGES[:2] * 3 + 1, LABELS[:2])]


def train_epoch(model: nn.Module, callback, steps: int) -> None:
    """Every step is taken, none skipped."""
    for _ in range(steps):
        callback.on_batch(IMAGES, LABELS)
        shake(model)
        callback.after_step(model)
    callback.on_epoch_end(model)
    callback.before_evaluation(callback.model_for_evaluation(model), BATCHES)


def test_swa_is_the_mean_over_the_ends_of_late_epochs() -> None:
    model = tiny()
    swa = SWA(model, 2, 4, start=0.6)  # epochs 3 and 4
    ends = []
    for epoch in range(1, 5):
        train_epoch(model, swa, steps=2)
        ends.append([p.detach().clone() for p in model.parameters()])
        assert (swa.model_for_evaluation(model) is model) == (epoch < 3)
    mean = [(a + b) / 2 for a, b in zip(*ends[2:], strict=True)]
    assert_close(list(swa.model_for_evaluation(model).parameters()), mean)


def test_swa_normalizes_by_the_statistics_of_training_images_under_its_weights() -> None:
    model = tiny()
    swa = SWA(model, 1, 2, start=0.0)
    for _ in range(2):
        train_epoch(model, swa, steps=1)
    conv, norm = swa.average[0], swa.average[1]
    maps = [conv(images).detach().transpose(0, 1).flatten(1) for images, _ in BATCHES]  # (channels, values)
    assert_close(norm.running_mean, (4 * maps[0].mean(1) + 2 * maps[1].mean(1)) / 6)
    assert_close(norm.running_var, (4 * maps[0].var(1) + 2 * maps[1].var(1)) / 6)
    assert not swa.average.training
    assert norm.momentum == model[1].momentum


def test_renewing_statistics_draws_no_random_numbers_and_has_enough_of_ten_thousand_images() -> None:
    def batches():
        for _ in range(3):
            asked.append(len(asked))
            yield torch.rand(6000, 3, 2, 2, generator=torch.Generator()), None

    asked: list[int] = []
    model = nn.Sequential(nn.Dropout(0.5), nn.BatchNorm2d(3)).train()
    before = torch.get_rng_state()
    renew_statistics(model, batches())
    assert torch.equal(torch.get_rng_state(), before)
    assert_close(model[1].running_mean, torch.full((3,), 0.5), atol=0.01, rtol=0)
    assert len(asked) == 2


@pytest.mark.parametrize("start", [0.0, 0.75, 0.99])
def test_swa_averages_at_least_the_end_of_a_single_epoch(start: float) -> None:
    model = tiny()
    swa = SWA(model, 1, 1, start=start)
    train_epoch(model, swa, steps=1)
    assert swa.model_for_evaluation(model) is not model
    assert_close(list(swa.model_for_evaluation(model).parameters()), list(model.parameters()))


def test_swa_keeps_on_from_its_state_dict() -> None:
    model = tiny()
    straight, resumed = SWA(model, 1, 3, start=0.0), SWA(model, 1, 3, start=0.0)
    swas = [straight]
    for epoch in range(3):
        if epoch == 1:
            resumed.load_state_dict(copy.deepcopy(straight.state_dict()))
            swas.append(resumed)
        shake(model)
        for swa in swas:
            swa.on_batch(IMAGES, LABELS)
            swa.on_epoch_end(model)
    assert_tensors_close(resumed.average, tensors(straight.average))


def test_ema_is_evaluated_until_swa_has_started() -> None:
    model = tiny()
    averages = {"swa": SWA(model, 1, 2, start=0.9), "ema": EMA(model, decay=0.9)}
    in_order = [averages[name] for name in REGULARIZERS if name in averages]
    evaluated = []
    for _ in range(2):
        for callback in in_order:
            train_epoch(model, callback, steps=1)
        result = model
        for callback in reversed(in_order):
            result = callback.model_for_evaluation(result)
        evaluated.append(result)
    assert evaluated == [averages["ema"].average, averages["swa"].average]


def test_lookahead_returns_the_weights_to_an_average_that_keeps_more_and_more() -> None:
    model = tiny()
    lookahead = Lookahead(model, 4, 2, every=3, decay=0.9)
    average = tensors(model)
    for t in range(1, 9):
        lookahead.on_batch(IMAGES, LABELS)
        shake(model)
        fast = tensors(model)
        lookahead.after_step(model)
        if t in (3, 6):
            d = 0.9**3 * (t / 8) ** 3
            average = [d * a + (1 - d) * w if w.is_floating_point() else w for a, w in zip(average, fast, strict=True)]
        assert_tensors_close(model, average if t in (3, 6, 8) else fast)  # 8 is the end: it keeps the average
    assert lookahead.model_for_evaluation(model) is model
    assert all(p.requires_grad for p in model.parameters())


def test_lookahead_ends_on_its_average_where_the_last_step_is_skipped() -> None:
    model = tiny()
    lookahead = Lookahead(model, 3, 1, every=2, decay=0.9)
    for _ in range(2):
        lookahead.on_batch(IMAGES, LABELS)
        shake(model)
        lookahead.after_step(model)
    average = tensors(model)
    shake(model)
    lookahead.on_batch(IMAGES, LABELS)  # and no after_step
    lookahead.on_epoch_end(model)
    assert_tensors_close(model, average)


def test_sam_takes_the_gradient_at_the_worst_point_nearby() -> None:
    model = nn.Linear(2, 1, bias=False)
    model.weight.data = torch.tensor([[3.0, 1.0]])
    curvature = torch.tensor([[1.0, 4.0]])  # loss = (w1² + 4 w2²) / 2, gradient (w1, 4 w2)

    def recompute() -> None:
        model.zero_grad()
        (curvature * model.weight**2 / 2).sum().backward()

    recompute()
    SAM(rho=0.5).on_gradients(model, recompute)
    moved = torch.tensor([[3.0, 1.0]]) + 0.5 * torch.tensor([[3.0, 4.0]]) / 5
    assert_close(model.weight.grad, curvature * moved)
    assert torch.equal(model.weight.detach(), torch.tensor([[3.0, 1.0]]))


def test_sam_counts_each_batch_once_in_the_running_statistics() -> None:
    model = tiny().train()

    def recompute() -> None:
        model.zero_grad()
        model(IMAGES).square().sum().backward()

    recompute()
    before = tensors(model)
    SAM(rho=0.5).on_gradients(model, recompute)
    for ours, theirs in zip(tensors(model), before, strict=True):
        assert torch.equal(ours, theirs)


def test_drop_probabilities_rise_linearly_to_the_drop_rate() -> None:
    model = nn.Sequential(*[Branch() for _ in range(4)])
    stochastic_depth(model, drop_rate=0.2)
    assert [block.drop_probability for block in model] == pytest.approx([0.05, 0.1, 0.15, 0.2])


def test_stochastic_depth_of_a_plain_model_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"regularization\.stochastic_depth: .* no residual blocks"):
        stochastic_depth(nn.Linear(2, 2), drop_rate=0.1)


@pytest.mark.parametrize(
    ("metric", "min_delta", "values"),
    [
        ("val_loss", 0.0, [1.0, 0.5, 0.6, 0.4, 0.5, 0.4]),
        ("val_loss", 0.1, [1.0, 0.95, 0.92]),
        ("val_accuracy", 0.0, [0.5, 0.4, 0.8, 0.8, 0.7]),
        ("val_loss", 0.0, [1.0, float("nan"), float("nan")]),
    ],
)
def test_early_stopping_stops_after_two_epochs_without_gain(metric: str, min_delta: float, values) -> None:
    stopping = EarlyStopping(metric=metric, patience=2, min_delta=min_delta)
    stopped = [stopping.should_stop({metric: value}) for value in values]
    assert stopped == [False] * (len(values) - 1) + [True]


def test_early_stopping_keeps_counting_from_its_state_dict() -> None:
    first = EarlyStopping(metric="val_loss", patience=2, min_delta=0.0)
    assert [first.should_stop({"val_loss": loss}) for loss in (1.0, 2.0)] == [False, False]
    second = EarlyStopping(metric="val_loss", patience=2, min_delta=0.0)
    second.load_state_dict(first.state_dict())
    assert second.should_stop({"val_loss": 1.5})


def test_early_stopping_without_validation_is_refused() -> None:
    stopping = EarlyStopping(metric="val_accuracy", patience=2, min_delta=0.0)
    with pytest.raises(ConfigError, match=r"data\.val_fraction"):
        stopping.should_stop({"train_loss": 1.0, "val_accuracy": None})
