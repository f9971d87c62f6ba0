"""What a throughput is held against: the peak of the machine, and the training step without the loop around it."""

import time
from collections.abc import Callable

import torch
from torch import nn
from work import own_training, prepare

from cnnbench.data.batches import TrainBatches
from cnnbench.loop import Training, train_one_epoch
from cnnbench.models.describe import walk

MATRIX, REPEATS = 4096, 5
Call = Callable[[], object]


def peak_flops(dtype: torch.dtype) -> float:
    """The most floating-point operations per second of several large matrix products."""
    left, right = torch.randn(2, MATRIX, MATRIX).to(dtype)
    left @ right
    return 2 * MATRIX**3 / min(seconds(lambda: left @ right) for _ in range(REPEATS))


def training_flops(model: nn.Module, image_shape: tuple[int, int, int]) -> int:
    """Operations of convolutions and matrix products that training on one image takes.

    The gradients by inputs and by weights cost as much as the forward pass each, but nobody computes that by the
    images: three times the forward pass less the first layer.
    """
    description = walk(model, image_shape)
    first = next(layer.macs for layer in description.layers if layer.macs)
    return 2 * (3 * description.macs - first)


def seconds(call: Call) -> float:
    """How long one call takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def paired_ratios(numerator: Call, denominator: Call, rounds: int) -> list[float]:
    """Seconds of one call over those of the other, round by round, each warmed up and both in turn."""
    numerator(), denominator()
    return [seconds(numerator) / seconds(denominator) for _ in range(rounds)]


def overhead_ratios(model: str, steps: int, rounds: int, *overrides: str) -> list[float]:
    """Seconds of cnnbench's epoch without augmentation over those of its bare steps, on the same images and policy."""
    work = prepare(model, steps, "augmentation=none", *overrides)
    return paired_ratios(own_epoch(*own_training(work)), bare_epoch(*own_training(work)), rounds)


def own_epoch(training: Training, batches: TrainBatches) -> Call:
    """An epoch as cnnbench runs it."""
    return lambda: train_one_epoch(training, batches, lambda *_: None)


def bare_epoch(training: Training, batches: TrainBatches) -> Call:
    """The same number of steps with nothing around them, on batches that have been normalised before."""
    model, optimizer = training.model.train(), training.optimizer
    ready = list(batches.epoch(0))

    def epoch() -> None:
        for images, labels in ready:
            with training.device.autocast():
                logits = model(images)
            loss = training.criterion(logits.float(), labels)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()

    return epoch
