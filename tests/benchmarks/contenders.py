"""The trainings that peers.py compares: the same images, network, optimizer and steps, each its framework's way.

A contender trains forever and tells `Clock` where its epochs start and stop. Switched off everywhere is what is not
training: validation, progress bars, loggers, checkpoints, metrics beside the loss.
"""

import math
import os
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, Protocol

import torch
from torch import nn
from work import BATCH, CLASSES, FOREVER, LR, MOMENTUM, PADDING, WEIGHT_DECAY, Work, own_training, pil_loader, sgd

from cnnbench.loop import train_one_epoch


class Clock(Protocol):
    """Where a contender waits for its turn and where it is timed."""

    def start(self) -> None: ...

    def stop(self) -> None: ...


def by_hand(work: Work, clock: Clock, workers: int) -> None:
    """The loop people write: a DataLoader, per-image torchvision transforms, fp32, `.item()` for the loss."""
    loader, model = pil_loader(work, workers), work.model()
    optimizer, criterion = sgd(model), nn.CrossEntropyLoss()
    model.train()
    while True:
        clock.start()
        total = 0.0
        for images, labels in loader:
            optimizer.zero_grad()
            loss = criterion(model(images), labels)
            loss.backward()
            optimizer.step()
            total += loss.item()
        clock.stop()


def lightning_trainer(work: Work, clock: Clock, workers: int) -> None:
    """Lightning's Trainer on the CPU with the same DataLoader and network."""
    import lightning

    class Classifier(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model = work.model()
            self.criterion = nn.CrossEntropyLoss()

        def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], _number: int) -> torch.Tensor:
            images, labels = batch
            return self.criterion(self.model(images), labels)

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return sgd(self.model)

        def on_train_epoch_start(self) -> None:
            clock.start()

        def on_train_epoch_end(self) -> None:
            clock.stop()

    trainer = lightning.Trainer(
        max_epochs=FOREVER,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(Classifier(), pil_loader(work, workers))


def keras_fit(work: Work, clock: Clock) -> None:
    """Keras 3 on torch: `fit` on arrays, augmentation and normalisation as layers of the model.

    RandomTranslation moves each image, where Keras' RandomCrop would move all of a batch alike.
    """
    os.environ["KERAS_BACKEND"] = "torch"
    import keras
    from keras import layers

    augmentation = [
        layers.RandomTranslation(PADDING / 32, PADDING / 32, fill_mode="constant", interpolation="nearest"),
        layers.RandomFlip("horizontal"),
        layers.Normalization(mean=(255 * work.splits.mean).tolist(), variance=((255 * work.splits.std) ** 2).tolist()),
    ]
    model = keras.Sequential([keras.Input((32, 32, 3)), *augmentation, *deep_in_keras()])
    parameters = sum(weight.numel() for weight in work.model().parameters())
    assert sum(math.prod(weight.shape) for weight in model.trainable_weights) == parameters
    model.compile(
        keras.optimizers.SGD(LR, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    on_clock = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda *_: clock.start(), on_epoch_end=lambda *_: clock.stop()
    )
    images, labels = work.images()
    pixels = images.permute(0, 2, 3, 1).contiguous().numpy()
    model.fit(pixels, labels.numpy(), BATCH, epochs=FOREVER, verbose=0, callbacks=[on_clock])


def deep_in_keras() -> list[Any]:
    """The layers of `model=deep` with dropout, as work.py has it."""
    from keras import layers

    net: list[Any] = []
    for width in (32, 64, 128, 256):
        net += [
            layers.Conv2D(width, 3, padding="same", use_bias=False),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.MaxPooling2D(2),
        ]
    return [*net, layers.Flatten(), layers.Dense(1024, "relu"), layers.Dropout(0.5), layers.Dense(CLASSES)]


def fastai_learner(work: Work, clock: Clock, workers: int) -> None:
    """fastai's Learner with its own DataLoaders on images in memory, its own SGD, and the same network."""
    from fastai.vision import all as fastai

    class OnClock(fastai.Callback):
        def before_train(self) -> None:
            clock.start()

        def after_train(self) -> None:
            clock.stop()
            raise fastai.CancelEpochException  # no validation

    images, labels = work.images()
    items = list(zip(images.permute(0, 2, 3, 1).contiguous().numpy(), labels.tolist(), strict=True))
    block = fastai.DataBlock(
        (fastai.ImageBlock, fastai.CategoryBlock),
        get_x=fastai.ItemGetter(0),
        get_y=fastai.ItemGetter(1),
        splitter=lambda items: (range(len(items)), []),
        item_tfms=[fastai.CropPad(32 + 2 * PADDING), fastai.RandomCrop(32), fastai.FlipItem()],
        batch_tfms=fastai.Normalize.from_stats(work.splits.mean.tolist(), work.splits.std.tolist()),
    )
    loaders = block.dataloaders(items, bs=BATCH, num_workers=workers)
    optimizer = partial(fastai.SGD, mom=MOMENTUM, decouple_wd=False)
    learner = fastai.Learner(
        loaders, work.model(), fastai.CrossEntropyLossFlat(), optimizer, moms=(MOMENTUM,) * 3, cbs=OnClock()
    )
    with learner.no_bar(), learner.no_logging():
        learner.fit(FOREVER, LR, WEIGHT_DECAY)


def own_loop(work: Work, clock: Clock) -> None:
    """cnnbench."""
    training, batches = own_training(work)
    while True:
        clock.start()
        train_one_epoch(training, batches, lambda *_: None)
        clock.stop()


def own_loop_in_fp32(work: Work, clock: Clock) -> None:
    """cnnbench in fp32 on all threads, whatever is fastest here."""
    own_loop(replace(work, config=replace(work.config, device=work.config.device | FP32_POLICY)), clock)


Contender = Callable[[Work, Clock], None]
OURS, OURS_IN_FP32 = "cnnbench", "cnnbench in fp32"
FP32_POLICY = {
    "precision": "fp32",
    "memory_format": "channels_last",
    "compile": False,
    "threads": torch.get_num_threads(),
}
CONTENDERS: dict[str, dict[str, Contender]] = {
    "loop": {f"{count} workers": partial(by_hand, workers=count) for count in (0, 2)},
    "lightning": {f"{count} workers": partial(lightning_trainer, workers=count) for count in (0, 2)},
    "keras": {"fit": keras_fit},
    "fastai": {f"{count} workers": partial(fastai_learner, workers=count) for count in (0, 2)},
    OURS: {"device=auto": own_loop},
    OURS_IN_FP32: {"all threads": own_loop_in_fp32},
}
"""By name, the ways to run it; its best one counts."""
