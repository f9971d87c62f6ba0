"""Muon: momentum whose update is made (nearly) orthogonal, for weights that act as matrices.

Source: Jordan et al., Muon: An optimizer for hidden layers in neural networks, 2024
(https://kellerjordan.github.io/posts/muon/). `torch.optim.Muon` takes 2-D weights only, hence this one.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)  # Jordan's quintic: steepest at 0, so five steps suffice


class Muon(Optimizer):
    """Each group of parameters by its `rule`, with the settings that the rule needs in the group.

    muon: `lr`, `momentum`, `nesterov`, `ns_steps`, `normalize`, `weight_decay` (decoupled). A convolution's weight
    (out, in, kh, kw) is taken as the matrix (out, in * kh * kw). With `normalize` each step starts from a weight scaled
    to the norm sqrt(out): for weights before a norm, which forgets their scale.
    adamw: `lr`, `betas`, `eps`, `weight_decay` (decoupled).
    sgd: `lr`, `momentum` (Nesterov's), `weight_decay` (coupled, as torch's).
    """

    def __init__(self, groups: Iterable[dict[str, Any]]) -> None:
        super().__init__(groups, {"steps": 0})
        self._rules = {"muon": self._muon_step, "adamw": self._adam_step, "sgd": self._sgd_step}

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step for every parameter that has a gradient; returns what `closure` does, as torch's optimizers."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            parameters = [p for p in group["params"] if p.grad is not None]
            if not parameters:
                continue
            group["steps"] += 1
            self._rules[group["rule"]](parameters, group)
        return loss

    def _muon_step(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        _decay(parameters, group)
        gradients = _gradients(parameters)
        buffers = self._states(parameters, "momentum_buffer")
        torch._foreach_lerp_(buffers, gradients, 1 - group["momentum"])
        updates = torch._foreach_lerp(gradients, buffers, group["momentum"]) if group["nesterov"] else buffers
        for parameter, update in zip(parameters, updates, strict=True):
            matrix = orthogonalize(update.flatten(1), group["ns_steps"])
            scale = max(1.0, matrix.shape[0] / matrix.shape[1]) ** 0.5  # keeps the output's size per unit
            if group["normalize"]:
                parameter.mul_(parameter.shape[0] ** 0.5 / parameter.norm())
            parameter.add_(matrix.view(parameter.shape), alpha=-group["lr"] * scale)

    def _adam_step(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        _decay(parameters, group)
        beta1, beta2 = group["betas"]
        gradients = _gradients(parameters)
        means = self._states(parameters, "exp_avg")
        squares = self._states(parameters, "exp_avg_sq")
        torch._foreach_lerp_(means, gradients, 1 - beta1)
        torch._foreach_mul_(squares, beta2)
        torch._foreach_addcmul_(squares, gradients, gradients, value=1 - beta2)
        roots = torch._foreach_sqrt(squares)
        torch._foreach_div_(roots, (1 - beta2 ** group["steps"]) ** 0.5)
        torch._foreach_add_(roots, group["eps"])
        torch._foreach_addcdiv_(parameters, means, roots, value=-group["lr"] / (1 - beta1 ** group["steps"]))

    def _sgd_step(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        gradients = torch._foreach_add(_gradients(parameters), parameters, alpha=group["weight_decay"])
        buffers = self._states(parameters, "momentum_buffer")
        torch._foreach_mul_(buffers, group["momentum"])
        torch._foreach_add_(buffers, gradients)
        torch._foreach_add_(gradients, buffers, alpha=group["momentum"])
        torch._foreach_add_(parameters, gradients, alpha=-group["lr"])

    def _states(self, parameters: list[Tensor], name: str) -> list[Tensor]:
        """The state tensor `name` of every parameter, zeros at first."""
        for parameter in parameters:
            if name not in self.state[parameter]:
                self.state[parameter][name] = torch.zeros_like(parameter)
        return [self.state[parameter][name] for parameter in parameters]


def _decay(parameters: list[Tensor], group: dict[str, Any]) -> None:
    torch._foreach_mul_(parameters, 1 - group["lr"] * group["weight_decay"])


def _gradients(parameters: list[Tensor]) -> list[Tensor]:
    return [p.grad for p in parameters if p.grad is not None]


def orthogonalize(matrix: Tensor, steps: int) -> Tensor:
    """`matrix` (rows, columns) with its singular vectors kept and its singular values brought near 1.

    Newton-Schulz iteration; after 5 steps they lie roughly in [0.7, 1.2], which is near enough (Jordan et al.).
    In float32, not the source's bfloat16, which is slow on most CPUs.
    """
    a, b, c = NEWTON_SCHULZ
    x = matrix.float()
    tall = x.shape[0] > x.shape[1]
    if tall:
        x = x.T  # the smaller Gram matrix
    x = x / (torch.linalg.matrix_norm(x) + 1e-7)  # singular values at most 1, where the iteration converges
    for _ in range(steps):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return (x.T if tall else x).to(matrix.dtype)
