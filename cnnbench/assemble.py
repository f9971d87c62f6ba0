"""From a config to the parts of a run: data, model, and a Training with its batches."""

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from cnnbench.config.run_config import FROM_PYTHON, RunConfig, technique_of
from cnnbench.config.settings import build, check
from cnnbench.data import Source, Splits
from cnnbench.data.batches import EvaluationBatches, Normalize, TrainBatches
from cnnbench.data.images import ImageSet, ImageShape, spell_shape
from cnnbench.device import DEVICES, Device, make_device
from cnnbench.errors import ConfigError, DataError
from cnnbench.loop import Training
from cnnbench.models import MODELS
from cnnbench.models.describe import Description, walk
from cnnbench.runs.teacher import teacher_facts
from cnnbench.seeds import derive_seed
from cnnbench.teacher import Teacher
from cnnbench.techniques.augment import AUGMENTATIONS, Augmentation, compose
from cnnbench.techniques.callback import Callback
from cnnbench.techniques.compression import COMPRESSIONS
from cnnbench.techniques.compression.compression import Compression
from cnnbench.techniques.losses import LOSSES
from cnnbench.techniques.optimizers import OPTIMIZERS
from cnnbench.techniques.pruning import PRUNING
from cnnbench.techniques.regularizers import REGULARIZERS
from cnnbench.techniques.schedules import SCHEDULES
from cnnbench.trackers.trackers import refuse_missing_packages

FIRST_IMAGES = 5000  # of 32x32, or fewer and larger ones, that a model may take its initial weights from
AVERAGES = ("swa", "ema")  # average what pruning has left, so they come after it


def configured_device(config: RunConfig) -> Device:
    """The device and its policy.

    Raises:
        UnavailableError: this machine does not have it.
    """
    return build(DEVICES, "device", config.device)


def recorded_device(config: RunConfig, summary: Mapping[str, Any]) -> Device:
    """The device of a run that has begun, with the policy `device=auto` chose then, where this machine has it."""
    device = configured_device(config)
    kind = device.torch_device.type
    policy: dict[str, Any] = {key: summary.get(key) for key in device.policy()}
    if config.device["name"] != "auto" or summary.get("device") != kind:
        return device
    return device if check(DEVICES, "device", {"name": kind, **policy}) else make_device(kind, **policy)


def compressed_device(config: RunConfig, device: Device) -> Device:
    """The device with the numbers that the last compression of the config computes in; int8 is the processor's."""
    if not config.compression:
        return device
    name, values = list(config.compression.items())[-1]
    compression = make_compression({"name": technique_of(name), **values})
    kind = "cpu" if compression.is_compiled else device.torch_device.type
    precision = compression.precision or device.precision
    return make_device(kind, precision, device.memory_format, device.compile, device.threads)


def make_compression(node: Mapping[str, Any]) -> Compression:
    """What is to be done to a run, or was."""
    compression: Compression = build(COMPRESSIONS, "compression", node)
    return compression


def make_model(config: RunConfig, image_shape: tuple[int, int, int], num_classes: int) -> nn.Module:
    """The model with its initial weights, which depend on the seed only; on the current default device.

    Raises:
        ConfigError: it was given from Python.
    """
    if config.model["name"] == FROM_PYTHON:
        given = config.model["class"]
        raise ConfigError(
            f"model: the network of this run, {given}, was given from Python; give it there again as model="
        )
    torch.manual_seed(derive_seed(config.seed, "weights"))
    return build(MODELS, "model", config.model, image_shape=image_shape, num_classes=num_classes)


def rehearse(config: RunConfig, source: Source, model: nn.Module | None) -> tuple[nn.Module, Description]:
    """The model, `model` itself where it is given, and its size; every other part is built on a copy, and thrown away.

    Raises:
        UnavailableError: a package that a tracker imports is not installed.
        ConfigError: with one line for everything that does not fit together: a kernel larger than its map,
            a warm-up longer than the training, ...
        DataError: there are no images to train on, or no teacher to learn from; it is not loaded.
    """
    refuse_missing_packages(config.logging)
    teacher_facts(config.loss)
    if not source.has_train:
        raise DataError(f"{source.origin}: has no training images; add a train folder, or lower data.test_fraction")
    if model is None:
        model = make_model(config, source.image_shape, source.num_classes)
        description = walk(model, source.image_shape)
    else:
        description = walk_given(model, source)
    spare = copy.deepcopy(model)  # stochastic depth changes the model it is built for, and others may
    context: dict[str, Any] = {
        "model": spare,
        "steps_per_epoch": 1,
        "epochs": config.epochs,
        "num_classes": source.num_classes,
        "ask_teacher": None,
        "image_shape": source.image_shape,
    }
    parts: list[Callable[[], Any]] = [
        lambda: build(LOSSES, "loss", config.loss, **context),
        lambda: build(OPTIMIZERS, "optimizer", config.optimizer, **context),
        lambda: build(SCHEDULES, "schedule", config.schedule, total_steps=config.epochs, **context),
        lambda: refuse_fixed_sizes(make_callbacks(config, **context), spare, source.image_shape),
        lambda: make_augmentations(config, source.image_shape, torch.zeros(source.image_shape[0], dtype=torch.uint8)),
        lambda: refuse_without_validation(config, source.has_val or config.data["val_fraction"] > 0),
        lambda: refuse_single_values(config.batch_size, spare, source.image_shape),
    ]
    findings: list[str] = []
    for part in parts:
        try:
            part()
        except ConfigError as error:
            findings += error.findings
    if findings:
        raise ConfigError(*findings)
    return model, description


def walk_given(model: nn.Module, source: Source) -> Description:
    """The description of a network given from Python.

    Raises:
        ConfigError: it does not take the images, or gives no logit for each class.
    """
    shape = spell_shape(source.image_shape)
    try:
        description = walk(model, source.image_shape)
    except RuntimeError as error:
        raise ConfigError(
            f"model=: does not take {shape} images ({str(error).splitlines()[0]}); give one made for them"
        ) from error
    if description.output_shape != (source.num_classes,):
        found = spell_shape(description.output_shape) if description.output_shape else "no tensor of them"
        raise ConfigError(f"model=: gives {found} for an image; give a logit for each of {source.num_classes} classes")
    return description


def refuse_without_validation(config: RunConfig, has_images: bool) -> None:
    """Looks for what needs validation images; `has_images` says whether the run has some.

    Raises:
        ConfigError: with one line for each that could never act.
    """
    waiting = {
        "regularization.early_stopping": "early_stopping" in config.regularization,
        f"target.value={config.target['value']}": config.target["value"] is not None,
    }
    findings = [
        f"{key}: this run has no validation images; raise data.val_fraction, or leave it out"
        for key, needs_images in waiting.items()
        if needs_images and not has_images
    ]
    if findings:
        raise ConfigError(*findings)


def refuse_single_values(batch_size: int, model: nn.Module, image_shape: ImageShape) -> None:
    """Trains `model` for a step without weights where a batch is one image: a norm needs two values of a channel.

    Raises:
        ConfigError: it has maps of one pixel before a norm.
    """
    if batch_size > 1:
        return
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=()):  # dropout draws
            model.train()(torch.zeros(1, *image_shape))
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise ConfigError(
            "batch_size=1: this model has a norm over one value of each channel of a batch; "
            "use batch_size=2 or more, model.norm=none, or larger images"
        ) from error


def refuse_fixed_sizes(
    callbacks: Mapping[str, Callback], model: nn.Module, image_shape: ImageShape, who: str = "this model"
) -> None:
    """Sends an image of every size that the callbacks make through the model, which errors call `who`.

    Raises:
        ConfigError: it does not take one of them.
    """
    channels, height, width = image_shape
    for name, callback in callbacks.items():
        for size in callback.image_sizes(height, width):
            try:
                walk(model, (channels, *size))
            except (ConfigError, RuntimeError) as error:  # a window larger than its map; a layer of fixed size
                raise ConfigError(
                    f"regularization.{name}: {who} takes {height}x{width} images and not {size[0]}x{size[1]}; "
                    f"use model.head=gap, a model that has it, or a scale nearer to 1"
                ) from error


def make_batches(config: RunConfig, splits: Splits, device: Device) -> TrainBatches:
    """The training batches of every epoch."""
    normalize = Normalize(splits.mean, splits.std, device)
    images = splits.train.to(device.torch_device)
    fill = (splits.mean * 255).round().to(torch.uint8)
    augmentation = make_augmentations(config, splits.image_shape, fill)
    return TrainBatches(images, config.batch_size, config.seed, augmentation, normalize)


def make_augmentations(config: RunConfig, image_shape: ImageShape, fill: Tensor) -> Augmentation | None:
    """All augmentations of the config as one, in their order; None where there is none.

    `fill` is the colour, uint8 (C,), of what is cut out.
    """
    context = {"image_shape": image_shape, "fill": fill}
    parts = [
        build(AUGMENTATIONS, "augmentation", {"name": name, **values}, path=f"augmentation.{name}", **context)
        for name, values in config.augmentation.items()
    ]
    return compose(parts) if parts else None


def evaluation_batches(images: ImageSet, config: RunConfig, normalize: Normalize, device: Device) -> EvaluationBatches:
    """Batches of twice the training size: without gradients they need less memory."""
    return EvaluationBatches(images.to(device.torch_device), 2 * config.batch_size, normalize)


def make_training(
    config: RunConfig,
    model: nn.Module,
    batches: TrainBatches,
    num_classes: int,
    device: Device,
    given: Sequence[Callback] = (),
    *,
    teacher: Teacher | None = None,
    is_new: bool = True,
) -> Training:
    """Everything that trains `model`, at its start; `given` callbacks act before those of the config.

    `teacher` is the one that the loss names. Of a model that is not new the weights are left as they are.

    Raises:
        ConfigError: the teacher does not take images of a size that a callback makes.
    """
    model = device.place(model)
    if is_new:
        initialize_from_images(model, batches)
    steps = batches.steps_per_epoch
    callbacks = {f"{FROM_PYTHON}.{number}": callback for number, callback in enumerate(given)}
    callbacks |= make_callbacks(
        config,
        model=model,
        steps_per_epoch=steps,
        epochs=config.epochs,
        num_classes=num_classes,
        image_shape=batches.images.image_shape,
    )
    ask_teacher = None
    if teacher is not None:
        refuse_fixed_sizes(callbacks, teacher.model, teacher.image_shape, "the teacher")
        ask_teacher = teacher.asked_by(batches.normalize, device)
    criterion = build(LOSSES, "loss", config.loss, num_classes=num_classes, ask_teacher=ask_teacher)
    if isinstance(criterion, Callback):
        callbacks["loss"] = criterion  # last: it sees what the others have made of a batch
    return Training(
        model=model,
        criterion=criterion,
        optimizer=build(OPTIMIZERS, "optimizer", config.optimizer, model=model),
        schedule=build(
            SCHEDULES, "schedule", config.schedule, total_steps=steps * config.epochs, steps_per_epoch=steps
        ),
        callbacks=callbacks,
        device=device,
    )


def initialize_from_images(model: nn.Module, batches: TrainBatches) -> None:
    """Shows the first training images, normalised but not augmented, to a model whose initial weights depend on them.

    In the order of the first epoch, for a folder of images is sorted by class.
    """
    initialize = getattr(model, "initialize_from_images", None)
    if initialize is None:
        return
    _, height, width = batches.images.image_shape
    count = min(FIRST_IMAGES, FIRST_IMAGES * 32 * 32 // (height * width) + 1)
    first = batches.order(0)[:count]
    initialize(torch.cat([batches.normalize(images) for images, _ in batches.images.batches(first, count)]))


def make_callbacks(config: RunConfig, **context: Any) -> dict[str, Callback]:
    """The run's regularizers in the order of their table, with pruning before the averages."""
    chosen = [name for name in REGULARIZERS if name in config.regularization]
    others = [name for name in config.regularization if name not in REGULARIZERS]  # from other packages
    chosen += [name for name in others if name != FROM_PYTHON]
    callbacks = {
        name: build(
            REGULARIZERS,
            "regularization",
            {"name": name, **config.regularization[name]},
            path=f"regularization.{name}",
            **context,
        )
        for name in chosen
    }
    if config.pruning["name"] != "none":
        callbacks["pruning"] = build(PRUNING, "pruning", config.pruning, **context)
        callbacks |= {name: callbacks.pop(name) for name in AVERAGES if name in callbacks}
    return callbacks
