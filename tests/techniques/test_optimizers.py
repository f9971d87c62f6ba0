import copy
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf
from torch import Tensor, nn
from torch.testing import assert_close

from cnnbench.config.compose import compose
from cnnbench.config.settings import build, check
from cnnbench.errors import ConfigError
from cnnbench.techniques.muon import orthogonalize
from cnnbench.techniques.optimizers import OPTIMIZERS, adam, adamw, muon, muon_sgd, rmsprop, sgd

CONF = Path(__file__).parents[2] / "conf" / "optimizer"
SGD = {"lr": 0.1, "momentum": 0.9, "nesterov": True, "decay_biases": False, "norm_bias_lr_factor": 1.0}
ADAM = {"lr": 0.1, "betas": [0.9, 0.999], "eps": 1e-8}
MUON = {"lr": 0.1, "momentum": 0.9, "nesterov": True, "ns_steps": 5, "normalize": False, "weight_decay": 0.0}
MUON |= {"adamw_lr": 0.01, "adamw_betas": [0.9, 0.99], "adamw_eps": 1e-8}


def tiny() -> nn.Sequential:
    """Parameters: conv, norm scale and shift, conv, linear and its bias."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, bias=False),
        nn.BatchNorm2d(4),
        nn.Conv2d(4, 6, 3, bias=False),
        nn.Flatten(),
        nn.Linear(24, 3),
    )


def set_gradients(model: nn.Module, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator)


def zero_gradients(model: nn.Module) -> None:
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)


def flat(model: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


@pytest.mark.parametrize("file", sorted(CONF.glob("*.yaml")), ids=lambda file: file.stem)
def test_every_yaml_fits_its_function_and_takes_a_step(file: Path) -> None:
    node = OmegaConf.to_container(OmegaConf.load(file))
    assert check(OPTIMIZERS, "optimizer", node) == []
    assert node["name"] == file.stem
    model = tiny()
    before = flat(model)
    optimizer = build(OPTIMIZERS, "optimizer", node, model=model)
    set_gradients(model, 1)
    optimizer.step()
    assert (flat(model) != before).all()


def test_the_table_and_the_yaml_files_name_the_same() -> None:
    assert {file.stem for file in CONF.glob("*.yaml")} == set(OPTIMIZERS)


@pytest.mark.parametrize("name", [name for name in OPTIMIZERS if name != "muon_sgd"])
def test_only_weights_decay_and_every_group_knows_its_first_learning_rate(name: str) -> None:
    node = OmegaConf.to_container(OmegaConf.load(CONF / f"{name}.yaml")) | {"weight_decay": 0.5}
    model = tiny()
    groups = build(OPTIMIZERS, "optimizer", node, model=model).param_groups
    assert sum(len(group["params"]) for group in groups) == len(list(model.parameters()))
    for group in groups:
        assert group["initial_lr"] == group["lr"] > 0
        assert {p.ndim >= 2 for p in group["params"]} == {group["weight_decay"] == 0.5}


def test_a_norm_does_not_decay_whatever_its_shape() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.LayerNorm([2, 4, 4]))
    groups = adamw(model, **ADAM, weight_decay=0.1).param_groups
    assert [p for group in groups if group["weight_decay"] for p in group["params"]] == [model[0].weight]


def test_frozen_parameters_are_left_out() -> None:
    model = tiny()
    model[0].requires_grad_(False)
    optimizer = adamw(model, **ADAM, weight_decay=0.1)
    assert all(p.requires_grad for group in optimizer.param_groups for p in group["params"])


def test_sgd_equals_its_formula_over_two_steps() -> None:
    model = nn.Linear(2, 1, bias=False)
    w = model.weight.detach().clone()
    optimizer = sgd(model, **SGD, weight_decay=0.01)
    velocity = torch.zeros_like(w)
    for gradient in (torch.tensor([[1.0, -2.0]]), torch.tensor([[0.5, 0.5]])):
        model.weight.grad = gradient.clone()
        optimizer.step()
        coupled = gradient + 0.01 * w
        velocity = 0.9 * velocity + coupled
        w = w - 0.1 * (coupled + 0.9 * velocity)
    assert_close(model.weight.detach(), w)


def test_norm_biases_learn_faster_and_lose_the_same_share_as_everything_else() -> None:
    def moved_by(gradient: float) -> dict[str, float]:
        model = tiny()
        for parameter in model.parameters():
            nn.init.ones_(parameter)
            parameter.grad = torch.full_like(parameter, gradient)
        sgd(model, **faster, weight_decay=0.01).step()
        return {name: 1 - p.detach().flatten()[0].item() for name, p in model.named_parameters()}

    faster = SGD | {"momentum": 0.0, "nesterov": False, "decay_biases": True, "norm_bias_lr_factor": 64.0}
    decayed, stepped = moved_by(0.0), moved_by(0.5)
    assert decayed == pytest.approx(dict.fromkeys(decayed, 0.1 * 0.01), rel=1e-3)
    for name in stepped:
        factor = 64 if name == "1.bias" else 1  # not 1.weight, a scale; not 4.bias, a layer's
        assert stepped[name] - decayed[name] == pytest.approx(factor * 0.1 * 0.5, rel=1e-3)


def test_airbench94_takes_the_published_steps_of_the_summed_loss() -> None:
    settings = compose(["experiment=airbench94"]).optimizer
    ours, theirs = nn.BatchNorm2d(4), nn.BatchNorm2d(4)
    for model in (ours, theirs):
        nn.init.ones_(model.bias)
        model.weight.requires_grad_(False)
    optimizer = build(OPTIMIZERS, "optimizer", settings, model=ours)
    per_step = 1024 * (1 + 1 / (1 - 0.85))
    lr, decay = 64 * 11.5 / per_step, 0.0153 * 1024 / per_step
    published = torch.optim.SGD([theirs.bias], lr=lr, weight_decay=decay / lr, momentum=0.85, nesterov=True)
    for seed in range(4):
        summed = torch.randn(4, generator=torch.Generator().manual_seed(seed))
        theirs.bias.grad, ours.bias.grad = summed, summed / 1024
        optimizer.step()
        published.step()
    assert_close(ours.bias, theirs.bias)


def test_the_first_group_keeps_the_learning_rate_that_is_reported() -> None:
    groups = sgd(tiny(), **(SGD | {"norm_bias_lr_factor": 64.0}), weight_decay=0.01).param_groups
    assert [group["initial_lr"] for group in groups] == pytest.approx([0.1, 0.1, 6.4])
    assert [len(group["params"]) for group in groups] == [3, 2, 1]


def test_decoupled_decay_takes_a_share_of_the_weight_and_coupled_decay_a_full_adam_step() -> None:
    decoupled, coupled = nn.Linear(3, 1, bias=False), nn.Linear(3, 1, bias=False)
    for model in (decoupled, coupled):
        nn.init.constant_(model.weight, 2.0)
        zero_gradients(model)
    adamw(decoupled, **ADAM, weight_decay=0.3).step()
    adam(coupled, **ADAM, weight_decay=0.3).step()
    assert_close(decoupled.weight.detach(), torch.full((1, 3), 2.0 * (1 - 0.1 * 0.3)))
    assert_close(coupled.weight.detach(), torch.full((1, 3), 2.0 - 0.1))  # g / sqrt(g²) = 1, whatever the decay


def test_rmsprop_divides_by_the_root_mean_square() -> None:
    model = nn.Linear(1, 1, bias=False)
    before = model.weight.item()
    optimizer = rmsprop(model, lr=0.1, alpha=0.75, eps=1e-8, momentum=0.0, weight_decay=0.0)
    model.weight.grad = torch.tensor([[3.0]])
    optimizer.step()
    assert model.weight.item() == pytest.approx(before - 0.1 * 3 / (0.25 * 9) ** 0.5)


@pytest.mark.parametrize("shape", [(16, 40), (40, 16), (12, 12)])
def test_orthogonalize_brings_singular_values_near_1_and_keeps_the_singular_vectors(shape) -> None:
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    u, _, v = torch.linalg.svd(matrix, full_matrices=False)
    diagonal = u.T @ orthogonalize(matrix, 5) @ v.T
    values = diagonal.diagonal()
    assert values.min() > 0.5
    assert values.max() < 1.3
    assert_close(diagonal, values.diag(), atol=1e-4, rtol=0)


def test_muon_steps_a_convolution_along_its_orthogonalised_nesterov_momentum() -> None:
    model = tiny()
    optimizer = muon(model, **MUON)
    w, buffer = model[2].weight.detach().clone(), torch.zeros(6, 36)
    for seed in (1, 2):
        set_gradients(model, seed)
        optimizer.step()
        gradient = model[2].weight.grad.reshape(6, 36)
        buffer = 0.9 * buffer + 0.1 * gradient
        update = orthogonalize(0.1 * gradient + 0.9 * buffer, 5)
        w = w - 0.1 * update.reshape(w.shape)
    assert_close(model[2].weight.detach(), w)


def test_muon_scales_a_weight_to_the_root_of_its_outputs_before_each_step() -> None:
    model = tiny()
    before = model[2].weight.detach().clone()
    optimizer = muon(model, **(MUON | {"nesterov": False, "normalize": True}))
    set_gradients(model, 1)
    optimizer.step()
    update = orthogonalize(model[2].weight.grad.reshape(6, 36), 5).reshape(before.shape)
    assert_close(model[2].weight.detach(), before * 6**0.5 / before.square().sum().sqrt() - 0.1 * update)


def test_muon_doubles_the_update_of_a_matrix_four_times_as_tall_as_wide() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 8), nn.Linear(8, 2))
    before = model[1].weight.detach().clone()
    optimizer = muon(model, **(MUON | {"nesterov": False}))
    set_gradients(model, 1)
    optimizer.step()
    update = (8 / 2) ** 0.5 * orthogonalize(model[1].weight.grad, 5)
    assert_close(model[1].weight.detach(), before - 0.1 * update)


def test_muon_leaves_first_and_last_weights_biases_and_norms_to_adamw() -> None:
    model = tiny()
    reference = copy.deepcopy(model)
    settings = MUON | {"weight_decay": 0.2}
    ours = muon(model, **settings)
    theirs = adamw(reference, lr=0.01, betas=[0.9, 0.99], eps=1e-8, weight_decay=0.2)
    for seed in range(3):
        for net, optimizer in ((model, ours), (reference, theirs)):
            set_gradients(net, seed)
            optimizer.step()
    expected = dict(reference.named_parameters())
    for name, parameter in model.named_parameters():
        if name != "2.weight":
            assert_close(parameter, expected[name], msg=name)
    assert not torch.allclose(model[2].weight, expected["2.weight"])


@pytest.mark.parametrize("make", [muon, muon_sgd])
def test_muon_takes_no_more_of_convnext_than_the_matrices_between_its_first_and_last_layer(make) -> None:
    torchvision = pytest.importorskip("torchvision")
    with torch.device("meta"):
        model = torchvision.models.convnext_tiny()
    rates = {"head_lr": 0.5, "bias_lr": 2.0, "sgd_momentum": 0.8, "decay_per_step": 0.01}
    settings = MUON if make is muon else {key: MUON[key] for key in ("lr", "momentum", "ns_steps", "normalize")} | rates
    groups = make(model, **settings).param_groups
    assert sum(len(group["params"]) for group in groups) == len(list(model.parameters()))
    taken = {id(p) for group in groups if group["rule"] == "muon" for p in group["params"]}
    layers = [module for module in model.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    matrices = [layer.weight for layer in layers[1:-1] if layer.weight.shape[1] > 1]  # the others are depthwise
    assert len(matrices) == 2 * 18 + 3  # two in each block, and three that make the maps smaller
    assert taken == {id(weight) for weight in matrices}


def test_muon_keeps_on_from_its_state_dict_bit_for_bit() -> None:
    straight, resumed = tiny(), tiny()
    optimizer = muon(straight, **MUON)
    set_gradients(straight, 1)
    optimizer.step()
    resumed.load_state_dict(straight.state_dict())
    second = muon(resumed, **MUON)
    second.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for model, own in ((straight, optimizer), (resumed, second)):
        set_gradients(model, 2)
        own.step()
    assert torch.equal(flat(straight), flat(resumed))


def test_muon_takes_channels_last_weights() -> None:
    plain, last = tiny(), tiny().to(memory_format=torch.channels_last)
    for model in (plain, last):
        optimizer = muon(model, **MUON)
        set_gradients(model, 1)
        optimizer.step()
    assert_close(flat(last), flat(plain))


@pytest.mark.parametrize("name", ["sgd", "muon"])
def test_nesterov_without_momentum_is_refused(name: str) -> None:
    node = OmegaConf.to_container(OmegaConf.load(CONF / f"{name}.yaml")) | {"nesterov": True, "momentum": 0.0}
    with pytest.raises(ConfigError, match=r"optimizer\.nesterov=true"):
        build(OPTIMIZERS, "optimizer", node, model=tiny())


@pytest.mark.parametrize(("key", "value"), [("betas", [0.9]), ("betas", [0.9, 1.0]), ("lr", 0.0), ("lr", "nan")])
def test_impossible_settings_are_refused(key: str, value) -> None:
    node = {"name": "adam", **ADAM, "weight_decay": 0.0, key: float(value) if value == "nan" else value}
    with pytest.raises(ConfigError, match=rf"optimizer\.{key}="):
        build(OPTIMIZERS, "optimizer", node, model=tiny())


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw"])
def test_one_kernel_updates_all_weights_where_the_device_has_one(name):
    settings = OmegaConf.to_container(OmegaConf.load(CONF / f"{name}.yaml"))
    on_cpu = build(OPTIMIZERS, "optimizer", settings, model=nn.Linear(2, 2))
    on_meta = build(OPTIMIZERS, "optimizer", settings, model=nn.Linear(2, 2, device="meta"))
    assert (on_cpu.defaults["fused"], on_meta.defaults["fused"]) == (True, False)


def test_muon_sgd_steps_head_and_biases_as_torch_does_and_shrinks_them_by_one_share() -> None:
    model = tiny()
    model[0].weight.requires_grad_(False)  # as a whitening layer
    reference = copy.deepcopy(model)
    rates = {"head_lr": 0.5, "bias_lr": 2.0, "sgd_momentum": 0.8, "decay_per_step": 0.01}
    ours = muon_sgd(model, lr=0.1, momentum=0.6, ns_steps=3, normalize=False, **rates)
    groups = [
        {"params": [reference[4].weight], "lr": 0.5, "weight_decay": 0.01 / 0.5},
        {"params": [reference[1].weight, reference[1].bias, reference[4].bias], "lr": 2.0, "weight_decay": 0.01 / 2},
    ]
    theirs = torch.optim.SGD(groups, momentum=0.8, nesterov=True)
    for seed in range(3):
        for net, optimizer in ((model, ours), (reference, theirs)):
            set_gradients(net, seed)
            optimizer.step()
    expected = dict(reference.named_parameters())
    for name, parameter in model.named_parameters():
        if name not in ("0.weight", "2.weight"):
            assert_close(parameter, expected[name])
    assert not torch.equal(model[2].weight, expected["2.weight"])  # Muon's
