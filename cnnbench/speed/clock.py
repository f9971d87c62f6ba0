"""Networks side by side: the same images in turns, in one process, warm; and what comes of it with its intervals."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from cnnbench.analysis.ratios import Ratio, ratio_of
from cnnbench.data import ImageShape
from cnnbench.data.batches import Normalize
from cnnbench.device import Device, make_device
from cnnbench.inference import prepared
from cnnbench.progress import waiting
from cnnbench.speed.bench import percentiles_ms
from cnnbench.speed.compiler import compiled
from cnnbench.speed.memory import memory_of
from cnnbench.speed.stopwatch import seconds_of, take_turns

BATCHES = (1, 64, 256)
THROUGHPUT = 256
FEWEST_ROUNDS, MOST_ROUNDS, SECONDS = 10, 100, 6.0  # of the turns with each size of a batch

Row = dict[str, Any]


@dataclass(frozen=True)
class Contender:
    """A network and the way it is run: `eager`, as torch gives it; in the `policy` of its run; or `compiled` in it."""

    name: str
    model: nn.Module
    way: str
    device: Device
    normalize: Normalize


def as_torch_gives_it(name: str, model: nn.Module, normalize: Normalize, device: Device) -> Contender:
    """The network in float32, contiguous, no norm folded: what everybody has without doing anything."""
    plain = make_device(device.torch_device.type, "fp32", "contiguous", False, device.threads)
    return Contender(name, model, "eager", plain, Normalize(normalize.mean, normalize.std, plain))


def measure(
    contenders: Sequence[Contender], image_shape: ImageShape
) -> tuple[list[Row], dict[int, dict[str, list[float]]]]:
    """A row for each contender, and by size of a batch the seconds of each one's turns.

    `latency_ms` of 1 and 64 images (p50 and p95), `images_per_second` at 256, `peak_memory_bytes` of that forward pass.

    Raises:
        UnavailableError: one cannot be compiled.
    """
    times: dict[int, dict[str, list[float]]] = {}
    memory: dict[str, int | None] = {}
    with waiting("timing", len(BATCHES) * (len(contenders) + 1)) as wait:
        for size in BATCHES:
            actions: dict[str, Callable[[], object]] = {}
            for each in contenders:
                wait.show(f"{'compiling' if each.way == 'compiled' else 'preparing'} {each.name} for {size} images")
                actions[each.name] = _action(each, image_shape, size)
                wait.advance()
            wait.show(f"timing {size} images")
            if size == THROUGHPUT:
                memory = {each.name: memory_of(actions[each.name], each.device.torch_device) for each in contenders}
            together = sum(seconds_of(action) for action in actions.values()) * 2  # each runs once before it is timed
            rounds = max(FEWEST_ROUNDS, min(MOST_ROUNDS, int(SECONDS / together)))
            times[size] = take_turns(actions, rounds)
            wait.advance()
    return [_row(each, times, memory) for each in contenders], times


def speedup(times: Mapping[int, Mapping[str, Sequence[float]]], slow: str, fast: str) -> dict[str, Ratio]:
    """By size of a batch how many times as fast one contender is as another, with its interval over the rounds."""
    found = {}
    for size, seconds in times.items():
        theirs, ours = (dict(enumerate(seconds[name])) for name in (slow, fast))
        ratio = ratio_of(ours, theirs, paired=True)
        assert ratio is not None
        found[str(size)] = ratio
    return found


def _action(each: Contender, image_shape: ImageShape, size: int) -> Callable[[], object]:
    device = each.device
    device.activate()
    generator = torch.Generator().manual_seed(size)
    images = torch.randint(256, (size, *image_shape), dtype=torch.uint8, generator=generator)
    inputs = each.normalize(images.to(device.torch_device))
    if each.way == "eager":
        forward: Callable[[Tensor], Tensor] = each.model.eval().to(memory_format=torch.contiguous_format)
    elif each.way == "compiled":
        with device.autocast():
            forward = compiled(prepared(each.model, device, image_shape), inputs)
    else:
        forward = prepared(each.model, device, image_shape)
    return partial(_forward, forward, inputs, device)


@torch.no_grad()
def _forward(forward: Callable[[Tensor], Tensor], inputs: Tensor, device: Device) -> None:
    with device.autocast():
        forward(inputs)
    device.synchronize()


def _row(each: Contender, times: Mapping[int, Mapping[str, Sequence[float]]], memory: Mapping[str, int | None]) -> Row:
    seconds = times[THROUGHPUT][each.name]
    return {
        "name": each.name,
        "way": each.way,
        **each.device.policy(),
        "latency_ms": {str(size): percentiles_ms(times[size][each.name]) for size in BATCHES if size != THROUGHPUT},
        "images_per_second": THROUGHPUT / statistics.median(seconds),
        "peak_memory_bytes": memory[each.name],
    }
