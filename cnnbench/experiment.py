"""One run: from a checked config to a finished run folder."""

import copy
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from cnnbench import __version__
from cnnbench.assemble import (
    configured_device,
    evaluation_batches,
    make_batches,
    make_training,
    recorded_device,
    refuse_without_validation,
    rehearse,
)
from cnnbench.config.run_config import RunConfig, is_reshaped
from cnnbench.console import copied_to, muted, note, say, say_exactly
from cnnbench.data import Source, Splits
from cnnbench.data.batches import Normalize
from cnnbench.data.find import find_data, read_before_training
from cnnbench.data.from_python import GivenData, read_given
from cnnbench.data.images import content_of
from cnnbench.data.inspect import remarks
from cnnbench.device import Device, describe_processor, out_of_memory_named
from cnnbench.disk import require_room
from cnnbench.errors import DataError
from cnnbench.given import refuse_misfits, refuse_other_parts, with_given
from cnnbench.inference import evaluate
from cnnbench.lengthen import note_added_epochs, schedule_line
from cnnbench.machine import LoadMeter, describe_environment, load_per_processor
from cnnbench.models.describe import Description, walk
from cnnbench.models.layer_sizes import layer_sizes
from cnnbench.progress import waiting
from cnnbench.recorder import Recorder
from cnnbench.results import describe_model, describe_training, reset_peak_memory
from cnnbench.runs.folder import RunFolder
from cnnbench.runs.format import LOG, WEIGHTS
from cnnbench.runs.identity import weights_sha256
from cnnbench.runs.model_files import write_model
from cnnbench.runs.predictions import write_predictions
from cnnbench.runs.read import read_metrics
from cnnbench.runs.teacher import knows_other_images, refuse_other_teacher, teacher_facts
from cnnbench.saving import bytes_needed
from cnnbench.screen import introduce, policy_line, show_results, split_sizes, star_line
from cnnbench.seeds import generator
from cnnbench.speed.advisor import advice_line, advise
from cnnbench.speed.latency import measure_latency
from cnnbench.teacher import Teacher
from cnnbench.techniques.callback import Callback
from cnnbench.techniques.filter_pruning import remove_masked_filters
from cnnbench.trackers.trackers import Trackers
from cnnbench.trained.teacher import load_teacher
from cnnbench.training_state import data_facts

SHOWN_IMAGES = 16  # of the training images, to the trackers


def run_experiment(
    config: RunConfig,
    path: str | Path,
    *,
    model: nn.Module | None = None,
    dataset: GivenData | None = None,
    callbacks: Sequence[Callback] = (),
    source: Source | None = None,
    resume: bool = False,
    test: bool = True,
    pause_after: int | None = None,
    quiet: bool = False,
    made_of: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Trains and tests as `config` says, into the run folder `path`; gives back its summary.

    `model` takes the place of `config.model`: a network of your own, from images (N, C, H, W) to logits (N, K).
    `dataset` takes the place of the images of `config.data`, whose keys still say how they are split; `callbacks` act
    beside those of the config, before them. `source` is the data set of `config.data` where that was found already.
    With `resume`, continues the run that `path` holds at its last checkpoint. One that is finished goes on where
    `config` has more epochs. Without `test`, the test images stay unseen; a finished run resumed with it sees them.
    With `pause_after`, stops after that epoch, to be resumed. With `quiet`, prints nothing. `made_of`: the `parent` and
    `origin` of its summary.

    Raises:
        CnnbenchError: what the user can mend; its class tells the exit code.
        Interrupted: after `pause_after` epochs, or by a signal.
    """
    if quiet:
        given: dict[str, Any] = {"model": model, "dataset": dataset, "callbacks": callbacks, "source": source}
        with muted():
            return run_experiment(
                config, path, **given, resume=resume, test=test, pause_after=pause_after, made_of=made_of
            )
    started, load, path, recorded = time.monotonic(), LoadMeter(), Path(path), config
    refuse_misfits(model, callbacks)
    device = configured_device(config)
    device.activate()
    if dataset is not None:
        source = read_given(dataset)
    source = source or find_data(config.data)
    config = with_given(config, model, None if dataset is None else source, callbacks)
    if resume:
        refuse_other_parts(config, recorded, callbacks)
    with out_of_memory_named(config.batch_size):
        model, description = rehearse(config, source, model)
        teacher = load_teacher(config, source.image_shape, source.class_names, device)
    of_teacher = teacher_facts(config.loss)
    known = facts(config, source, description) | of_teacher | dict(made_of or {})
    with (
        RunFolder(path, resume=resume) as run,
        copied_to(run.log),
        out_of_memory_named(config.batch_size),
        Trackers(config.logging, run) as trackers,
    ):
        if not resume:
            run.start(config.as_dict(), environment(device), **known)
        elif teacher is not None:
            refuse_other_teacher(run.summary, of_teacher)
        require_room(path, bytes_needed(model, source.num_classes, config.checkpoint["keep"]))
        introduce(config, source, description)
        with waiting("reading images"):
            splits = read_before_training(source, config.data, config.seed)
        say(f"\nimages  {split_sizes(splits)}")
        refuse_without_validation(config, len(splits.val) > 0)
        report_folders(run, source, splits)
        report_skipped(run, splits.skipped)
        if teacher is not None and knows_other_images(config.loss, splits.content["train"].fingerprint):
            note(
                "the teacher was trained on other images than this run will be, maybe on some that validate or test it"
            )
        refuse_changed_data(run, splits)
        chosen = resume and run.summary["device"] is not None  # a run may have been killed before its device was chosen
        device = (
            recorded_device(config, run.summary) if chosen else choose_device(run, config, splits, model, load, teacher)
        )
        device.activate()
        reset_peak_memory(device.torch_device)  # of an earlier run in this process, and of the policies tried
        batches = make_batches(config, splits, device)
        training = make_training(config, model, batches, splits.num_classes, device, callbacks, teacher=teacher)
        validation = evaluation_batches(splits.val, config, batches.normalize, device)
        recorder = Recorder(
            run,
            training,
            batches,
            splits,
            epochs=config.epochs,
            pause_after=pause_after,
            checkpoint=config.checkpoint,
            trackers=trackers,
            started=started,
        )
        if resume:
            is_longer = run.summary["status"] == "finished" and config.epochs > run.summary["epochs"]
            if is_longer:
                note_added_epochs(run, config.epochs)
            recorder.resume()
            if is_longer:
                say(schedule_line(config, training, read_metrics(path)[-1]["lr"]))
        if config.logging:
            images = batches.sample(SHOWN_IMAGES).permute(0, 2, 3, 1).cpu().numpy()
            trackers.start(config.as_dict(), images, read_metrics(path))
        say(star_line(config.select, validates=len(splits.val) > 0))
        run.update_summary(load_at_start=load_per_processor())  # of a run that goes on, that of its last part
        recorder.train(validation, target=config.target["value"], views=config.test_time_augmentation)
        run.update_summary(load_at_end=load_per_processor(), **describe_training(run, training))
        epoch, selected = recorder.load_selected(config.select)
        if is_reshaped(config):
            selected = without_masked_filters(run, selected, splits)
        run.update_summary(selected_epoch=epoch, **describe_model(selected))
        run.update_summary(**compare_with_training_images(selected, splits, config, batches.normalize, device))
        if test:
            run.update_summary(**read_test_once(run, selected, splits, config, batches.normalize, device))
        with waiting("measuring latency"):
            latency_ms = measure_latency(selected, splits.image_shape, batches.normalize, device)
        done = {"latency_ms": latency_ms, "total_seconds": recorder.total_seconds(), "files": run.file_hashes()}
        run.update_summary(status="finished", exit_code=0, **done)
        show_results(run.summary)
    say_exactly(f"run: {path}")
    return run.summary


def without_masked_filters(run: RunFolder, model: nn.Module, splits: Splits) -> nn.Module:
    """A copy of the trained network that lacks what pruning has masked, which stands in files of its own."""
    model = copy.deepcopy(model).eval()
    before = walk(model, splits.image_shape)
    remove_masked_filters(model, splits.image_shape)
    after = walk(model, splits.image_shape)
    write_model(run, {"layers": layer_sizes(model), "data": data_facts(splits)}, dict(model.state_dict()))
    facts_of = {
        "parameters": after.parameters,
        "macs": after.macs,
        "weights_sha256": weights_sha256(model.state_dict()),
    }
    run.update_summary(**facts_of, disk_bytes=(run.path / WEIGHTS).stat().st_size)
    say(f"masked filters removed: {before.parameters:,} parameters, {after.parameters:,} are left")
    return model


def environment(device: Device) -> dict[str, Any]:
    """What environment.json holds."""
    versions = {"torch": str(torch.__version__), "threads": device.threads}
    if device.torch_device.type == "cuda":
        versions["gpu"] = torch.cuda.get_device_name(device.torch_device)
    return describe_environment(f"{sys.argv[0]} {shlex.join(sys.argv[1:])}") | versions


def facts(config: RunConfig, source: Source, description: Description) -> dict[str, Any]:
    """What summary.json holds before the training starts."""
    return {
        "version": __version__,
        "torch": str(torch.__version__),
        "model": config.model.get("class", config.model["name"]),
        "data": config.data.get("class", config.data["name"]),
        "image_shape": list(source.image_shape),
        "parameters": description.parameters,
        "macs": description.macs,
        "target": config.target,
    }


def choose_device(
    run: RunFolder, config: RunConfig, splits: Splits, model: nn.Module, load: LoadMeter, teacher: Teacher | None
) -> Device:
    """The device and its policy: what the config says, and for what it leaves open what the advisor finds."""
    with waiting("timing policies"):
        device, advice = advise(config, splits, model, configured_device(config), load.load(), teacher)
    run.write_environment(environment(device) | ({"advice": advice} if advice else {}))
    processor = describe_processor(device.torch_device)
    run.update_summary(device=device.torch_device.type, processor=processor, **device.policy())
    say(f"policy  {policy_line(device)}{'; ' + advice_line(advice) if advice else ''}")
    return device


def refuse_changed_data(run: RunFolder, splits: Splits) -> None:
    """Notes what the images of a new run are; looks whether those of one that goes on are the same.

    Raises:
        DataError: naming the part that has changed.
    """
    known = run.summary["data_fingerprints"] or {}
    found = {part: content.fingerprint for part, content in splits.content.items()}
    changed = [part for part, fingerprint in found.items() if known.get(part, fingerprint) != fingerprint]
    if changed:
        raise DataError(f"{run.path}: its {' and '.join(changed)} images have changed since it began; put those back")
    whole = {} if splits.whole is None else {"whole": splits.whole}
    run.update_summary(data_fingerprints={"train": None, "val": None, "test": None} | known | found | whole)


def report_folders(run: RunFolder, source: Source, splits: Splits) -> None:
    """Says what is odd about the images and classes; train.log lists that, and what takes no part."""
    for line in remarks(source, splits):
        note(line)
    for path, reason in source.ignored:
        run.log(f"ignored: {path} ({reason})")


def report_skipped(run: RunFolder, skipped: Sequence[str]) -> None:
    """Says how many unreadable images were left out; train.log lists them."""
    if skipped:
        note(f"{len(skipped)} images cannot be read and are left out; {run.path / LOG} lists them")
    for line in skipped:
        run.log(f"left out: {line}")


def compare_with_training_images(
    model: nn.Module, splits: Splits, config: RunConfig, normalize: Normalize, device: Device
) -> dict[str, float]:
    """Accuracy on as many training images, not augmented, as there are validation images; and the gap between them."""
    if not len(splits.val):
        return {}
    order = torch.randperm(len(splits.train), generator=generator(config.seed, "gap"))
    views = config.test_time_augmentation
    sample = splits.train.subset(order[: len(splits.val)])
    what = "comparing with training images"
    seen = evaluate(model, evaluation_batches(sample, config, normalize, device), device, views, what=what)
    unseen = evaluate(model, evaluation_batches(splits.val, config, normalize, device), device, views, what=what)
    assert seen is not None
    assert unseen is not None
    return {"train_accuracy": seen.accuracy, "train_val_gap": seen.accuracy - unseen.accuracy}


def read_test_once(
    run: RunFolder, model: nn.Module, splits: Splits, config: RunConfig, normalize: Normalize, device: Device
) -> dict[str, float]:
    """Reads the test split, counts the read, and writes predictions.npz; nothing where there is no such split."""
    images = splits.read_test()
    if images is None:
        return {}
    run.count_test_read(content_of(images, splits.class_names).fingerprint, "train")
    report_skipped(run, images.skipped)
    views = config.test_time_augmentation
    batches = evaluation_batches(images, config, normalize, device)
    evaluation = evaluate(model, batches, device, views, what="testing")
    if evaluation is None:
        return {}
    write_predictions(run.path, evaluation.logits.cpu().numpy(), evaluation.labels.cpu().numpy())
    return {
        "test_accuracy": evaluation.accuracy,
        "test_top5_accuracy": evaluation.top5_accuracy,
        "test_loss": evaluation.loss,
    }
