"""The optimizers. Each parameter group carries `initial_lr`, which the schedule multiplies.

Three different things are called L2 regularisation; with lambda the number the user gives:

- The penalty `regularization=[l2]` adds lambda * ||w||² to the loss. Its gradient is 2 * lambda * w.
- Coupled `weight_decay` (sgd, adam, rmsprop) adds lambda * w to the gradient. For sgd this is the penalty
  with half the lambda. Adam and RMSprop then divide it, like the rest of the gradient, by its recent size:
  weights with large gradients are decayed less.
- Decoupled `weight_decay` (adamw, muon) takes lr * lambda * w from the weights beside the gradient step, the same
  share of every weight (Loshchilov & Hutter, Decoupled Weight Decay Regularization, 2019).

None touches biases and norm scales: the penalty takes conv and linear weights, weight decay every parameter with
two or more dimensions that is no norm's; only sgd with `decay_biases` decays the others too.
"""

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from cnnbench.config.settings import NonNegative, Positive, PositiveInt, ProperFraction
from cnnbench.errors import ConfigError
from cnnbench.techniques.muon import Muon

FUSED_DEVICES = ("cpu", "cuda", "mps")
NORMS = (nn.modules.batchnorm._BatchNorm, nn.GroupNorm, nn.LayerNorm)
UNCOMPILED = ("add_param_group", "zero_grad", "state_dict", "load_state_dict")


def _eager(optimizer: type[Optimizer]) -> Any:
    """`optimizer` without what torch wraps its methods in, which imports torch's compiler: 1 s before the first step.

    The wrappers are for optimizers that are themselves compiled, and here the model alone is.
    """
    methods = {name: inspect.unwrap(getattr(optimizer, name)) for name in UNCOMPILED}
    methods["step"] = torch.no_grad()(inspect.unwrap(optimizer.step))
    return type(optimizer.__name__, (optimizer,), methods)


SGD, Adam, AdamW = _eager(torch.optim.SGD), _eager(torch.optim.Adam), _eager(torch.optim.AdamW)
RMSprop, EagerMuon = _eager(torch.optim.RMSprop), _eager(Muon)


def sgd(
    model: nn.Module,
    *,
    lr: Positive,
    momentum: ProperFraction,
    nesterov: bool,
    weight_decay: NonNegative,
    decay_biases: bool,
    norm_bias_lr_factor: Positive,
) -> Optimizer:
    """Stochastic gradient descent, with momentum (Sutskever et al., 2013); weight decay is coupled.

    The biases of norms learn `norm_bias_lr_factor` times as fast, and lose with `decay_biases` the same share of
    themselves per step as everything else: their weight decay is divided by it (Jordan, 2024, section 3.4).
    """
    _check_nesterov(nesterov, momentum)
    groups = _decay_groups(model, lr, weight_decay, others_decay=weight_decay if decay_biases else 0.0)
    if norm_bias_lr_factor != 1:
        groups = _with_faster_norm_biases(groups, model, norm_bias_lr_factor)
    return SGD(groups, lr=lr, momentum=momentum, nesterov=nesterov, fused=_can_fuse(model))


def adam(
    model: nn.Module, *, lr: Positive, betas: list[ProperFraction], eps: Positive, weight_decay: NonNegative
) -> Optimizer:
    """Adam (Kingma & Ba, 2015); weight decay is coupled."""
    groups = _decay_groups(model, lr, weight_decay)
    return Adam(groups, lr=lr, betas=_pair(betas, "betas"), eps=eps, fused=_can_fuse(model))


def adamw(
    model: nn.Module, *, lr: Positive, betas: list[ProperFraction], eps: Positive, weight_decay: NonNegative
) -> Optimizer:
    """Adam with decoupled weight decay (Loshchilov & Hutter, 2019)."""
    groups = _decay_groups(model, lr, weight_decay)
    return AdamW(groups, lr=lr, betas=_pair(betas, "betas"), eps=eps, fused=_can_fuse(model))


def rmsprop(
    model: nn.Module,
    *,
    lr: Positive,
    alpha: ProperFraction,
    eps: Positive,
    momentum: ProperFraction,
    weight_decay: NonNegative,
) -> Optimizer:
    """RMSprop (Tieleman & Hinton, 2012): the gradient over the root of its running mean square; coupled decay."""
    groups = _decay_groups(model, lr, weight_decay)
    return RMSprop(groups, lr=lr, alpha=alpha, eps=eps, momentum=momentum)


def muon(
    model: nn.Module,
    *,
    lr: Positive,
    momentum: ProperFraction,
    nesterov: bool,
    ns_steps: PositiveInt,
    normalize: bool,
    weight_decay: NonNegative,
    adamw_lr: Positive,
    adamw_betas: list[ProperFraction],
    adamw_eps: Positive,
) -> Optimizer:
    """Muon for the hidden conv and linear weights, AdamW for the rest; weight decay is decoupled in both.

    The rest is the first and the last layer's weight, grouped convolutions, biases, norm parameters and scales.
    """
    _check_nesterov(nesterov, momentum)
    own = {"rule": "muon", "momentum": momentum, "nesterov": nesterov, "ns_steps": ns_steps, "normalize": normalize}
    betas = _pair(adamw_betas, "adamw_betas")
    rest = {"rule": "adamw", "lr": adamw_lr, "initial_lr": adamw_lr, "betas": betas, "eps": adamw_eps}
    groups = [group | rule for group in _decay_groups(model, lr, weight_decay) for rule in (own, rest)]
    return EagerMuon(_divided(groups, _hidden_weights(model)))


def muon_sgd(
    model: nn.Module,
    *,
    lr: Positive,
    momentum: ProperFraction,
    ns_steps: PositiveInt,
    normalize: bool,
    head_lr: Positive,
    bias_lr: Positive,
    sgd_momentum: ProperFraction,
    decay_per_step: NonNegative,
) -> Optimizer:
    """Muon for the hidden conv and linear weights, SGD with a learning rate of its own for the head and the biases.

    `head_lr` is that of all weights that Muon does not take: a first layer's and those of grouped convolutions too.
    As Jordan trains CIFAR-10 (airbench94_muon, 2024): head and biases lose `decay_per_step` of themselves with each
    gradient, at the highest learning rate; the hidden weights are not decayed. Both momenta are Nesterov's.
    """
    own = {"rule": "muon", "momentum": momentum, "nesterov": True, "ns_steps": ns_steps, "normalize": normalize}
    groups = [group | own for group in _decay_groups(model, lr, 0.0)]
    for group in _decay_groups(model, lr, 0.0):
        rate = head_lr if group["params"][0].ndim >= 2 else bias_lr
        rest = {"rule": "sgd", "lr": rate, "initial_lr": rate, "weight_decay": decay_per_step / rate}
        groups.append(group | rest | {"momentum": sgd_momentum})
    return EagerMuon(_divided(groups, _hidden_weights(model)))


def _hidden_weights(model: nn.Module) -> set[int]:
    """The ids of the weights that are one matrix each: of conv and linear layers between the first and the last.

    Not those of grouped convolutions: each group sees channels of its own, so a depthwise one has vectors, and
    orthogonalising them together would mix what has nothing to do with each other.
    """
    layers = [m for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)][1:-1]
    return {id(layer.weight) for layer in layers if getattr(layer, "groups", 1) == 1}


def _divided(groups: list[dict[str, Any]], hidden: set[int]) -> list[dict[str, Any]]:
    """`groups`, those of the rule muon with the hidden parameters only and the others with the rest."""
    divided = [
        group | {"params": [p for p in group["params"] if (id(p) in hidden) == (group["rule"] == "muon")]}
        for group in groups
    ]
    return [group for group in divided if group["params"]]


def _decay_groups(model: nn.Module, lr: float, weight_decay: float, others_decay: float = 0.0) -> list[dict[str, Any]]:
    """The trainable parameters: weights (two or more dimensions, no norm's) in one group, all others in another."""
    trainable = [p for p in model.parameters() if p.requires_grad]
    of_norms = {id(p) for module in model.modules() if isinstance(module, NORMS) for p in module.parameters()}
    weights = [p for p in trainable if p.ndim >= 2 and id(p) not in of_norms]
    others = [p for p in trainable if p.ndim < 2 or id(p) in of_norms]
    groups = [
        {"params": weights, "weight_decay": weight_decay, "lr": lr, "initial_lr": lr},
        {"params": others, "weight_decay": others_decay, "lr": lr, "initial_lr": lr},
    ]
    return [group for group in groups if group["params"]]


def _can_fuse(model: nn.Module) -> bool:
    """Whether torch has one kernel for the whole update: one pass over the weights instead of up to ten."""
    return all(p.device.type in FUSED_DEVICES and p.is_floating_point() for p in model.parameters())


def _with_faster_norm_biases(groups: list[dict[str, Any]], model: nn.Module, factor: float) -> list[dict[str, Any]]:
    """`groups` with the biases of norms split off: lr times, weight decay divided by `factor`."""
    norm_biases = {id(m.bias) for m in model.modules() if isinstance(m, NORMS)}
    split = []
    for group in groups:
        lr, decay = group["lr"] * factor, group["weight_decay"] / factor
        faster = [p for p in group["params"] if id(p) in norm_biases]
        rest = [p for p in group["params"] if id(p) not in norm_biases]
        split += [group | {"params": rest}]
        split += [{"params": faster, "weight_decay": decay, "lr": lr, "initial_lr": lr}]
    return [group for group in split if group["params"]]


def _check_nesterov(nesterov: bool, momentum: float) -> None:
    if nesterov and momentum == 0:
        raise ConfigError(
            "optimizer.nesterov=true: needs momentum; set optimizer.momentum=0.9 or optimizer.nesterov=false"
        )


def _pair(betas: list[float], key: str) -> tuple[float, float]:
    if len(betas) != 2:
        raise ConfigError(f"optimizer.{key}={betas}: should be two numbers; give for example [0.9,0.999]")
    return betas[0], betas[1]


OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {
    "sgd": sgd,
    "adam": adam,
    "adamw": adamw,
    "rmsprop": rmsprop,
    "muon": muon,
    "muon_sgd": muon_sgd,
}
