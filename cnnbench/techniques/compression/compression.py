"""The moments of a compression at which a technique can act. Every choice of conf/compression is a Compression."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from cnnbench.device import Precision
from cnnbench.techniques.callback import Callback

Examples = Sequence[tuple[Tensor, Tensor]]
"""Batches of training images (N, C, H, W), normalised and not augmented, with their labels (N,)."""


@dataclass(frozen=True)
class FineTuning:
    """How a network is trained on by the recipe it was trained by.

    Attributes:
        epochs: 0 leaves it as it is.
        lr_factor: its learning rates are so many times those of the recipe.
    """

    epochs: int
    lr_factor: float


NO_TRAINING = FineTuning(0, 1.0)


class Compression:
    """Changes nothing at every moment; override the ones a technique needs.

    Attributes:
        fine_tuning: what comes between `cut` and `finish`.
        precision: what the network is computed in where it is not what the run says.
        examples_wanted: the training images to be shown to `cut` and `finish`.
        is_compiled: whether the result is fast only through the compiler.
        trains_a_graph: whether `for_training` gives a graph of operations, without layers of its own.
        speeds_up: False where nobody should expect it to.
    """

    fine_tuning: FineTuning = NO_TRAINING
    precision: Precision | None = None
    examples_wanted: int = 0
    is_compiled: bool = False
    trains_a_graph: bool = False
    speeds_up: bool = True

    def require(self, kind: str) -> None:
        """Looks whether a device of this kind (cpu, cuda, mps), with what is installed, can do it.

        Raises:
            UnavailableError: it cannot.
        """

    def cut(self, model: nn.Module, examples: Examples) -> list[str]:
        """Changes a trained network in eval mode, in place; gives back a line on each layer that it could not change.

        Raises:
            ConfigError: it cannot be changed so.
        """
        return []

    def for_training(self, model: nn.Module, examples: Examples) -> nn.Module:
        """What is trained in place of `model`: the same structure for the same layers, whatever the weights are."""
        return model

    def callbacks(self) -> dict[str, Callback]:
        """What acts while the network is trained on."""
        return {}

    def finish(self, model: nn.Module, examples: Examples) -> nn.Module:
        """What is kept of the network that `for_training` gave, or of the one that was cut where nothing is trained."""
        return model
