"""Penalties on the size of conv and linear weights: no biases, no norm parameters."""

import torch
from torch import Tensor, nn

from cnnbench.config.settings import NonNegative
from cnnbench.techniques.callback import Callback

NEAR_ZERO = 1e-3  # gradient steps shrink a weight towards 0 and around it, hardly ever to exactly 0


def weights(model: nn.Module) -> list[Tensor]:
    """The weights of every convolution and linear layer, in the model's order."""
    return [m.weight for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]


class L1(Callback):
    """Adds strength * sum |w| to the loss, and reports the share of weights it brought near 0."""

    def __init__(self, *, strength: NonNegative) -> None:
        self.strength = strength

    def penalty(self, model: nn.Module) -> Tensor:
        return self.strength * torch.stack([w.float().abs().sum() for w in weights(model)]).sum()

    def epoch_metrics(self, model: nn.Module) -> dict[str, float]:
        """`near_zero_weights`: the share of weights with |w| < 0.001."""
        magnitudes = [w.detach().abs() for w in weights(model)]
        near_zero = torch.stack([(m < NEAR_ZERO).sum() for m in magnitudes]).sum().item()
        return {"near_zero_weights": near_zero / sum(m.numel() for m in magnitudes)}


class L2(Callback):
    """Adds strength * sum w² to the loss: gradient 2 * strength * w.

    Not the same as `optimizer.weight_decay`: the docstring of optimizers.py compares the three kinds of L2.
    """

    def __init__(self, *, strength: NonNegative) -> None:
        self.strength = strength

    def penalty(self, model: nn.Module) -> Tensor:
        return self.strength * torch.stack([w.float().square().sum() for w in weights(model)]).sum()
