"""A run's model to a file: made, reopened, compared with the run, and only then written."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cnnbench import __version__
from cnnbench.analysis.wording import plural
from cnnbench.console import note, visible
from cnnbench.data import Splits
from cnnbench.device import out_of_memory_named
from cnnbench.disk import write_atomically
from cnnbench.errors import ConfigError
from cnnbench.extras import imported
from cnnbench.models.graphs import is_quantized
from cnnbench.progress import waiting
from cnnbench.runs.identity import weights_sha256
from cnnbench.runs.read import read_summary
from cnnbench.trained.export.check import Answer, compare, refuse_lost_answers, refuse_other_answers
from cnnbench.trained.export.images import calibrating_images, compared_images, in_batches, read_images
from cnnbench.trained.export.int8 import to_int8
from cnnbench.trained.export.network import as_exported, as_trained, plain_device
from cnnbench.trained.export.onnx import open_onnx, packed, to_onnx
from cnnbench.trained.export.safetensors import refuse_other_weights, to_safetensors
from cnnbench.trained.export.torch_export import open_torch_export, to_torch_export
from cnnbench.trained.load import TrainedModel, load_trained

PACKAGES = {"onnx": ("onnx", "onnxscript", "onnxruntime"), "torch_export": (), "safetensors": ("safetensors",)}
"""What each format needs, by the names in EXTRAS."""


def export_run(run: Path, file: Path, form: str, *, int8: bool) -> dict[str, Any]:
    """Writes the run's model to `file` in the format `form`, a key of PACKAGES; gives back what was compared.

    Raises:
        UnavailableError: a package is missing, or torch cannot translate the network.
        ConfigError: `int8` of a run that is int8 already.
        DataError: what was reopened does not give the run's answers, or the images to ask it about are not there.
        DiskError: the file cannot be written. In all cases it is then as it was.
    """
    for package in PACKAGES[form]:
        imported(package, f"export --format {form}")
    trained, summary = load_trained(run), read_summary(run)
    if int8 and is_quantized(trained.model):
        parent = summary.get("parent") or {}
        raise ConfigError(f"--int8: {run} is in int8 already; export its parent, {parent.get('path')}, or leave it out")
    facts = describe(trained, summary)
    if form == "safetensors":
        content = to_safetensors(trained, facts)
        found: dict[str, Any] = {"tensors": refuse_other_weights(content, trained)}
    else:
        plain_device(trained).activate()
        with waiting("reading the images of the run"):
            splits = read_images(run, trained, summary)
        with out_of_memory_named(trained.config.batch_size):
            content = _graph(trained, splits, form, facts, int8=int8)
            found = _compared(trained, splits, content, form, int8=int8)
        if trained.config.test_time_augmentation != "none":
            views = trained.config.test_time_augmentation
            note(f"test_time_augmentation={views}: the file answers for the image as it is, without the other views")
    write_atomically(file, content)
    document = {"run": str(run), "file": str(file), "format": form, "bytes": len(content)}
    document["int8"] = int8 or is_quantized(trained.model)
    return document | found | {"weights_sha256": facts["weights_sha256"]}


def describe(trained: TrainedModel, summary: Mapping[str, Any]) -> dict[str, str]:
    """What an exported file says of itself; what is no text is JSON."""
    facts = {
        "class_names": json.dumps(trained.class_names),
        "image_shape": json.dumps(trained.image_shape),
        "run_id": visible(str(summary.get("run_id"))),
        "weights_sha256": weights_sha256(trained.model.state_dict()),
        "cnnbench_version": __version__,
    }
    return facts | ({"grey_range": json.dumps(trained.grey_range)} if "grey_range" in trained.config.data else {})


def _graph(trained: TrainedModel, splits: Splits, form: str, facts: Mapping[str, str], *, int8: bool) -> bytes:
    network = as_exported(trained)
    with waiting("exporting"):
        if form == "torch_export":
            return to_torch_export(network, trained.image_shape, facts)
        model = to_onnx(network, trained.image_shape)
    if int8:
        with waiting("calibrating"):
            model = to_int8(model, calibrating_images(splits, trained))
    return packed(model, facts)


def _compared(trained: TrainedModel, splits: Splits, content: bytes, form: str, *, int8: bool) -> dict[str, Any]:
    """How the file's answers to validation images, or to training images where there are none, differ from the run's.

    Raises:
        DataError: by more than they may.
    """
    part, images = compared_images(splits)
    answer = _opened(form)(content, trained.device.threads)
    with waiting(f"comparing on {plural(len(images), 'image')}", len(images)) as wait:
        found = compare(as_trained(trained), answer, in_batches(images), wait)
    if int8:
        refuse_lost_answers(found, "leave out --int8")
    elif is_quantized(trained.model):
        refuse_lost_answers(found, "export its parent")
    else:
        refuse_other_answers(found)
    return {"split": part} | asdict(found)


def _opened(form: str) -> Callable[[bytes, int], Answer]:
    return open_onnx if form == "onnx" else open_torch_export
