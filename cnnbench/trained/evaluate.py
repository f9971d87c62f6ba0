"""A run's model on its test split, or on another data set of the same shape."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from cnnbench.assemble import evaluation_batches
from cnnbench.config.compose import compose
from cnnbench.config.mistakes import suggest
from cnnbench.data import ImageSet, Source
from cnnbench.data.find import SPLITTING, find_data, read_splits, same_source
from cnnbench.data.images import content_of, spell_shape
from cnnbench.device import out_of_memory_named
from cnnbench.errors import ConfigError, DataError
from cnnbench.inference import Evaluation
from cnnbench.inference import evaluate as evaluate_model
from cnnbench.runs.folder import RunFolder
from cnnbench.runs.read import read_summary
from cnnbench.trained.load import TrainedModel, load_trained


def evaluate_run(run: Path, overrides: Sequence[str], split: str) -> dict[str, Any]:
    """Loss and accuracies of the run's model on `split` of its data, or of the data that `overrides` choose.

    Whether these are the run's own test images is told by their content; if so, the read is counted.

    Raises:
        ConfigError: an override is not about data.
        DataError: the other data has another shape or other classes, or has no such split; or the run's own data have
            changed.
    """
    refuse_idle(overrides, split)
    trained = load_trained(run)
    node = _other_data(overrides, trained) if overrides else trained.config.data
    source = find_data(node)
    label_of = _labels_of_classes(source, trained)
    with out_of_memory_named(trained.config.batch_size):
        images = _read(source, node, split, trained.config.seed)
        images = images.relabelled(label_of[images.labels])
        fingerprint = content_of(images, trained.class_names).fingerprint
        known = read_summary(run).get("data_fingerprints") or {}
        if not overrides and known.get(split) not in (None, fingerprint):
            raise DataError(
                f"{source.origin}: its {split} images are not those of the run any more; "
                f"put those back, or evaluate these as other data with data={source.name}"
            )
        is_own_test = fingerprint == known.get("test") or (
            split == "test" and not known.get("test") and same_source(node, trained.config.data)
        )
        reads = _count_read(run, fingerprint) if is_own_test else None
        evaluation = _evaluate(trained, images)
    document: dict[str, Any] = {"run": str(run), "data": source.name, "split": split, "images": len(evaluation.labels)}
    document |= {name: getattr(evaluation, name) for name in ("loss", "accuracy", "top5_accuracy")}
    return document | ({"test_reads": reads} if reads else {})


def refuse_idle(overrides: Sequence[str], split: str) -> None:
    """Refuses, before a test read is spent, what says how training images are divided: that changes no test image.

    Raises:
        ConfigError: with one line for each such override.
    """
    divides = [text for text in overrides if text.lstrip("+").partition("=")[0].removeprefix("data.") in SPLITTING]
    if split == "test" and divides:
        why = "changes nothing about the test images; leave it out, or give --split val"
        raise ConfigError(*(f"{text}: {why}" for text in divides))


def _evaluate(trained: TrainedModel, images: ImageSet) -> Evaluation:
    batches = evaluation_batches(images, trained.config, trained.normalize, trained.device)
    evaluation = evaluate_model(trained.model, batches, trained.device, trained.config.test_time_augmentation)
    assert evaluation is not None
    return evaluation


def _read(source: Source, node: dict[str, Any], split: str, seed: int) -> ImageSet:
    if split == "val":
        images: ImageSet | None = read_splits(source, node, seed).val
    else:
        images = source.read("test") if source.has_test else None
    if not images:
        raise DataError(f"data={source.name}: has no {split} split; choose another with --split")
    return images


def _labels_of_classes(source: Source, trained: TrainedModel) -> torch.Tensor:
    """The run's label of each class of the source, which are the same by name: int64 (K,).

    Raises:
        DataError: its images have another shape than the run's, or it has a class that the run does not know.
    """
    ours, theirs = trained.image_shape, source.image_shape
    if ours != theirs:
        sides = f"has {spell_shape(theirs)} images, the run was trained on {spell_shape(ours)}"
        raise DataError(f"data={source.name}: {sides}; give images of that shape")
    unknown = [name for name in source.class_names if name not in trained.class_names]
    if unknown:
        near = suggest(unknown[0], trained.class_names)
        raise DataError(f"data={source.name}: the run does not know its class {unknown[0]!r}{near}")
    return torch.tensor([trained.class_names.index(name) for name in source.class_names])


def _other_data(overrides: Sequence[str], trained: TrainedModel) -> dict[str, Any]:
    """The node that the overrides compose. A folder of images is taken whole where it has no test folder, and its
    images as the run takes them, unless the overrides say otherwise; the run's own folder is split as it was."""
    foreign = [text for text in overrides if not text.lstrip("+").startswith(("data=", "data."))]
    if foreign:
        raise ConfigError(*(f"{text}: evaluate takes data=... and data.KEY=... only" for text in foreign))
    node = compose(overrides).data
    if node["name"] == "image_folder":
        own = trained.config.data
        channels, *size = trained.image_shape
        fitting = {"test_fraction": 1.0, "image_size": size, "channels": channels}
        fitting["grey_range"] = list(trained.grey_range)
        if own["name"] == "image_folder" and Path(node["root"] or "").resolve() == Path(own["root"]).resolve():
            node["root"] = own["root"]
            fitting = {key: own[key] for key in (*fitting, "train", "val", "test")}
        given = {text.lstrip("+").partition("=")[0].removeprefix("data.") for text in overrides}
        node |= {key: value for key, value in fitting.items() if key not in given}
    return node


def _count_read(run: Path, fingerprint: str) -> int:
    with RunFolder(run, resume=True) as folder:
        return folder.count_test_read(fingerprint, "evaluate")
