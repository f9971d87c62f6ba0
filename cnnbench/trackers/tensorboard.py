"""TensorBoard: event files in the run folder."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cnnbench.config.settings import spell
from cnnbench.trackers.contact_sheet import contact_sheet
from cnnbench.trackers.tracker import Beginning, Numbers, flat, own_folder, results_of

COMPARED = ("val_accuracy", "summary/best_val_accuracy", "summary/test_accuracy")
"""The metrics by which the HParams tab compares runs."""


class TensorBoard:
    """Scalars by epoch; config, sample images and hyperparameters at step 0; the results at the last epoch."""

    def __init__(self, folder: Path) -> None:
        import torch.utils.tensorboard  # noqa: F401

        self.folder = folder
        self.epoch = 0

    def start(self, beginning: Beginning) -> None:
        from torch.utils.tensorboard import SummaryWriter
        from torch.utils.tensorboard.summary import hparams

        folder = own_folder(self.folder, "tensorboard")
        goes_on = any(folder.glob("events.*"))
        self.epoch = len(beginning.epochs)
        self.writer = SummaryWriter(str(folder), purge_step=self.epoch + 1)  # hides what was told of later epochs
        self._file: Any = self.writer.file_writer
        settings = {
            key: value if isinstance(value, bool | int | float | str) else spell(value)
            for key, value in flat(beginning.config, ".").items()
        }
        experiment, begun, self._ended = hparams(settings, dict.fromkeys(COMPARED, 0))
        if not goes_on:
            self._add_hyperparameters(experiment, begun)
            self.writer.add_text("config", as_code(beginning.config), 0)
            self.writer.add_image("sample_images", contact_sheet(beginning.images), 0, dataformats="HWC")
        self.writer.flush()

    def log_epoch(self, numbers: Numbers) -> None:
        self.epoch = int(numbers["epoch"])
        self._add({name: value for name, value in numbers.items() if name != "epoch"})
        self.writer.flush()

    def finish(self, summary: Mapping[str, Any]) -> None:
        self._add(results_of(summary))
        self.writer.add_text("summary", as_code(summary), self.epoch)
        if summary["status"] == "finished":
            self._add_hyperparameters(self._ended)
        self.writer.close()

    def _add_hyperparameters(self, *parts: Any) -> None:
        for part in parts:
            self._file.add_summary(part)

    def _add(self, numbers: Numbers) -> None:
        for name, value in numbers.items():
            self.writer.add_scalar(name, value, self.epoch)


def as_code(document: Mapping[str, Any]) -> str:
    """A document as the Markdown of TensorBoard's text tab."""
    return "\n".join(f"    {line}" for line in json.dumps(document, indent=2).splitlines())
