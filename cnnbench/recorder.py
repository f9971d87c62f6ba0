"""What a run writes while it trains: metrics, checkpoints, progress; and how it takes them up again."""

import signal
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

import torch

from cnnbench.config.run_config import Views
from cnnbench.console import say_parts
from cnnbench.data import Splits
from cnnbench.data.batches import Batches, TrainBatches
from cnnbench.errors import CheckpointError, DiskError, Interrupted
from cnnbench.loop import Metrics, Training, check_finite, check_state_finite, fit
from cnnbench.progress import TrainingProgress
from cnnbench.runs.checkpoint import drop_strangers, load_checkpoint, load_weights, read_manifest
from cnnbench.runs.folder import RunFolder
from cnnbench.runs.format import METRICS
from cnnbench.runs.read import metrics_sha256, read_metrics
from cnnbench.runs.signals import StopSignals
from cnnbench.saving import Saver
from cnnbench.trackers.trackers import Trackers
from cnnbench.training_state import (
    data_facts,
    evaluation_weights,
    refuse_position,
    restore_rng,
    restore_training,
    training_state,
)

SECONDS_BETWEEN_LOOKS = 1.0  # how often the loop waits for the device to show the loss


class Recorder:
    """Writes a run's progress into its folder; a context manager around the training.

    Inside it the first stop signal lets the current batch finish, saves, and raises Interrupted.
    """

    def __init__(
        self,
        run: RunFolder,
        training: Training,
        batches: TrainBatches,
        splits: Splits,
        *,
        epochs: int,
        pause_after: int | None,
        checkpoint: Mapping[str, Any],
        trackers: Trackers,
        started: float,
    ) -> None:
        self.run = run
        self.trackers = trackers
        self.training = training
        self.batches = batches
        self.data_facts = data_facts(splits)
        self.epochs = epochs
        self.pause_after = pause_after
        self.saver = Saver(run.checkpoints, **checkpoint)
        self.started = started
        self.signals = StopSignals()
        self._looked = 0.0  # so that the first batch is shown

    def __enter__(self) -> "Recorder":
        per_epoch = self.batches.steps_per_epoch * self.batches.batch_size
        done = self.training.epoch * per_epoch + self.training.batch * self.batches.batch_size
        first = f"epoch {self.training.epoch + 1}/{self.epochs}"
        self.progress = TrainingProgress(self.epochs * per_epoch, done, description=first)
        self.progress.__enter__()
        self.signals.__enter__()
        return self

    def __exit__(self, *exception: Any) -> None:
        self.signals.__exit__(*exception)
        self.progress.__exit__(*exception)
        with suppress(DiskError):  # what ends the run is worth more
            self.saver.write_best()
        if exception[0] is None and self.signals.received is not None:  # it came after the last epoch was saved
            self.leave()

    def after_batch(self, training: Training, images: int) -> None:
        """Moves the bar; stops on a signal; once a second looks at the loss.

        Raises:
            Interrupted: a signal came; the checkpoint then holds every batch so far.
            DivergedError: the loss is not finite.
        """
        self.progress.advance(images)
        stopping, ends = self.signals.received is not None, training.batch == self.batches.steps_per_epoch
        if not ends and (stopping or self.saver.is_due(within_epoch=True)):
            check_finite(training)
            if stopping:
                self.note_stop()  # before saving, which takes longer: a second signal leaves at once
            self.save(is_best=False)
            if stopping:
                self.leave()
        if time.monotonic() - self._looked > SECONDS_BETWEEN_LOOKS:
            check_finite(training)
            speed = training.sums.images / training.epoch_seconds
            loss = float(training.sums.loss) / training.sums.images
            self.progress.show(f"epoch {training.epoch + 1}/{self.epochs} loss {loss:.3f}", speed)
            self._looked = time.monotonic()

    def after_epoch(self, training: Training, metrics: Metrics, is_best: bool) -> None:
        """Appends the epoch to metrics.jsonl, then saves a checkpoint that has seen it, unless it is too early."""
        self.run.append_metrics(metrics)
        self.trackers.log_epoch(metrics)
        if training.epoch == self.pause_after and not training.stopped:
            self.signals.received = signal.SIGTERM
        parts = epoch_parts(metrics, self.epochs)
        must = training.epoch == self.epochs or training.stopped or self.signals.received is not None
        saved = must or self.saver.is_due(within_epoch=False)
        if saved:
            self.save(is_best=is_best)
        elif is_best:
            check_state_finite(training)
            self.saver.remember_best(self.state_dict())
        say_parts(["*" if is_best else " ", *parts])
        if self.signals.received is not None:
            if not saved:  # it came a moment ago
                self.save(is_best=is_best)
            self.note_stop()
            self.leave()

    def train(self, validation: Batches, *, target: float | None, views: Views) -> None:
        """Trains to the end, writing down every epoch.

        Raises:
            Interrupted, DivergedError: as `after_batch`.
        """
        with self:
            fit(
                self.training,
                self.batches,
                validation,
                epochs=self.epochs,
                target=target,
                views=views,
                after_batch=self.after_batch,
                after_epoch=self.after_epoch,
            )

    def note_stop(self) -> None:
        """Notes how far a run has come that a signal asked to stop."""
        seconds = {"train_seconds": self.training.train_seconds, "total_seconds": self.total_seconds()}
        self.run.update_summary(status="interrupted", steps=self.training.step, **seconds)

    def leave(self) -> NoReturn:
        """Ends a run that a signal asked to stop; its checkpoint is saved.

        Raises:
            Interrupted: always.
        """
        assert self.signals.received is not None
        raise Interrupted(self.signals.received)

    def save(self, *, is_best: bool) -> None:
        """Saves a checkpoint of the whole training state.

        Raises:
            DivergedError: the last step has broken it.
        """
        check_state_finite(self.training)
        self.saver.save(self.state_dict(), is_best=is_best)

    def total_seconds(self) -> float:
        """The time the run has taken, without the pauses between its parts."""
        return time.monotonic() - self.started

    def state_dict(self) -> dict[str, Any]:
        """All that resuming, evaluating and predicting need; loadable with `weights_only=True`."""
        return training_state(self.training) | {
            "metrics": {"bytes": self.run.metrics_length(), "sha256": metrics_sha256(self.run.path)},
            "total_seconds": self.total_seconds(),
            "config_hash": self.run.summary["config_hash"],
            "data": self.data_facts,
        }

    def resume(self) -> None:
        """Puts the training where the newest whole checkpoint left it, and metrics.jsonl with it.

        Raises:
            CheckpointError: there is none although the run has saved, it belongs to another config, optimizer or
                data, or something in it is not as this run saves it.
        """
        folder = self.run.checkpoints
        drop_strangers(folder)
        if not read_manifest(folder):
            self._begin_again(folder)
            return
        state, steps = load_checkpoint(folder), self.batches.steps_per_epoch
        restore_training(self.training, state, self.state_dict(), folder, epochs=self.epochs, steps=steps)
        restore_rng(state["rng"], folder)  # last: building the parts has drawn numbers
        self._cut_metrics(state["metrics"], folder)
        self.started -= state["total_seconds"]
        self.run.update_summary(status="running", error=None, exit_code=None)
        self.run.log(f"resumed at epoch {self.training.epoch + 1}, batch {self.training.batch + 1}")

    def _begin_again(self, folder: Path) -> None:
        """Starts a run at its first epoch that was killed before it had saved anything."""
        more_than_one = len(read_metrics(self.run.path)) > 1  # the first epoch is written before it is saved
        if self.run.summary["status"] == "finished" or more_than_one:
            raise CheckpointError(f"{folder}: holds no checkpoint; the run has to be repeated")
        self.run.cut_metrics(0)
        self.run.update_summary(status="running", error=None, exit_code=None)
        self.run.log("resumed at epoch 1: the run had saved nothing yet")

    def _cut_metrics(self, seen: dict[str, Any], folder: Path) -> None:
        """Cuts metrics.jsonl back to what the checkpoint has seen of it."""
        if metrics_sha256(self.run.path, seen["bytes"]) != seen["sha256"]:
            raise CheckpointError(
                f"{self.run.path / METRICS}: does not hold the {self.training.epoch} epochs that {folder} has seen; "
                "put the file back, or repeat the run"
            )
        self.run.cut_metrics(seen["bytes"])

    def load_selected(self, select: str) -> tuple[int, torch.nn.Module]:
        """The epoch whose weights are to be tested, and the model that has them."""
        training = self.training
        model = training.evaluation_model()
        if select == "last" or training.best_epoch in (None, training.epoch):
            return training.epoch, model
        folder, steps = self.run.checkpoints, self.batches.steps_per_epoch
        state = load_checkpoint(folder, best=True)
        refuse_position(state.get("position"), folder, epochs=self.epochs, steps=steps)
        load_weights(model, evaluation_weights(state, folder), folder)
        return state["position"]["epoch"], model


def epoch_parts(metrics: Metrics, epochs: int) -> list[str]:
    """One epoch in words, the most telling first."""
    parts = [f"epoch {metrics['epoch']:>{len(str(epochs))}}/{epochs}"]
    if metrics["val_accuracy"] is not None:
        parts.append(f"val {metrics['val_loss']:.3f} {100 * metrics['val_accuracy']:.2f} %")
    parts.append(f"train {metrics['train_loss']:.3f} {100 * metrics['train_accuracy']:.1f} %")
    if metrics.get("sparsity"):
        parts.append(f"zeros {100 * metrics['sparsity']:.1f} %")
    return [*parts, f"{metrics['images_per_second']:,.0f} images/s", f"lr {metrics['lr']:.2g}"]
