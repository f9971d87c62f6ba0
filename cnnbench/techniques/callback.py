"""The moments of training at which a technique can act. Every regularizer and pruning method is a Callback."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from torch import Tensor, nn


class Callback:
    """Does nothing at every moment; override the ones a technique needs.

    The loop calls the callbacks in the order of their list, `model_for_evaluation` in reverse order.
    """

    def on_batch(self, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """The batch to train on. images (N, C, H, W) float, normalised; targets (N,) labels or (N, K) soft."""
        return images, targets

    def image_sizes(self, height: int, width: int) -> list[tuple[int, int]]:
        """The sizes other than height x width that `on_batch` gives images; the model has to take them all."""
        return []

    def penalty(self, model: nn.Module) -> Tensor | None:
        """A float32 scalar to add to the loss, computed outside autocast; None where there is none."""
        return None

    def on_gradients(self, model: nn.Module, recompute: Callable[[], None]) -> None:
        """Gradients are complete and in true units (unscaled); may be changed in place before the step.

        `recompute()` clears them and runs forward and backward of the same batch at the current weights.
        """

    def after_step(self, model: nn.Module) -> None:
        """The optimizer has stepped; weights may be changed in place (under `torch.no_grad`)."""

    def on_epoch_end(self, model: nn.Module) -> None:
        """The epoch's last step is taken or, in float16, skipped; weights may be changed in place."""

    def model_for_evaluation(self, model: nn.Module) -> nn.Module:
        """The model to validate, test and keep: `model` itself or, for an average, another of its kind."""
        return model

    def before_evaluation(self, model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]]) -> None:
        """`model`, what `model_for_evaluation` made of them all, is evaluated next; called under autocast.

        `batches` are those of the epoch once more, augmented as then, before `on_batch`. They cost nothing unless they
        are asked for, and their random numbers are those of the epoch: none are drawn.
        """

    def epoch_metrics(self, model: nn.Module) -> dict[str, float]:
        """What to add to the epoch's line in metrics.jsonl."""
        return {}

    def on_metrics(self, metrics: Mapping[str, Any]) -> None:
        """The epoch is validated; `metrics` is its line of metrics.jsonl."""

    def is_settled(self) -> bool:
        """False while the model is not yet what the run is about (pruning still removes weights):
        no such epoch is kept as the best one or stops the run early."""
        return True

    def should_stop(self, metrics: Mapping[str, Any]) -> bool:
        """Whether to end training after this epoch; `metrics` is the epoch's line of metrics.jsonl."""
        return False

    def state_dict(self) -> dict[str, Any]:
        """What resuming needs: tensors, numbers, strings, lists and dicts of these only.

        Built alike from the first step to the last (keys, lengths, shapes, types), for what is loaded is compared
        with it; what is None at first may become a number. Counts are not negative.
        """
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes back what `state_dict` gave."""
