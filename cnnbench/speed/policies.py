"""A training step timed in each policy of this machine."""

import statistics
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from cnnbench.device import candidate_policies, make_device
from cnnbench.errors import CnnbenchError
from cnnbench.speed.stopwatch import seconds_of, take_turns

ROUNDS, SLOWEST_STEP_SECONDS = 5, 2.0
Step = Callable[[], None]


def time_policies() -> list[dict[str, Any]]:
    """The median seconds of a training step in each precision and memory format, measured in turn.

    A step is forward, backward and SGD of three 3x3 convolutions (64 channels, batch 32, 32x32 pixels).
    `seconds` is null where `problem` says why the policy does not work, or that it is far slower.
    """
    kind = "cuda" if torch.cuda.is_available() else "cpu"
    tried = [_try_policy(kind, *policy) for policy in candidate_policies(kind)]
    steps = {f"{report['precision']}, {report['memory_format']}": step for report, step in tried if step}
    times = take_turns(steps, ROUNDS)
    for report, step in tried:
        name = f"{report['precision']}, {report['memory_format']}"
        report["seconds"] = statistics.median(times[name]) if step else None
    return [report for report, _ in tried]


def _try_policy(kind: str, precision: Any, memory_format: Any) -> tuple[dict[str, Any], Step | None]:
    report = {"device": kind, "precision": precision, "memory_format": memory_format, "problem": None}
    try:
        step = _make_step(kind, precision, memory_format)
        seconds = seconds_of(step)
    except (CnnbenchError, RuntimeError) as error:
        return report | {"problem": str(error).splitlines()[0]}, None
    if seconds > SLOWEST_STEP_SECONDS:
        return report | {"problem": f"emulated: {seconds:.1f} s a step"}, None
    return report, step


def _make_step(kind: str, precision: Any, memory_format: Any) -> Step:
    device = make_device(kind, precision, memory_format)
    layers = [nn.Conv2d(3, 64, 3, padding=1)]
    layers += [nn.Conv2d(64, 64, 3, padding=1) for _ in range(2)]
    model = device.place(nn.Sequential(*layers))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    images = torch.randn(32, 3, 32, 32, device=device.torch_device).to(memory_format=device.torch_memory_format)

    def step() -> None:
        device.activate()
        with device.autocast():
            loss = model(images).float().square().mean()
        device.backward_and_step(loss, optimizer, lambda backward: None)
        device.synchronize()

    return step
