"""What summary.json says of a trained model: its size, its speed, and how it does on images it has not seen."""

import io
import resource
import statistics
import sys
from typing import Any

import numpy as np
import torch
from torch import nn

from cnnbench.checkpoint import weights_sha256
from cnnbench.data import ImageShape
from cnnbench.data.batches import Normalize
from cnnbench.device import Device
from cnnbench.disk import write_atomically
from cnnbench.inference import prepared
from cnnbench.loop import Evaluation, Training
from cnnbench.runs import PREDICTIONS, RunFolder, read_metrics
from cnnbench.stopwatch import seconds_of

WARM_UP, REPEATS, LATENCY_SECONDS = 5, 30, 0.3


def describe_training(run: RunFolder, training: Training) -> dict[str, Any]:
    """How long the training took and what it ended with."""
    speeds = [line["images_per_second"] for line in read_metrics(run.path)]
    return {
        "epochs": training.epoch,
        "steps": training.step,
        "best_epoch": training.best_epoch,
        "best_val_accuracy": training.best_val_accuracy,
        "objective": training.best_val_accuracy,
        "train_seconds": training.train_seconds,
        "images_per_second": statistics.median(speeds) if speeds else None,
        "time_to_target": training.time_to_target,
        "weights_sha256": weights_sha256(training.model.state_dict()),
        "peak_memory_bytes": peak_memory_bytes(training.device.torch_device),
    }


def describe_model(model: nn.Module) -> dict[str, int]:
    """The size of a trained model; its bytes are those of parameters and buffers."""
    nonzero = sum(int(torch.count_nonzero(parameter)) for parameter in model.parameters())
    size = sum(tensor.numel() * tensor.element_size() for tensor in model.state_dict().values())
    return {"nonzero_parameters": nonzero, "model_bytes": size}


def measure_latency(model: nn.Module, image_shape: ImageShape, normalize: Normalize, device: Device) -> float:
    """Milliseconds of one forward pass of one image, the median of 30 after 5 to warm up, or of what 0.3 s allow.

    In the form and precision that images are evaluated in, but not compiled; views of test-time augmentation are not
    counted. Draws no random numbers.
    """
    ready = prepared(model, device)
    images = normalize(torch.zeros(1, *image_shape, dtype=torch.uint8, device=device.torch_device))

    @torch.inference_mode()
    def forward() -> None:
        with device.autocast():
            ready(images)
        device.synchronize()

    times: list[float] = []
    while len(times) < WARM_UP + REPEATS and sum(times) < LATENCY_SECONDS:
        times.append(seconds_of(forward))
    return 1000 * statistics.median(times[WARM_UP:] or times[-1:])


def peak_memory_bytes(device: torch.device) -> int:
    """The most memory used so far: on a GPU by torch's tensors, on a CPU by the whole process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return kilobytes if sys.platform == "darwin" else kilobytes * 1024


def write_predictions(run: RunFolder, evaluation: Evaluation) -> None:
    """predictions.npz: `logits` (N, K) float16, `labels` (N,) int64, `indices` (N,) int64 into the test split."""
    buffer = io.BytesIO()
    labels = evaluation.labels.cpu().numpy()
    logits = evaluation.logits.to(torch.float16).cpu().numpy()
    np.savez_compressed(buffer, logits=logits, labels=labels, indices=np.arange(len(labels)))
    write_atomically(run.path / PREDICTIONS, buffer.getvalue())
