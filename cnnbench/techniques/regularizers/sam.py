"""Sharpness-aware minimisation."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.utils import get_total_norm

from cnnbench.config.settings import Positive
from cnnbench.techniques.callback import Callback


class SAM(Callback):
    """Replaces the gradient by the one at w + rho * g / ||g|| (Foret et al., 2021, equation 2).

    Doubles the cost of a step. Parameters and buffers are put back exactly, so batch norm's running
    statistics see each batch once, at the weights themselves. Dropout masks differ between the two passes.
    """

    def __init__(self, *, rho: Positive) -> None:
        self.rho = rho

    @torch.no_grad()
    def on_gradients(self, model: nn.Module, recompute: Callable[[], None]) -> None:
        parameters: list[Tensor] = [p for p in model.parameters() if p.grad is not None]
        gradients = [p.grad for p in parameters if p.grad is not None]
        moved = [*parameters, *model.buffers()]
        before = [tensor.clone() for tensor in moved]
        scale = self.rho / (get_total_norm(gradients) + 1e-12)  # a tensor: no waiting for the device
        torch._foreach_add_(parameters, list(torch._foreach_mul(gradients, scale)))
        with torch.enable_grad():
            recompute()
        for tensor, value in zip(moved, before, strict=True):
            tensor.copy_(value)
