"""Weights set to zero and kept there, on a trained network: as small and as slow as before, for comparison."""

from functools import partial

from torch import nn

from cnnbench.config.settings import Count, Positive, ProperFraction
from cnnbench.techniques.callback import Callback
from cnnbench.techniques.compression.compression import Compression, Examples, FineTuning
from cnnbench.techniques.masking import SCORES, Calendar, Pruning, Scope, keep_highest


class MaskWeights(Compression):
    """Sets the share `amount` of all conv and linear weights to zero, the smallest first."""

    speeds_up = False

    def __init__(self, amount: float, scope: Scope, fine_tuning: FineTuning) -> None:
        self.amount, self.scope, self.fine_tuning = amount, scope, fine_tuning
        self._pruning: Pruning | None = None

    def cut(self, model: nn.Module, examples: Examples) -> list[str]:
        self._masks_of(model).remove(1.0)
        return []

    def for_training(self, model: nn.Module, examples: Examples) -> nn.Module:
        self._masks_of(model)
        return model

    def callbacks(self) -> dict[str, Callback]:
        return {"masks": self._pruning} if self._pruning else {}

    def _masks_of(self, model: nn.Module) -> Pruning:
        if self._pruning is None or self._pruning.model is not model:
            choose = partial(keep_highest, self.amount, self.scope)
            at_once = Calendar("one_shot", 0, 0)
            self._pruning = Pruning(model, "weight", SCORES["magnitude"], choose, at_once, steps_per_epoch=1)
        return self._pruning


def masks(*, amount: ProperFraction, scope: Scope, epochs: Count, lr_factor: Positive) -> Compression:
    """Sets the share `amount` of the weights to zero, the smallest |w| first, and keeps them there (Han et al., 2015).

    Every multiplication with a zero is still done: no speed-up is to be expected, and none is measured.
    """
    return MaskWeights(amount, scope, FineTuning(epochs, lr_factor))
