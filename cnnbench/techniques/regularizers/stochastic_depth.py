"""Stochastic depth: residual branches that are skipped at random while training."""

from typing import Any

from torch import nn

from cnnbench.config.settings import ProperFraction
from cnnbench.errors import ConfigError
from cnnbench.techniques.callback import Callback


def stochastic_depth(model: nn.Module, *, drop_rate: ProperFraction) -> Callback:
    """Sets `drop_probability` of the l-th of the model's L residual blocks to drop_rate * l / L, in place.

    Source: Huang et al., Deep Networks with Stochastic Depth, 2016, equation 4. The blocks do the rest,
    so the callback has nothing left to do.

    Raises:
        ConfigError: the model has no block with a `drop_probability`.
    """
    blocks: list[Any] = [m for m in model.modules() if hasattr(m, "drop_probability")]
    if not blocks:
        raise ConfigError(
            "regularization.stochastic_depth: this model has no residual blocks to skip; "
            "choose a residual model (model=resnet), or leave stochastic_depth out"
        )
    for number, block in enumerate(blocks, start=1):
        block.drop_probability = drop_rate * number / len(blocks)
    return Callback()
