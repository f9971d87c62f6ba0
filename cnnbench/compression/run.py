"""One compression: from a finished run to a run folder of its own, of a network that is smaller or faster."""

import copy
import time
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cnnbench import __version__
from cnnbench.assemble import compressed_device, evaluation_batches, make_batches, make_compression, make_training
from cnnbench.compression.clock import clocked
from cnnbench.compression.distill import distill_run, resume_student, time_student
from cnnbench.compression.parents import Parent, load_parent
from cnnbench.compression.recipe import fine_tuning_config
from cnnbench.compression.screen import show_outcome
from cnnbench.config.run_config import RunConfig, technique_of, with_compression
from cnnbench.config.sweep_settings import DISTILL
from cnnbench.console import copied_to, muted, note, say, say_exactly
from cnnbench.data import Source, Splits
from cnnbench.data.batches import Normalize, TrainBatches
from cnnbench.data.find import find_data, read_before_training
from cnnbench.data.from_python import GivenData, read_given
from cnnbench.device import Device, describe_processor, out_of_memory_named
from cnnbench.disk import require_room
from cnnbench.errors import DataError
from cnnbench.experiment import compare_with_training_images, environment, read_test_once, refuse_changed_data
from cnnbench.inference import evaluate
from cnnbench.machine import load_per_processor
from cnnbench.models.describe import walk
from cnnbench.models.graphs import GraphNet
from cnnbench.models.layer_sizes import layer_sizes, resize
from cnnbench.progress import waiting
from cnnbench.recorder import Recorder
from cnnbench.results import describe_model, describe_training, reset_peak_memory
from cnnbench.runs.checkpoint import read_manifest
from cnnbench.runs.folder import RunFolder
from cnnbench.runs.format import CHECKPOINTS, WEIGHTS
from cnnbench.runs.identity import weights_sha256
from cnnbench.runs.model_files import read_description, write_model
from cnnbench.runs.read import load_config, read_summary
from cnnbench.runs.teacher import refuse_other_teacher, teacher_facts
from cnnbench.saving import bytes_needed
from cnnbench.seeds import derive_seed
from cnnbench.speed.compiler import require_compiler
from cnnbench.speed.latency import measure_latency
from cnnbench.teacher import Teacher
from cnnbench.techniques.compression.compression import Compression, Examples
from cnnbench.trackers.trackers import Trackers
from cnnbench.trained.load import load_trained
from cnnbench.trained.teacher import load_teacher
from cnnbench.training_state import data_facts

CALIBRATION_BATCH = 64


@dataclass(frozen=True)
class Job:
    """What is done to which run, with everything looked at that can be wrong with it.

    Attributes:
        config: of the compressed run: its parent's, and what is done to that.
        recipe: the config of the fine-tuning.
        teacher: of the fine-tuning, where the loss names one.
        device: of the result, and of the training.
        source: the data set of the parent.
    """

    parent: Parent
    config: RunConfig
    technique: str
    compression: Compression
    recipe: RunConfig
    teacher: Teacher | None
    device: Device
    source: Source


def compress_run(
    parent: Path,
    node: Mapping[str, Any],
    path: Path,
    *,
    model: nn.Module | None = None,
    dataset: GivenData | None = None,
    quiet: bool = False,
) -> dict[str, Any]:
    """Compresses the finished run in `parent` as `node` says, into the run folder `path`; gives back its summary.

    `node` is what `check_compressing` gives. `model`, which takes the run's weights, and `dataset` are those of a run
    to which they were given from Python. With `quiet`, prints nothing.

    Raises:
        CnnbenchError: what the user can mend.
        Interrupted: by a signal; `resume_compression` goes on.
    """
    with muted() if quiet else nullcontext():
        if node["name"] == DISTILL:
            return distill_run(parent, node, path)
        found = load_parent(parent, model)
        values = {key: value for key, value in node.items() if key != "name"}
        done = with_compression(found.trained.config.compression, node["name"], values)
        config = replace(found.trained.config, compression=done, logging={})
        return work(make_job(found, config, dataset), path, resume=False)


def resume_compression(
    path: Path, *, model: nn.Module | None = None, dataset: GivenData | None = None, quiet: bool = False
) -> dict[str, Any]:
    """Continues the compression in `path` at its last checkpoint; from the start where there is none yet.

    Raises:
        DataError: the run that is compressed is not there any more, or another.
        CnnbenchError: as `compress_run`.
    """
    with muted() if quiet else nullcontext():
        if not load_config(path).compression:
            return resume_student(path)
        return work(job_of(path, model, dataset), path, resume=True)


def time_again(path: Path, *, quiet: bool = False) -> dict[str, Any]:
    """Times a finished compression once more, beside its parent: on an idle machine, or on another one.

    Raises:
        DataError: it has not finished, or its parent is not there any more, or another.
        CnnbenchError: as `compress_run`.
    """
    with muted() if quiet else nullcontext():
        if not load_config(path).compression:
            return time_student(path)
        trained, job = load_trained(path), job_of(path)
        with RunFolder(path, resume=True) as run:
            found = timed(job, run, trained.model, trained.normalize)
            run.update_summary(**found, processor=describe_processor(job.device.torch_device))
            show_outcome(job.parent.summary, run.summary, job.compression)
            return dict(run.summary)


def job_of(path: Path, model: nn.Module | None = None, dataset: GivenData | None = None) -> Job:
    """The job that the compressed run in `path` is of.

    Raises:
        DataError: the run that is compressed is not there any more, or another.
    """
    config, link = load_config(path), read_summary(path).get("parent")
    if not isinstance(link, Mapping) or not isinstance(link.get("path"), str):
        raise DataError(f"{path}: does not say which run it compresses; give one that `cnnbench compress` made")
    found = load_parent(Path(link["path"]), model)
    if found.summary.get("weights_sha256") != link.get("weights_sha256"):
        raise DataError(f"{link['path']}: is not the run any more that {path} compresses; compress it again")
    return make_job(found, config, dataset)


def make_job(parent: Parent, config: RunConfig, dataset: GivenData | None) -> Job:
    """The job of compressing `parent` into a run of this config.

    Raises:
        ConfigError: the run's recipe does not fit into the epochs of fine-tuning.
        DataError: the run's data, or the teacher that its loss names, is not there any more.
        UnavailableError: a package, a compiler or an instruction set is missing.
    """
    name, values = list(config.compression.items())[-1]
    technique = technique_of(name)
    compression = make_compression({"name": technique, **values})
    device = compressed_device(config, parent.trained.device)
    if compression.is_compiled:
        require_compiler(f"compression={technique}")
    compression.require(device.torch_device.type)
    tuning = compression.fine_tuning
    recipe, teacher = config, None
    if tuning.epochs:
        recipe = fine_tuning_config(config, tuning, is_graph=compression.trains_a_graph)
        for name in config.regularization.keys() - recipe.regularization.keys():
            note(f"regularization.{name}: looks at layers, and compression={technique} trains a graph; left out")
        teacher = load_teacher(recipe, parent.trained.image_shape, parent.trained.class_names, device)
    if teacher is not None:
        refuse_other_teacher(parent.summary, teacher_facts(recipe.loss))
    source = find_data(config.data) if dataset is None else read_given(dataset)
    return Job(parent, config, technique, compression, recipe, teacher, device, source)


def work(job: Job, path: Path, *, resume: bool) -> dict[str, Any]:
    """Compresses, trains on, tests and times."""
    started, config, device, source = time.monotonic(), job.config, job.device, job.source
    device.activate()
    network = copy.deepcopy(job.parent.trained.model).to(device.torch_device)
    with RunFolder(path, resume=resume) as run, copied_to(run.log), out_of_memory_named(config.batch_size):
        if not resume:
            run.start(config.as_dict(), environment(device), **facts(job))
        require_room(path, bytes_needed(network, source.num_classes, config.checkpoint["keep"]))
        with waiting("reading images"):
            splits = read_before_training(source, config.data, config.seed)
        refuse_changed_data(run, splits)
        reset_peak_memory(device.torch_device)
        batches = make_batches(job.recipe, splits, device)
        examples = examples_of(batches, job.compression.examples_wanted)
        has_begun = resume and bool(read_manifest(path / CHECKPOINTS))
        if has_begun:
            resize(network, read_description(path, run.summary)["layers"])
        else:
            cut(job, run, network, examples)
        sizes, data = layer_sizes(network), data_facts(splits)  # before anything is folded
        write_model(run, {"layers": sizes, "data": data}, None)
        if job.compression.fine_tuning.epochs:
            network = train_on(job, run, network, examples, batches, splits, resume=has_begun, started=started)
        else:
            run.update_summary(epochs=0, steps=0, train_seconds=0.0)
        result = job.compression.finish(network.eval(), examples)
        built = {"nodes": result.nodes} if isinstance(result, GraphNet) else {"layers": sizes}
        write_model(run, built | {"data": data}, tensors_of(result))
        judge(job, run, result, batches, splits)
        done = {"total_seconds": time.monotonic() - started, "files": run.file_hashes()}
        run.update_summary(status="finished", exit_code=0, load_at_end=load_per_processor(), **done)
        summary = dict(run.summary)
        show_outcome(job.parent.summary, summary, job.compression)
    say_exactly(f"run: {path}")
    return summary


def facts(job: Job) -> dict[str, Any]:
    """What the summary holds from the beginning."""
    theirs = job.parent.summary
    return {
        "version": __version__,
        "torch": str(torch.__version__),
        **{key: theirs.get(key) for key in ("model", "data", "target")},
        "image_shape": list(job.source.image_shape),
        "data_fingerprints": theirs.get("data_fingerprints"),
        "parent": job.parent.link,
        "origin": job.parent.origin_link,
        "teacher": theirs.get("teacher"),
        "device": job.device.torch_device.type,
        "processor": describe_processor(job.device.torch_device),
        **job.device.policy(),
        "load_at_start": load_per_processor(),
    }


def examples_of(batches: TrainBatches, count: int) -> Examples:
    """The first training images of the first epoch's order, normalised and not augmented."""
    chosen = batches.order(0)[:count]
    return [(batches.normalize(images), labels) for images, labels in batches.images.batches(chosen, CALIBRATION_BATCH)]


def cut(job: Job, run: RunFolder, network: nn.Module, examples: Examples) -> None:
    """What comes before the training, in place."""
    torch.manual_seed(derive_seed(job.config.seed, "compression"))
    with waiting("removing"):
        untouched = job.compression.cut(network.eval(), examples)
    for line in untouched:
        say(f"left as it is: {line}")
    description = walk(network, job.parent.trained.image_shape)
    run.update_summary(parameters=description.parameters, macs=description.macs)


def tensors_of(network: nn.Module) -> dict[str, Tensor]:
    """The numbers of a network by name, as model.safetensors holds them."""
    return network.tensors() if isinstance(network, GraphNet) else dict(network.state_dict())


def train_on(
    job: Job,
    run: RunFolder,
    network: nn.Module,
    examples: Examples,
    batches: TrainBatches,
    splits: Splits,
    *,
    resume: bool,
    started: float,
) -> nn.Module:
    """Fine-tunes by the run's own recipe; gives back the network of the epoch that the config selects."""
    config, compression = job.recipe, job.compression
    network = compression.for_training(network, examples)
    callbacks = list(compression.callbacks().values())
    training = make_training(
        config, network, batches, splits.num_classes, job.device, callbacks, teacher=job.teacher, is_new=False
    )
    validation = evaluation_batches(splits.val, config, batches.normalize, job.device)
    recorder = Recorder(
        run,
        training,
        batches,
        splits,
        epochs=config.epochs,
        pause_after=None,
        checkpoint=config.checkpoint,
        trackers=Trackers({}, run),
        started=started,
    )
    if resume:
        recorder.resume()
    else:
        recorder.save(is_best=False)
    recorder.train(validation, target=None, views=config.test_time_augmentation)
    run.update_summary(**describe_training(run, training))
    epoch, selected = recorder.load_selected(config.select)
    run.update_summary(selected_epoch=epoch)
    return selected


def judge(job: Job, run: RunFolder, result: nn.Module, batches: TrainBatches, splits: Splits) -> None:
    """How accurate the result is and how fast, with its parent beside it."""
    config, device, normalize = job.config, job.device, batches.normalize
    run.update_summary(weights_sha256=weights_sha256(tensors_of(result)), **describe_model(result))
    if len(splits.val):
        batches_of_val = evaluation_batches(splits.val, config, normalize, device)
        found = evaluate(result, batches_of_val, device, config.test_time_augmentation, what="validating")
        assert found is not None
        run.update_summary(best_val_accuracy=found.accuracy, objective=found.accuracy)
    run.update_summary(**compare_with_training_images(result, splits, config, normalize, device))
    run.update_summary(**timed(job, run, result, normalize))
    run.update_summary(**read_test_once(run, result, splits, config, normalize, device))  # last: it is read once


def timed(job: Job, run: RunFolder, result: nn.Module, normalize: Normalize) -> dict[str, Any]:
    """What the clock says of the result, and how large it is on the disk."""
    found = clocked(job.parent, result, job.compression, normalize, job.device)
    disk, before = (run.path / WEIGHTS).stat().st_size, found["clock"]["disk_bytes"]
    latency_ms = (
        found["clock"]["rows"][-1]["latency_ms"]["1"]["p50"]
        if job.compression.is_compiled
        else measure_latency(result, job.parent.trained.image_shape, normalize, job.device)
    )
    size_ratio = before.get("origin", before["parent"]) / disk
    return {**found, "disk_bytes": disk, "size_ratio": size_ratio, "latency_ms": latency_ms}
