"""A training step timed in each policy of this machine, in seconds whatever the machine is and whoever else uses it."""

import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import nn

from cnnbench.arithmetic import computes_in
from cnnbench.device import TORCH_THREADS, Device, Policy, candidate_policies, make_device
from cnnbench.errors import CnnbenchError
from cnnbench.speed.stopwatch import seconds_of

BUDGET_SECONDS, MOST_ROUNDS = 5.0, 10
BATCH, CHANNELS, SIDE = 16, 64, 32

Step = Callable[[], None]
Report = dict[str, Any]


def time_policies(budget: float = BUDGET_SECONDS) -> list[Report]:
    """The median seconds of a training step in each precision and memory format, on one thread and on all, the fastest
    first; those that were not timed last.

    A step is forward, backward and SGD of three 3x3 convolutions (64 channels, batch 16, 32x32 pixels). Policies take
    turns, at least once and until `budget` seconds have passed. `seconds` is null where `problem` says why a policy
    does not work, or that the hardware emulates it, which would take minutes.
    """
    kind = "cuda" if torch.cuda.is_available() else "cpu"
    threads = sorted({1, TORCH_THREADS}) if kind == "cpu" else [TORCH_THREADS]
    reports = [_describe(kind, policy, count) for policy in candidate_policies(kind) for count in threads]
    steps = [step for report in reports if (step := _prepare(report))]
    started = time.monotonic()
    for _ in range(MOST_ROUNDS):
        for step in steps:
            step()
        if time.monotonic() - started > budget:
            break
    for report in reports:
        times = report.pop("times")
        report["seconds"] = statistics.median(times) if times else None
    return sorted(reports, key=lambda report: report["seconds"] or float("inf"))


def _describe(kind: str, policy: Policy, threads: int) -> Report:
    return {"device": kind, **policy._asdict(), "threads": threads, "problem": None, "times": []}


def _prepare(report: Report) -> Step | None:
    """What appends a timing to the report whenever it is called; None where it says why there can be none."""
    kind, precision = report["device"], report["precision"]
    try:
        device = make_device(kind, precision, report["memory_format"], threads=report["threads"])
        if not computes_in(precision, kind):
            report["problem"] = "emulated by this processor"
            return None
        step = partial(_step, device, *_network(device))
        step()
    except (CnnbenchError, RuntimeError) as error:
        report["problem"] = str(error).splitlines()[0]
        return None
    return lambda: report["times"].append(seconds_of(step))


def _network(device: Device) -> tuple[nn.Module, torch.optim.Optimizer, torch.Tensor]:
    layers = [nn.Conv2d(channels, CHANNELS, 3, padding=1) for channels in (3, CHANNELS, CHANNELS)]
    model = device.place(nn.Sequential(*layers))
    images = torch.randn(BATCH, 3, SIDE, SIDE, device=device.torch_device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    return model, optimizer, images.to(memory_format=device.torch_memory_format)


def _step(device: Device, model: nn.Module, optimizer: torch.optim.Optimizer, images: torch.Tensor) -> None:
    device.activate()
    with device.autocast():
        loss = model(images).float().square().mean()
    device.backward_and_step(loss, optimizer, lambda backward: None)
    device.synchronize()
