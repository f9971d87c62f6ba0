"""The run that is timed: its network, the images it is asked about, and each way to run it as a contender."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path

import torch
from torch import Tensor, nn

from cnnbench.analysis.wording import listed_all
from cnnbench.console import note
from cnnbench.data import Splits
from cnnbench.errors import DataError
from cnnbench.extras import imported
from cnnbench.inference import prepared
from cnnbench.models.graphs import is_quantized
from cnnbench.progress import waiting
from cnnbench.runs.read import read_summary
from cnnbench.speed.clock import THROUGHPUT, Contender, Forward, as_torch_gives_it, noise, of_network
from cnnbench.speed.compiler import require_compiler
from cnnbench.trained.export.images import calibrating_images, compared_images, read_images
from cnnbench.trained.export.int8 import to_int8
from cnnbench.trained.export.network import as_exported, as_trained, plain_device
from cnnbench.trained.export.onnx import open_onnx, packed, to_onnx
from cnnbench.trained.export.to_file import PACKAGES
from cnnbench.trained.load import TrainedModel, load_trained

EAGER, POLICY, COMPILED, ONNX, ONNX_INT8 = "eager", "policy", "compiled", "onnxruntime", "onnxruntime int8"
WHAT = "bench RUN"


@dataclass(frozen=True)
class Subject:
    """A run to be timed.

    Attributes:
        label: what it is called here.
        images: uint8 (256, C, H, W) on the processor; some twice where there are fewer.
        split: what they are of: val, train or, where the data of the run are not here, null: they are noise.
        splits: the data of the run, where they are here.
    """

    label: str
    trained: TrainedModel
    images: Tensor
    split: str | None
    splits: Splits | None

    @property
    def ways(self) -> tuple[str, ...]:
        """How its network can be run. One in int8 only so: step by step torch imitates its integers."""
        return (COMPILED, ONNX_INT8) if is_quantized(self.trained.model) else (EAGER, POLICY, COMPILED, ONNX, ONNX_INT8)

    def policy(self, way: str) -> dict[str, str | bool | None]:
        """Where, and in which numbers and in which order of them, it computes in this way."""
        device = self.trained.device
        kind, precision, order = device.torch_device.type, str(device.precision), str(device.memory_format)
        if way == EAGER:
            precision, order = "fp32", "contiguous"
        if way in (ONNX, ONNX_INT8):
            kind, precision, order = "cpu", "fp32", "contiguous"
        if way == ONNX_INT8 or is_quantized(self.trained.model):
            precision = "int8"
        return {"device": kind, "precision": precision, "memory_format": order, "compile": way == COMPILED}

    @cached_property
    def graph(self) -> bytes:
        """The network as the content of an ONNX file, from uint8 images on."""
        for package in PACKAGES["onnx"]:
            imported(package, WHAT)
        with waiting(f"exporting {self.label}"):
            return packed(to_onnx(as_exported(self.trained), self.trained.image_shape), {})

    @cached_property
    def logits(self) -> Tensor:
        """What the run's own network gives for the images, in float32 on the processor."""
        plain_device(self.trained).activate()
        with torch.inference_mode():
            logits: Tensor = as_trained(self.trained)(self.images)[0]
        return logits


def open_subjects(runs: Sequence[Path]) -> list[Subject]:
    """The runs, each once, to be computed with the threads of the first.

    Raises:
        CnnbenchError: one cannot be loaded.
    """
    paths = list({run.resolve(): run for run in runs}.values())
    names = [path.resolve().name for path in paths]
    labels = names if len(set(names)) == len(names) else [str(path) for path in paths]
    loaded = [load_trained(path) for path in paths]
    threads = [trained.device.threads for trained in loaded]
    if len(set(threads)) > 1:
        note(f"the runs have {listed_all(threads)} threads; all are timed with {threads[0]}")
    return [
        open_subject(path, label, replace(trained, device=replace(trained.device, threads=threads[0])))
        for path, label, trained in zip(paths, labels, loaded, strict=True)
    ]


def open_subject(run: Path, label: str, trained: TrainedModel) -> Subject:
    """The run with its images, or with noise where they are not on this machine: nothing is downloaded."""
    config, views = trained.config, trained.config.test_time_augmentation
    if views != "none":
        note(f"{label}: test_time_augmentation={views}: timed is one view, the image as it is")
    stays = {"download": False} if "download" in config.data else {}
    trained = replace(trained, config=replace(config, data={**config.data, **stays}))
    try:
        with waiting("reading the images of the run"):
            splits = read_images(run, trained, read_summary(run))
            split, chosen = compared_images(splits)
            order = torch.linspace(0, len(chosen) - 1, THROUGHPUT).round().long()
            ((images, _),) = chosen.batches(order, THROUGHPUT)
    except DataError as error:
        note(f"{error.findings[0]}; timed on noise, and onnxruntime's int8, which needs its ranges, is left out")
        return Subject(label, trained, noise(trained.image_shape), None, None)
    return Subject(label, trained, images.cpu(), split, splits)


def enter(subject: Subject, way: str) -> tuple[Contender, int]:
    """The subject run in this way, and the bytes of its weights or, for onnxruntime, of its file.

    Raises:
        UnavailableError: a package or a compiler is missing, or torch cannot translate the network.
        DataError: there are no images to find the ranges of int8 with.
    """
    name, trained, images = f"{subject.label} {way}", subject.trained, subject.images
    device, normalize = trained.device, trained.normalize
    if way == EAGER:
        network = copy.deepcopy(trained.model).float()
        return as_torch_gives_it(name, network, normalize, device, images), bytes_of(network)
    if way in (POLICY, COMPILED):
        if way == COMPILED and device.torch_device.type == "cpu":
            require_compiler(WHAT)
        size = bytes_of(prepared(trained.model, device, trained.image_shape))
        return of_network(name, trained.model, way, device, normalize, images), size
    content = subject.graph if way == ONNX or is_quantized(trained.model) else in_int8(subject)
    return of_onnx(name, way, subject, content), len(content)


def in_int8(subject: Subject) -> bytes:
    """The content of an ONNX file with weights and activations in 8 bits.

    Raises:
        DataError: the training images are not here.
    """
    graph = subject.graph
    if subject.splits is None:
        raise DataError(f"{ONNX_INT8}: the images of the run are not here; bring them, for the ranges of activations")
    model = imported("onnx", WHAT).load_from_string(graph)
    with waiting(f"calibrating {subject.label}"):
        return packed(to_int8(model, calibrating_images(subject.splits, subject.trained)), {})


def of_onnx(name: str, way: str, subject: Subject, content: bytes) -> Contender:
    """The content of an ONNX file run by onnxruntime on the processor, scaling the pixels included."""
    device = plain_device(subject.trained)

    def start(size: int) -> Forward:
        answer = open_onnx(content, device.threads)
        return partial(lambda images: answer(images)[0], subject.images[:size].contiguous())

    return Contender(name, way, device, start)


def bytes_of(network: nn.Module) -> int:
    """Those of a network's weights and buffers."""
    return sum(tensor.numel() * tensor.element_size() for tensor in network.state_dict().values())
