"""The trackers: what sends a run to a tool that people look at runs with. Any number of them follow a run."""

from collections.abc import Callable

from cnnbench.trackers.metrics_csv import MetricsCsv
from cnnbench.trackers.mlflow import MLflow
from cnnbench.trackers.tensorboard import TensorBoard
from cnnbench.trackers.tracker import Tracker
from cnnbench.trackers.wandb import WeightsAndBiases

TRACKERS: dict[str, Callable[..., Tracker]] = {
    "csv": MetricsCsv,
    "tensorboard": TensorBoard,
    "mlflow": MLflow,
    "wandb": WeightsAndBiases,
}

PACKAGES = {"tensorboard": "tensorboard", "mlflow": "mlflow-skinny", "wandb": "wandb"}
"""The package that a tracker imports, which is called as the tracker is, and what pip calls it."""
