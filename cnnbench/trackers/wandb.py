"""Weights & Biases: a run in the run folder, to be sent later by `wandb sync`, or at once."""

import os
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from cnnbench.errors import UnavailableError
from cnnbench.trackers.contact_sheet import contact_sheet
from cnnbench.trackers.tracker import Beginning, Numbers, own_folder, results_of


class WeightsAndBiases:
    """Config, sample images, metrics by epoch and results of a run.

    Args:
        project: under what name Weights & Biases lists the run.
        mode: "offline" writes into the run folder and knows no network.

    Raises:
        UnavailableError: `mode` is "online", and there is no key.
    """

    def __init__(self, folder: Path, *, project: str, mode: Literal["offline", "online"]) -> None:
        set_up()
        import wandb

        if mode == "online" and not wandb.login(prompt=False):
            raise UnavailableError(
                "logging.wandb.mode=online: there is no key; type `wandb login`, or use logging.wandb.mode=offline"
            )
        self.folder = folder
        self.project = project
        self.mode: Literal["offline", "online"] = mode

    def start(self, beginning: Beginning) -> None:
        import wandb

        earlier = list(own_folder(self.folder, "wandb").glob("offline-run-*"))
        if earlier:
            time.sleep(1)  # wandb names its folders by the second, and writes into none that was there
        self.run = wandb.init(
            dir=str(self.folder),
            mode=self.mode,
            project=self.project,
            id=beginning.run_id,
            name=self.folder.name,
            config=dict(beginning.config),
            resume="allow",
            reinit="create_new",
            settings=wandb.Settings(
                console="off", x_disable_stats=True, x_disable_meta=True, disable_git=True, disable_code=True
            ),
        )
        if self.run.step == 0:
            self.run.log({"sample_images": wandb.Image(contact_sheet(beginning.images))}, step=0)
        for numbers in beginning.epochs:
            self.log_epoch(numbers)
        for folder in earlier:  # the new one holds the same, but for epochs that were cut
            shutil.rmtree(folder)

    def log_epoch(self, numbers: Numbers) -> None:
        if numbers["epoch"] >= self.run.step:  # where it goes on online, the server knows the others
            self.run.log(numbers, step=int(numbers["epoch"]))

    def finish(self, summary: Mapping[str, Any]) -> None:
        self.run.summary.update(results_of(summary) | {"status": summary["status"], "error": summary["error"]})
        self.run.finish(exit_code=summary["exit_code"])


def set_up() -> None:
    """Has this process's wandb be silent, and tell nobody of its failures."""
    os.environ.setdefault("WANDB_SILENT", "true")
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
