"""What each layer of a run's network costs in accuracy when it alone loses filters, or goes to int8.

On the validation images, in fp32 whatever the run is computed in, and without any training: how much a layer can bear,
not what a compression will cost in the end. The test images stay unread.
"""

import copy
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from cnnbench.assemble import evaluation_batches, make_batches
from cnnbench.compression.parents import Parent
from cnnbench.compression.run import examples_of
from cnnbench.config.run_config import Views
from cnnbench.data import ImageSet, ImageShape, Splits
from cnnbench.data.batches import EvaluationBatches
from cnnbench.data.find import find_data, read_splits
from cnnbench.data.splits import stratified_order
from cnnbench.device import Device, make_device, out_of_memory_named
from cnnbench.errors import ConfigError, DataError
from cnnbench.inference import evaluate, prepared
from cnnbench.models.describe import walk
from cnnbench.progress import Wait, waiting
from cnnbench.seeds import generator
from cnnbench.techniques.compression.compression import NO_TRAINING, Examples
from cnnbench.techniques.compression.filters import RemoveFilters, Score
from cnnbench.techniques.compression.one_layer import input_ranges, round_layers
from cnnbench.techniques.filter_groups import removable_filters, remove

SCORE: Score = "l2"
AMOUNTS = {"0.25": 0.25, "0.5": 0.5, "0.75": 0.75}
"""By the name of a column the share of the filters that is removed."""
INT8 = "int8"
COLUMNS = (*AMOUNTS, INT8)
CALIBRATION_IMAGES = 512
MOST_IMAGES = 10_000  # of more, a part with the classes in the same proportions


@dataclass(frozen=True)
class Part:
    """Layers that can only be cut together, or one that cannot be.

    Attributes:
        layers: their names, in the order of the network.
        filters: how many each has; None where none can be removed.
        uncut: why none can be.
        parameters: the share of those of the network; `macs` likewise.
    """

    layers: tuple[str, ...]
    filters: int | None
    uncut: str | None
    parameters: float
    macs: float

    @property
    def name(self) -> str:
        """The first layer, and how many go with it."""
        first, *others = self.layers
        return f"{first} +{len(others)}" if others else first


@dataclass(frozen=True)
class Sensitivity:
    """What was measured of a run.

    Attributes:
        images: the validation images it was measured on, of `val_images`.
        accuracy: of the network as it is.
        parts: in the order of the network.
        accuracies: by column those with each part changed alone, None where it cannot be.
        together: those with every part changed at once.
    """

    path: Path
    seed: int
    images: int
    val_images: int
    accuracy: float
    parts: tuple[Part, ...]
    accuracies: dict[str, list[float | None]]
    together: dict[str, float | None]


@dataclass(frozen=True)
class Judge:
    """Says how many of the validation images a network gets right; each answer moves the bar of `wait`."""

    batches: EvaluationBatches
    device: Device
    views: Views
    wait: Wait

    def accuracy(self, model: nn.Module) -> float:
        """Of the network in eval mode, which is left as it is."""
        found = evaluate(model, self.batches, self.device, self.views, what="validating")
        assert found is not None
        self.wait.advance()
        return found.accuracy


def sensitivity_of(parent: Parent, what: str) -> Sensitivity:
    """Measures a run, with a bar that begins with `what`.

    Raises:
        ConfigError: it has no validation images, or torch-pruning does not follow its network.
        DataError: its images are not there any more, or others.
    """
    trained, config = parent.trained, parent.trained.config
    device, network = in_float(trained.device), trained.model
    device.activate()
    with waiting("reading images"):
        splits = read_splits(find_data(config.data), config.data, config.seed)
    images = validation_images(parent, splits)
    parts = parts_of(network, trained.image_shape)
    passes = 2 + len(parts) + len(AMOUNTS) * (1 + sum(part.filters is not None for part in parts))
    with out_of_memory_named(config.batch_size), waiting(what, passes) as wait:
        batches = evaluation_batches(images, config, trained.normalize, device)
        examples = examples_of(make_batches(config, splits, device), CALIBRATION_IMAGES)
        judge = Judge(batches, device, config.test_time_augmentation, wait)
        accuracy = judge.accuracy(network)
        found = {
            column: accuracies_without(network, parts, trained.image_shape, amount, judge)
            for column, amount in AMOUNTS.items()
        }
        found[INT8] = accuracies_in_int8(prepared(network, device, trained.image_shape), parts, examples, judge)
    return Sensitivity(
        path=parent.path,
        seed=config.seed,
        images=len(images),
        val_images=len(splits.val),
        accuracy=accuracy,
        parts=parts,
        accuracies={column: values[:-1] for column, values in found.items()},
        together={column: values[-1] for column, values in found.items()},
    )


def in_float(device: Device) -> Device:
    """The same device, computing in fp32."""
    return make_device(device.torch_device.type, "fp32", device.memory_format, False, device.threads)


def validation_images(parent: Parent, splits: Splits) -> ImageSet:
    """Those of the run, or of very many as many as will do.

    Raises:
        ConfigError: it has none.
        DataError: they, or those it was trained on, are not the run's any more.
    """
    if not len(splits.val):
        raise ConfigError(
            f"{parent.path}: has no validation images, on which the layers are judged; train it with data.val_fraction"
        )
    known = parent.summary.get("data_fingerprints") or {}
    changed = [part for part, content in splits.content.items() if known.get(part) not in (None, content.fingerprint)]
    if changed:
        raise DataError(f"{parent.path}: its {' and '.join(changed)} images have changed since; put those back")
    if len(splits.val) <= MOST_IMAGES:
        return splits.val
    chosen = stratified_order(splits.val.labels, generator(0, "sensitivity"))[:MOST_IMAGES]
    return splits.val.subset(chosen.sort().values)


def parts_of(network: nn.Module, image_shape: ImageShape) -> tuple[Part, ...]:
    """What can be cut alone, and each layer that cannot be cut, in the order in which an image meets them.

    Raises:
        ConfigError: torch-pruning does not follow its forward pass.
    """
    description = walk(network, image_shape)
    layers = {layer.name: layer for layer in description.layers}
    order = {name: place for place, name in enumerate(layers)}
    found, uncut = removable_filters(network, black_image(network, image_shape))
    members: list[tuple[Sequence[str], int | None, str | None]] = [(each.members, each.count, None) for each in found]
    members += [((name,), None, why) for name, _, why in (line.partition(" ") for line in uncut) if name in order]
    parts = []
    for names, filters, why in members:
        own = [layers[name] for name in sorted(names, key=order.__getitem__)]
        parameters = sum(layer.parameters for layer in own) / description.parameters
        macs = sum(layer.macs for layer in own) / description.macs
        parts.append(Part(tuple(layer.name for layer in own), filters, why, parameters, macs))
    return tuple(sorted(parts, key=lambda part: order[part.layers[0]]))


def accuracies_without(
    network: nn.Module, parts: Sequence[Part], image_shape: ImageShape, amount: float, judge: Judge
) -> list[float | None]:
    """Those without this share of the filters of each part alone, then of all at once; None where none can go."""

    def accuracy(layers: Collection[str]) -> float | None:
        return judge.accuracy(without_filters(network, layers, image_shape, amount)) if layers else None

    chosen = [part.layers if part.filters is not None else () for part in parts]
    return [*map(accuracy, chosen), accuracy([name for names in chosen for name in names])]


def without_filters(network: nn.Module, layers: Collection[str], image_shape: ImageShape, amount: float) -> nn.Module:
    """A copy without the share `amount` of the filters of each of these layers, those of the lowest score."""
    smaller = copy.deepcopy(network)
    image = black_image(network, image_shape)
    found = [each for each in removable_filters(smaller, image)[0] if each.name in layers]
    removing = RemoveFilters(SCORE, "layer", amount, round_to=1, steps=1, fine_tuning=NO_TRAINING)
    remove(smaller, image, found, removing.kept(smaller, found))
    return smaller


def black_image(network: nn.Module, image_shape: ImageShape) -> Tensor:
    """A batch of one, on the network's device."""
    return torch.zeros(1, *image_shape, device=next(network.parameters()).device)


def accuracies_in_int8(
    folded: nn.Module, parts: Sequence[Part], examples: Examples, judge: Judge
) -> list[float | None]:
    """Those with the layers of each part alone in eight bits, then with all at once."""
    ranges = input_ranges(folded, examples)
    every = [name for part in parts for name in part.layers]
    found: list[float | None] = []
    for names in (*(part.layers for part in parts), every):
        model = copy.deepcopy(folded)
        round_layers(model, names, ranges)
        found.append(judge.accuracy(model))
    return found
