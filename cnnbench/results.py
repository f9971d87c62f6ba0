"""What summary.json says of a training and its model."""

import statistics
from typing import Any

import torch
from torch import Tensor, nn

from cnnbench import machine
from cnnbench.loop import Training
from cnnbench.models.graphs import GraphNet
from cnnbench.runs.folder import RunFolder
from cnnbench.runs.identity import weights_sha256
from cnnbench.runs.read import read_metrics


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
    weights = weights_of_graph(model) if isinstance(model, GraphNet) else model.parameters()
    nonzero = sum(int(torch.count_nonzero(weight)) for weight in weights)
    size = sum(tensor.numel() * tensor.element_size() for tensor in model.state_dict().values())
    return {"nonzero_parameters": nonzero, "model_bytes": size}


def weights_of_graph(model: GraphNet) -> list[Tensor]:
    """Its tensors but for the scales and zero points by which int8 stands for numbers."""
    return [tensor for name, tensor in model.tensors().items() if not name.startswith(("_scale", "_zero_point"))]


def reset_peak_memory(device: torch.device) -> bool:
    """Lets the peak start anew from what is in use now; says whether this system can."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return True
    return machine.reset_peak_memory()


def memory_bytes(device: torch.device) -> int:
    """The memory in use: on a GPU by torch's tensors, on a CPU by the whole process."""
    return torch.cuda.memory_allocated(device) if device.type == "cuda" else machine.memory_bytes()


def peak_memory_bytes(device: torch.device) -> int:
    """The most memory that was in use since `reset_peak_memory`."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else machine.peak_memory_bytes()
