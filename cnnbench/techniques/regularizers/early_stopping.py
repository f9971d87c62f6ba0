"""Ending the run when validation no longer improves."""

from collections.abc import Mapping
from typing import Any, Literal

from cnnbench.config.settings import NonNegative, Patience
from cnnbench.errors import ConfigError
from cnnbench.techniques.callback import Callback


class EarlyStopping(Callback):
    """Stops after `patience` epochs in a row none of which beat the best `metric` by more than `min_delta`."""

    def __init__(
        self, *, metric: Literal["val_loss", "val_accuracy"], patience: Patience, min_delta: NonNegative
    ) -> None:
        self.metric = metric
        self.patience = patience
        self.min_delta = min_delta
        self.best: float | None = None
        self.epochs_without_gain = 0

    def should_stop(self, metrics: Mapping[str, Any]) -> bool:
        """Whether to end training after this epoch.

        Raises:
            ConfigError: the epoch has no such metric: the run has no validation images.
        """
        value = metrics.get(self.metric)
        if value is None:
            raise ConfigError(
                f"regularization.early_stopping.metric={self.metric}: this run has no validation images; "
                "set data.val_fraction above 0, or leave early_stopping out"
            )
        if self._improves(value):
            self.best, self.epochs_without_gain = value, 0
        else:
            self.epochs_without_gain += 1
        return self.epochs_without_gain >= self.patience

    def _improves(self, value: float) -> bool:
        if self.best is None:
            return True
        gain = self.best - value if self.metric == "val_loss" else value - self.best
        return gain > self.min_delta

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "epochs_without_gain": self.epochs_without_gain}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.best = state["best"]
        self.epochs_without_gain = state["epochs_without_gain"]
