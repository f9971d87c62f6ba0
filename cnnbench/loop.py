"""The training loop: one step, one epoch, and the epochs of a run."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from cnnbench.config.run_config import Views
from cnnbench.data.batches import Batches, TrainBatches
from cnnbench.device import Device
from cnnbench.errors import DivergedError
from cnnbench.inference import Evaluation, evaluate
from cnnbench.seeds import derive_seed
from cnnbench.techniques.callback import Callback

Criterion = Callable[[Tensor, Tensor], Tensor]
Metrics = dict[str, Any]


class Sums:
    """What an epoch adds up, on the device: reading it waits for the device, adding to it does not."""

    def __init__(self, device: torch.device) -> None:
        self.loss = torch.zeros((), device=device)
        self.correct = torch.zeros((), device=device, dtype=torch.int64)
        self.first_bad_step = torch.full((), -1, device=device)
        self.images = 0

    def add(self, step: int, loss: Tensor, total: Tensor, correct: Tensor, images: int) -> None:
        """Adds a batch; `total` is the loss with penalties, `step` the number to name if it is not finite."""
        self.loss += loss.detach() * images  # weighted: a batch may be smaller
        self.correct += correct
        self.images += images
        bad = ~torch.isfinite(total.detach()) & (self.first_bad_step < 0)
        self.first_bad_step.masked_fill_(bad, step)

    def state_dict(self) -> dict[str, Any]:
        """What resuming within the epoch needs."""
        return dict(vars(self))

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes back what `state_dict` gave."""
        for name, value in state.items():
            current = getattr(self, name)
            setattr(self, name, value.to(current.device) if isinstance(value, Tensor) else value)


@dataclass
class Training:
    """A model, what trains it, and how far it has come."""

    model: nn.Module
    criterion: Criterion
    optimizer: torch.optim.Optimizer
    schedule: Callable[[int], float]
    callbacks: dict[str, Callback]
    device: Device
    epoch: int = 0  # completed epochs
    batch: int = 0  # completed batches of the current epoch
    step: int = 0  # optimizer steps taken
    skipped_steps: int = 0  # fp16 overflows
    epoch_seconds: float = 0.0  # training time of the current epoch so far
    train_seconds: float = 0.0  # training time of the completed epochs; evaluation is not in it
    best_epoch: int | None = None
    best_val_accuracy: float | None = None
    best_val_loss: float | None = None
    time_to_target: float | None = None
    stopped: bool = False  # a callback has ended the training
    gradient_norms: dict[str, Tensor] = field(default_factory=dict)  # of the epoch's last step, on the device
    sums: Sums = field(init=False)

    def __post_init__(self) -> None:
        self.forward = self.device.compiled(self.model)
        self.sums = Sums(self.device.torch_device)

    def lr_at(self, step: int) -> float:
        """The learning rate of the first parameter group at a step, counted from 0."""
        return self.optimizer.param_groups[0]["initial_lr"] * self.schedule(step)

    def evaluation_model(self) -> nn.Module:
        """What is validated, tested and kept: the model, or the average that a callback makes of it."""
        model = self.model
        for callback in reversed(self.callbacks.values()):
            model = callback.model_for_evaluation(model)
        return model

    def is_settled(self) -> bool:
        """Whether the model can be the best one or end the run: nothing is still being pruned."""
        return all(callback.is_settled() for callback in self.callbacks.values())


def train_step(training: Training, images: Tensor, targets: Tensor, *, measure_gradients: bool = False) -> None:
    """One optimizer step on a batch; its loss and accuracy go into `training.sums`.

    With `measure_gradients` also `training.gradient_norms`, of the gradients as they are before callbacks change them.
    """
    callbacks = training.callbacks.values()
    for callback in callbacks:
        images, targets = callback.on_batch(images, targets)

    def compute_loss() -> tuple[Tensor, Tensor, Tensor]:
        with training.device.autocast():
            logits = training.forward(images)
        loss = training.criterion(logits.float(), targets)
        penalties = [callback.penalty(training.model) for callback in callbacks]
        return logits, loss, sum((penalty for penalty in penalties if penalty is not None), loss)

    def on_gradients(backward: Callable[[Tensor], None]) -> None:
        if measure_gradients:
            training.gradient_norms = gradient_norms(training.model)
        for callback in callbacks:
            callback.on_gradients(training.model, lambda: backward(compute_loss()[2]))

    logits, loss, total = compute_loss()
    factor = training.schedule(training.step)
    for group in training.optimizer.param_groups:
        group["lr"] = group["initial_lr"] * factor
    stepped = training.device.backward_and_step(total, training.optimizer, on_gradients)
    labels = targets if targets.ndim == 1 else targets.argmax(1)
    training.sums.add(training.step, loss, total, (logits.argmax(1) == labels).sum(), len(images))
    training.step += stepped
    training.skipped_steps += not stepped
    if stepped:
        for callback in callbacks:
            callback.after_step(training.model)


def train_one_epoch(training: Training, batches: TrainBatches, after_batch: Callable[[Training, int], None]) -> Metrics:
    """The rest of the current epoch: from `training.batch` to its end; gives back its training metrics.

    `after_batch(training, images)` may raise to stop; `training` is then complete up to that batch.

    Raises:
        DivergedError: the loss was NaN or infinite, with the epoch, the step and its learning rate.
    """
    if training.batch == 0:
        torch.manual_seed(derive_seed(batches.seed, "epoch", training.epoch))  # dropout, mixup, stochastic depth
        training.sums = Sums(training.device.torch_device)
        training.epoch_seconds = 0.0
    training.model.train()
    clock = time.monotonic()
    for images, labels in batches.epoch(training.epoch, training.batch):
        is_last = training.batch + 1 == batches.steps_per_epoch
        train_step(training, images, labels, measure_gradients=is_last)
        training.batch += 1
        now = time.monotonic()
        training.epoch_seconds, clock = training.epoch_seconds + now - clock, now
        after_batch(training, len(images))
    callbacks = training.callbacks.values()
    for callback in callbacks:
        callback.on_epoch_end(training.model)
    evaluated = training.evaluation_model()
    with training.device.autocast():
        for callback in callbacks:
            callback.before_evaluation(evaluated, batches.epoch(training.epoch))
    training.device.synchronize()
    training.epoch_seconds += time.monotonic() - clock
    check_finite(training)
    return end_epoch(training)


def check_finite(training: Training) -> None:
    """Waits for the device and looks whether a loss was not finite.

    Raises:
        DivergedError: naming the first such step.
    """
    step = int(training.sums.first_bad_step)
    if step >= 0:
        raise diverged("loss", training.epoch + 1, step + 1, training.lr_at(step))


def check_state_finite(training: Training) -> None:
    """Waits for the device and looks whether the last step has broken a weight or what the optimizer keeps of it.

    Raises:
        DivergedError: it has.
    """
    kept = [value for state in training.optimizer.state.values() for value in state.values()]
    kept = [value for value in kept if isinstance(value, Tensor) and value.ndim]  # not the counts of steps
    tensors = [t for t in (*training.model.parameters(), *kept) if t.is_floating_point() and t.numel()]
    norms = torch._foreach_norm(tensors, float("inf"))
    if norms and not torch.stack(norms).isfinite().all():
        lr = training.optimizer.param_groups[0]["lr"]
        raise diverged("state of the training", training.epoch + 1, training.step, lr)


def diverged(what: str, epoch: int, step: int, lr: float) -> DivergedError:
    """The error of a `what` that is not finite; epoch and step count from 1."""
    place = f"epoch {epoch}, step {step}, lr {lr:g}"
    return DivergedError(f"training diverged: the {what} is not finite at {place}; lower optimizer.lr")


def end_epoch(training: Training) -> Metrics:
    """Closes the epoch and gives back its line of metrics.jsonl as far as training knows it."""
    sums, seconds = training.sums, training.epoch_seconds
    lr = training.optimizer.param_groups[0]["lr"]
    training.epoch += 1
    training.batch = 0
    training.train_seconds += seconds
    metrics = {
        "epoch": training.epoch,
        "step": training.step,
        "train_loss": float(sums.loss) / sums.images,
        "train_accuracy": int(sums.correct) / sums.images,
        "lr": lr,
        "seconds": seconds,
        "images_per_second": sums.images / seconds,
        "skipped_steps": training.skipped_steps,
        "gradient_norms": read_at_once(training.gradient_norms),
    }
    for callback in training.callbacks.values():
        metrics |= callback.epoch_metrics(training.model)
    return metrics


def gradient_norms(model: nn.Module) -> dict[str, Tensor]:
    """The L2 norm of the gradient of each parameter with two or more dimensions: vanishing gradients show here."""
    weights = {name: p.grad for name, p in model.named_parameters() if p.ndim >= 2 and p.grad is not None}
    return dict(zip(weights, torch._foreach_norm(list(weights.values())), strict=True)) if weights else {}


def read_at_once(scalars: dict[str, Tensor]) -> dict[str, float]:
    """The numbers of scalars on a device, which is waited for once."""
    return dict(zip(scalars, torch.stack(list(scalars.values())).tolist(), strict=True)) if scalars else {}


def fit(
    training: Training,
    batches: TrainBatches,
    validation: Batches,
    *,
    epochs: int,
    target: float | None,
    views: Views,
    after_batch: Callable[[Training, int], None],
    after_epoch: Callable[[Training, Metrics, bool], None],
) -> None:
    """Trains until `epochs` are completed or a callback stops; `after_epoch` is told whether it was the best one."""
    while training.epoch < epochs and not training.stopped:
        metrics = train_one_epoch(training, batches, after_batch)
        evaluation = evaluate(training.evaluation_model(), validation, training.device, views, what="validating")
        if evaluation and not math.isfinite(evaluation.loss):  # the last step of the epoch can break the weights
            raise diverged("validation loss", training.epoch, training.step, metrics["lr"])
        metrics["val_loss"] = evaluation.loss if evaluation else None
        metrics["val_accuracy"] = evaluation.accuracy if evaluation else None
        is_best = note_best(training, evaluation, target)
        for callback in training.callbacks.values():
            callback.on_metrics(metrics)
        training.stopped = training.is_settled() and should_stop(training, metrics)
        after_epoch(training, metrics, is_best)  # after should_stop: the checkpoint holds the answer and its counters


def should_stop(training: Training, metrics: Metrics) -> bool:
    """Whether any callback ends the training; all are asked, for some count the epochs."""
    answers = [callback.should_stop(metrics) for callback in training.callbacks.values()]
    return any(answers)


def note_best(training: Training, evaluation: Evaluation | None, target: float | None) -> bool:
    """Whether the epoch just ended is the best so far, and if so, notes it.

    The best has the highest validation accuracy, among equals the lowest loss; without validation it is the latest.
    """
    if not training.is_settled():
        return False
    if evaluation is None:
        training.best_epoch = training.epoch
        return True
    if target is not None and training.time_to_target is None and evaluation.accuracy >= target:
        training.time_to_target = training.train_seconds
    if training.best_val_accuracy is not None and training.best_val_loss is not None:
        best = (training.best_val_accuracy, -training.best_val_loss)
        if (evaluation.accuracy, -evaluation.loss) <= best:
            return False
    training.best_epoch = training.epoch
    training.best_val_accuracy, training.best_val_loss = evaluation.accuracy, evaluation.loss
    return True
