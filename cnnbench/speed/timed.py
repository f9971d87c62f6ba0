"""A config in one policy, ready to be timed: its training steps and its forward passes."""

from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from cnnbench.assemble import make_batches, make_model, make_training
from cnnbench.config.run_config import RunConfig
from cnnbench.data import ImageShape, ResidentImages, Source, Splits
from cnnbench.data.batches import TrainBatches
from cnnbench.device import Device
from cnnbench.inference import prepared
from cnnbench.loop import train_step
from cnnbench.models.describe import walk
from cnnbench.seeds import generator
from cnnbench.speed.memory import memory_of
from cnnbench.speed.stopwatch import seconds_of
from cnnbench.trained.teacher import load_teacher

EPOCH_BATCHES = 8
FAR_FROM_THE_END = 1_000_000  # times the epochs: what changes in the course of a run does not while it is timed
TRAINING_SECONDS = 0.2  # of the steps that are timed as one
LATENCY_BATCHES = {"1": 1, "64": 64}
EVALUATION = "evaluation"
"""The forward pass over as many images as a run evaluates at a time."""


class TimedConfig:
    """Trains on random images of the source's shape by the loop's own step and the run's own batches.

    Always as at the start of a run: the smallest of progressive resizing's images, no layer frozen later, dense.
    `training_flops` are those of such a step for an image, the teacher's among them. `seconds` is what one forward pass
    of each kind took when tried out: of 1 and 64 images, and of EVALUATION.
    `memory_bytes` is what weights, gradients and optimizer state take and a training step beside them.
    """

    def __init__(self, config: RunConfig, source: Source, device: Device, batch_size: int) -> None:
        splits = random_splits(source, EPOCH_BATCHES * batch_size)
        config = replace(config, batch_size=batch_size, epochs=config.epochs * FAR_FROM_THE_END)
        batches = make_batches(config, splits, device)
        model = make_model(config, source.image_shape, source.num_classes)
        self.device = device
        self.batch_size = batch_size
        self.teacher = load_teacher(config, source.image_shape, source.class_names, device)
        self.training = make_training(config, model, batches, source.num_classes, device, teacher=self.teacher)
        self.steps = 1
        self.seconds: dict[str, float] = {}
        self.memory_bytes: int | None = None
        self.training_flops = 0
        self._image_shape = source.image_shape
        self._stream = batches.endless()
        self._inputs = {
            kind: _random_images(source, size, device, batches)
            for kind, size in (LATENCY_BATCHES | {EVALUATION: 2 * batch_size}).items()
        }

    def try_out(self) -> None:
        """Runs everything once, which compiles what is to be compiled, and chooses how many steps to time as one.

        Raises:
            RuntimeError: the policy does not work here, or there is no memory for the batch.
        """
        self._count_flops()
        beyond = memory_of(self.train, self.device.torch_device)
        self.steps = max(round(TRAINING_SECONDS / seconds_of(self.train)), 1)
        self.memory_bytes = None if beyond is None else beyond + self._held_bytes()
        self.prepare_inference()
        for kind in self._inputs:
            self.forward(kind)
            self.seconds[kind] = seconds_of(partial(self.forward, kind))

    def train(self) -> None:
        """So many steps as take a time that a clock can tell."""
        self.device.activate()
        self.training.model.train()
        for _ in range(self.steps):
            train_step(self.training, *next(self._stream))
        self.device.synchronize()

    def prepare_inference(self) -> None:
        """Makes the network as trained so far ready for `forward`, as a run does to evaluate."""
        self._ready = self.device.compiled(prepared(self.training.model, self.device, self._image_shape))

    @torch.inference_mode()
    def forward(self, kind: str) -> None:
        """One pass over normalised images."""
        self.device.activate()
        with self.device.autocast():
            self._ready(self._inputs[kind])
        self.device.synchronize()

    def _count_flops(self) -> None:
        """Trains a step and adds up what its forward passes, two under sam, take with their backward passes."""
        forward, shapes = self.training.forward, []

        def look(images: Tensor) -> Tensor:
            shapes.append((images.shape[1], images.shape[2], images.shape[3]))
            return forward(images)

        self.training.forward = look
        self.train()
        self.training.forward = forward
        self.training_flops = sum(training_flops(self.training.model, shape) for shape in shapes)
        if self.teacher is not None:  # which is asked once, of the same images
            self.training_flops += 2 * walk(self.teacher.model, shapes[0]).macs

    def _held_bytes(self) -> int:
        model = self.training.model
        gradients = [parameter.grad for parameter in model.parameters()]
        leaves = tree_leaves([list(model.parameters()), list(model.buffers()), gradients])
        leaves += tree_leaves(list(self.training.optimizer.state.values()))
        leaves += list(self.teacher.model.state_dict().values()) if self.teacher else []
        return sum(leaf.numel() * leaf.element_size() for leaf in leaves if isinstance(leaf, Tensor))


def training_flops(model: nn.Module, image_shape: ImageShape) -> int:
    """Those of one image, forward and backward.

    The gradient of a layer's weights costs what the layer does forward, where they are trained; so does that of what
    comes into it, where something before it is trained.
    """
    description = walk(model, image_shape)
    macs, is_trained = 3 * description.macs, False
    for name, layer in {layer.name: layer for layer in description.layers}.items():
        module = model.get_submodule(name)
        trained = [parameter for parameter in module.parameters(recurse=False) if parameter.requires_grad]
        if not any(module.children()):  # else its products are those of the layers within it
            macs -= layer.macs * (2 - any(parameter.ndim >= 2 for parameter in trained) - is_trained)
        is_trained = is_trained or bool(trained)
    return 2 * macs


def random_splits(source: Source, count: int) -> Splits:
    """`count` training images of noise in the shape and the classes of the source, and none to validate or test."""
    channels = source.image_shape[0]
    random = generator(0, "bench")
    images = torch.randint(256, (count, *source.image_shape), dtype=torch.uint8, generator=random)
    labels = torch.arange(count) % source.num_classes
    return Splits(
        train=ResidentImages(images, labels),
        val=ResidentImages(images[:0], labels[:0]),
        read_test=lambda: None,
        image_shape=source.image_shape,
        class_names=source.class_names,
        mean=torch.full((channels,), 0.5),
        std=torch.full((channels,), 0.25),
        content={},
    )


def _random_images(source: Source, count: int, device: Device, batches: TrainBatches) -> Tensor:
    images = torch.randint(256, (count, *source.image_shape), dtype=torch.uint8)
    return batches.normalize(images.to(device.torch_device))
