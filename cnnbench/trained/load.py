"""The model of a finished run, ready to evaluate and predict with."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cnnbench.assemble import compressed_device, make_model, recorded_device
from cnnbench.config.run_config import RunConfig, is_reshaped
from cnnbench.data.batches import Normalize
from cnnbench.data.decode import FULL_RANGE, GreyRange
from cnnbench.device import Device
from cnnbench.errors import CheckpointError, CnnbenchError
from cnnbench.given import with_given_model
from cnnbench.inference import logits_over_views, prepared
from cnnbench.models.fold import cast, fold_like
from cnnbench.models.graphs import GraphNet, refuse_unfit
from cnnbench.models.layer_sizes import resize
from cnnbench.runs.alike import refuse_unlike
from cnnbench.runs.checkpoint import load_checkpoint, load_weights
from cnnbench.runs.format import CHECKPOINTS, MODEL
from cnnbench.runs.model_files import read_description, read_weights
from cnnbench.runs.read import load_config, read_summary
from cnnbench.trained.predict import images_of, predict_images, refuse_unreadable
from cnnbench.training_state import evaluation_facts, evaluation_weights

LARGE_IMAGE = 2**20  # values: what takes so many is built without memory first, which costs the import of torch's rules


@dataclass(frozen=True)
class TrainedModel:
    """A run's selected weights with all that is needed to feed them images.

    `model` is the network as it was trained, in eval mode on the run's device.
    """

    config: RunConfig
    model: nn.Module
    device: Device
    normalize: Normalize
    image_shape: tuple[int, int, int]
    class_names: tuple[str, ...]

    @property
    def grey_range(self) -> GreyRange:
        """What `decode_image` is to make of 16-bit images, as it did in the training."""
        low, high = self.config.data.get("grey_range", FULL_RANGE)
        return low, high

    @cached_property
    def ready(self) -> nn.Module:
        """A copy of the model that gives the same answers from less work."""
        return prepared(self.model, self.device, self.image_shape)

    @torch.inference_mode()
    def logits(self, images: Tensor) -> Tensor:
        """images: (N, C, H, W) uint8 on any device; gives back (N, K) float32."""
        normalized = self.normalize(images.to(self.device.torch_device))
        with self.device.autocast():
            return logits_over_views(self.ready, normalized, self.config.test_time_augmentation).float()

    def predict(self, images: str | Path | Sequence[str | Path]) -> Any:
        """For an image file `image`, `class` and `probabilities` by class name; for several a list of these.

        A folder stands for the images in it and below.

        Raises:
            DataError: with one line for every file that is not an image.
        """
        single = isinstance(images, str | Path) and not Path(images).is_dir()
        paths, _ = images_of([Path(images)] if isinstance(images, str | Path) else [Path(path) for path in images])
        predictions = list(predict_images(self, paths))
        refuse_unreadable(predictions)
        return predictions[0] if single else predictions


def load_trained(run: str | Path, model: nn.Module | None = None, *, device: Device | None = None) -> TrainedModel:
    """The model that `train` tested: of the best epoch, or the last one where the config says `select: last`.

    A run whose network was given from Python takes the weights into `model`, one of the same architecture. `device`
    takes the place of the run's own.

    Raises:
        DataError: `run` is no run folder.
        ConfigError: its network was given from Python, and is not given here.
        CheckpointError: no checkpoint of it can be loaded, or `model` is another network.
    """
    run = Path(run)
    config, summary = load_config(run), read_summary(run)
    saved = saved_network(run, config, summary)
    facts, folder = saved.facts, saved.path
    channels, height, width = facts["image_shape"]
    class_names = tuple(facts["class_names"])
    mean, std = torch.tensor(facts["mean"]), torch.tensor(facts["std"])
    device = device or compressed_device(config, recorded_device(config, summary))
    device.activate()
    image_shape = (channels, height, width)
    if model is not None and with_given_model(config, model).model != config.model:
        raise CheckpointError(f"{run}: was trained with another network ({config.model}); give that one as model=")
    if model is None and saved.nodes is None:
        if math.prod(image_shape) > LARGE_IMAGE:
            refuse_giants(config, image_shape, len(class_names), saved)
        model = make_model(config, image_shape, len(class_names))
    model = network_as_saved(model, saved)
    if not isinstance(model, GraphNet):  # which is built of its tensors
        load_weights(model, saved.weights, folder)
    model = device.place(model.eval())
    return TrainedModel(config, model, device, Normalize(mean, std, device), image_shape, class_names)


@dataclass(frozen=True)
class SavedNetwork:
    """What a run has saved of its network.

    Attributes:
        path: where.
        facts: of the images it takes, as `evaluation_facts` gives them.
        weights: its tensors by name; not yet compared with anything.
        sizes: those of its layers, where filters may be missing.
        nodes: its operations, where no class of ours builds it.
    """

    path: Path
    facts: dict[str, Any]
    weights: Any
    sizes: Any = None
    nodes: Any = None


def saved_network(run: Path, config: RunConfig, summary: Mapping[str, Any]) -> SavedNetwork:
    """The network that `train` tested, or `compress`.

    Raises:
        CheckpointError: it cannot be loaded.
    """
    if is_reshaped(config):
        description = read_description(run, summary)
        facts = evaluation_facts(description, run / MODEL)
        parts = {"sizes": description.get("layers"), "nodes": description.get("nodes")}
        return SavedNetwork(run / MODEL, facts, read_weights(run, summary), **parts)
    folder = run / CHECKPOINTS
    state = load_checkpoint(folder, best=config.select == "best")
    return SavedNetwork(folder, evaluation_facts(state, folder), evaluation_weights(state, folder))


def network_as_saved(model: nn.Module | None, saved: SavedNetwork) -> nn.Module:
    """A network as the config builds it made into what was saved, in place; its weights are still others.

    Raises:
        CheckpointError: it cannot be made of it.
    """
    try:
        if model is None:
            network = GraphNet(saved.nodes if isinstance(saved.nodes, list) else [], saved.weights)
            refuse_unlike(saved.weights, network.tensors(), "", saved.path)
            refuse_unfit(network, saved.facts["image_shape"], len(saved.facts["class_names"]))
            return network
        if saved.sizes is not None:
            resize(model, saved.sizes)
            if any(tensor.dtype == torch.bfloat16 for tensor in saved.weights.values()):
                fold_like(model.eval(), saved.weights)
                cast(model, torch.bfloat16)
    except (ValueError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f"{saved.path}: is not a network of this config ({error}); compress its parent again"
        ) from None
    return model


def refuse_giants(config: RunConfig, image_shape: tuple[int, int, int], num_classes: int, saved: SavedNetwork) -> None:
    """Compares the weights with a model that takes no memory: the image shape in a checkpoint can ask for terabytes.

    Raises:
        CheckpointError: they are not those of the model.
    """
    try:
        with torch.device("meta"):
            model = make_model(config, image_shape, num_classes)
    except CnnbenchError:
        raise
    except Exception:  # a model from elsewhere may need numbers to build itself; it is built at once
        return
    model = network_as_saved(model, saved)
    refuse_unlike(saved.weights, dict(model.state_dict()), "", saved.path)
