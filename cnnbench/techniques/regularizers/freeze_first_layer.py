"""Freezing the first layer, whose features settle early."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from cnnbench.config.settings import TrainingMoment, in_epochs
from cnnbench.errors import ConfigError
from cnnbench.techniques.callback import Callback


class FreezeFirstLayer(Callback):
    """Stops training the first convolution or linear layer after the share `after` of the training, or so many epochs.

    The backward pass then ends above it, and its parameters neither move nor decay. Source: Brock et al.,
    FreezeOut, 2017, of which this is the first layer's part.

    Raises:
        ConfigError: the model has no other such layer to go on with.
    """

    def __init__(self, model: nn.Module, steps_per_epoch: int, epochs: int, *, after: TrainingMoment) -> None:
        layers = [m for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
        if len(layers) < 2:
            raise ConfigError(
                "regularization.freeze_first_layer: this model has no second layer that would go on learning; "
                "leave freeze_first_layer out"
            )
        self.layer = layers[0]
        self.first_frozen = in_epochs(after, epochs) * steps_per_epoch
        self.batches = 0

    def on_batch(self, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        if self.batches >= self.first_frozen:
            self.layer.requires_grad_(False)
            self.layer.zero_grad()  # to None: the optimizer leaves out what has no gradient, momentum and all
        self.batches += 1
        return images, targets

    def state_dict(self) -> dict[str, Any]:
        return {"batches": self.batches}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.batches = state["batches"]
