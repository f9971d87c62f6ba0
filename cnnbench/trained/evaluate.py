"""A run's model on its test split, or on another data set of the same shape."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cnnbench.assemble import evaluation_batches
from cnnbench.config.compose import compose
from cnnbench.data import ImageSet, Source
from cnnbench.data.find import find_data, read_splits, source_settings
from cnnbench.data.images import spell_shape
from cnnbench.device import out_of_memory_named
from cnnbench.errors import ConfigError, DataError
from cnnbench.loop import Evaluation
from cnnbench.loop import evaluate as evaluate_model
from cnnbench.runs.folder import RunFolder
from cnnbench.trained.load import TrainedModel, load_trained


def evaluate_run(run: Path, overrides: Sequence[str], split: str) -> dict[str, Any]:
    """Loss and accuracies of the run's model on `split` of its data, or of the data that `overrides` choose.

    Raises:
        ConfigError: an override is not about data.
        DataError: the other data has another shape or other classes, or has no such split.
    """
    trained = load_trained(run)
    node = _other_data(overrides, trained) if overrides else trained.config.data
    source = find_data(node)
    _refuse_other_shape(trained, source)
    own = source_settings(node) == source_settings(trained.config.data)
    with out_of_memory_named(trained.config.batch_size):
        reads = _count_read(run) if split == "test" and own else None
        evaluation = _evaluate(trained, source, node, split)
    document: dict[str, Any] = {"run": str(run), "data": source.name, "split": split, "images": len(evaluation.labels)}
    document |= {name: getattr(evaluation, name) for name in ("loss", "accuracy", "top5_accuracy")}
    return document | ({"test_reads": reads} if reads else {})


def _evaluate(trained: TrainedModel, source: Source, node: dict[str, Any], split: str) -> Evaluation:
    images = _read(source, node, split)
    if not images:
        raise DataError(f"data={source.name}: has no {split} split; choose another with --split")
    batches = evaluation_batches(images, trained.config, trained.normalize, trained.device)
    evaluation = evaluate_model(trained.model, batches, trained.device, trained.config.test_time_augmentation)
    assert evaluation is not None
    return evaluation


def _read(source: Source, node: dict[str, Any], split: str) -> ImageSet | None:
    if split == "val":
        return read_splits(source, node).val
    return source.read("test") if source.has_test else None


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
        if own["name"] == "image_folder" and Path(node["root"] or "").resolve() == Path(own["root"]).resolve():
            node["root"] = own["root"]
            fitting = {key: own[key] for key in fitting}
        given = {text.lstrip("+").partition("=")[0].removeprefix("data.") for text in overrides}
        node |= {key: value for key, value in fitting.items() if key not in given}
    return node


def _refuse_other_shape(trained: TrainedModel, source: Source) -> None:
    ours, theirs = (trained.image_shape, len(trained.class_names)), (source.image_shape, source.num_classes)
    if ours != theirs:
        raise DataError(
            f"data={source.name}: has {spell_shape(theirs[0])} images of {theirs[1]} classes, "
            f"the run was trained on {spell_shape(ours[0])} and {ours[1]} classes"
        )


def _count_read(run: Path) -> int:
    with RunFolder(run, resume=True) as folder:
        reads = folder.summary["test_reads"] + 1
        folder.update_summary(test_reads=reads)
        folder.log(f"test split read ({reads}) by evaluate")
    return reads
