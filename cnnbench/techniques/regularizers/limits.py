"""Upper limits on norms: of the gradient before a step, of the weights after it."""

from collections.abc import Callable

import torch
from torch import nn
from torch.nn.utils import clip_grad_norm_

from cnnbench.config.settings import Positive
from cnnbench.techniques.callback import Callback
from cnnbench.techniques.regularizers.penalties import weights


class GradientClip(Callback):
    """Scales the whole gradient down to the norm `max_norm` where it is longer (Pascanu et al., 2013)."""

    def __init__(self, *, max_norm: Positive) -> None:
        self.max_norm = max_norm

    def on_gradients(self, model: nn.Module, recompute: Callable[[], None]) -> None:
        clip_grad_norm_(model.parameters(), self.max_norm)


class MaxNorm(Callback):
    """Scales each filter and each unit's incoming weights down to the norm `limit` where they are longer.

    Source: Srivastava et al., Dropout, 2014, section 5.1.
    """

    def __init__(self, *, limit: Positive) -> None:
        self.limit = limit

    @torch.no_grad()
    def after_step(self, model: nn.Module) -> None:
        for weight in weights(model):
            weight.renorm_(p=2, dim=0, maxnorm=self.limit)
