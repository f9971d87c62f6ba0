"""Networks side by side: the same images in turns, in one process, warm; and what comes of it with its intervals."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from cnnbench.analysis.ratios import Ratio, ratio_of
from cnnbench.data import ImageShape
from cnnbench.data.batches import Normalize
from cnnbench.device import Device, make_device
from cnnbench.errors import CnnbenchError, first_line
from cnnbench.inference import prepared
from cnnbench.progress import Wait, waiting
from cnnbench.seeds import generator
from cnnbench.speed.bench import percentiles_ms
from cnnbench.speed.compiler import compiled, forget_compiled
from cnnbench.speed.memory import memory_of
from cnnbench.speed.stopwatch import seconds_of, take_turns

LATENCIES, THROUGHPUT = (1, 64), 256
BATCHES = (THROUGHPUT, *LATENCIES)  # the largest first: who has no memory for it takes part in none
FEWEST_ROUNDS, MOST_ROUNDS, SECONDS = 10, 100, 6  # of the turns with each size of a batch
STARTING_SECONDS = {"compiled": 10}  # roughly, for the time left; others take one

Row = dict[str, Any]
Forward = Callable[[], Tensor]


@dataclass(frozen=True)
class Contender:
    """A network and the way it is run.

    `start` gives, for the size of a batch, what computes the logits (N, K) of so many images whenever it is called.
    """

    name: str
    way: str
    device: Device
    start: Callable[[int], Forward]


@dataclass(frozen=True)
class Clocked:
    """What came of timing contenders, by their names.

    Attributes:
        rows: `latency_ms` of 1 and 64 images (p50 and p95), `images_per_second` at 256 with its range over the rounds,
            `peak_memory_bytes` of that forward pass.
        times: by size of a batch the seconds of each one's turns.
        logits: those of 256 images.
        problems: why a contender has no row.
    """

    rows: dict[str, Row] = field(default_factory=dict)
    times: dict[int, dict[str, list[float]]] = field(default_factory=dict)
    logits: dict[str, Tensor] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)


def of_network(
    name: str, model: nn.Module, way: str, device: Device, normalize: Normalize, images: Tensor
) -> Contender:
    """`model` run `eager`, as it stands; in the `policy` of `device`, made ready for it; or `compiled` in that.

    images: uint8 (256, C, H, W); normalised once, off the clock.
    """
    shape = tuple(images.shape[1:])

    def start(size: int) -> Forward:
        device.activate()
        inputs = normalize(images[:size].to(device.torch_device))
        if way == "eager":
            forward: Callable[[Tensor], Tensor] = model.eval().to(memory_format=torch.contiguous_format)
        elif way == "compiled":
            with device.autocast():
                forward = compiled(prepared(model, device, shape), inputs)
        else:
            forward = prepared(model, device, shape)
        return partial(_logits, forward, inputs, device)

    return Contender(name, way, device, start)


def as_torch_gives_it(name: str, model: nn.Module, normalize: Normalize, device: Device, images: Tensor) -> Contender:
    """The network in float32, contiguous, no norm folded: what everybody has without doing anything."""
    plain = make_device(device.torch_device.type, "fp32", "contiguous", False, device.threads)
    return of_network(name, model, "eager", plain, Normalize(normalize.mean, normalize.std, plain), images)


def noise(image_shape: ImageShape) -> Tensor:
    """256 images to be timed with, uint8 (N, C, H, W)."""
    return torch.randint(256, (THROUGHPUT, *image_shape), dtype=torch.uint8, generator=generator(0, "clock"))


def measure(contenders: Sequence[Contender], rounds: int | None) -> Clocked:
    """Has the contenders take turns, `rounds` of them with each size of a batch, or as many as six seconds allow."""
    found, taking_part = Clocked(), list(contenders)
    starting = sum(STARTING_SECONDS.get(each.way, 1) for each in contenders)
    with waiting("timing", len(BATCHES) * (starting + SECONDS)) as wait:
        for size in BATCHES:
            forget_compiled()
            actions = _started(taking_part, size, found, wait)
            taking_part = [each for each in taking_part if each.name in actions]
            wait.show(f"timing {size} image{'s' if size > 1 else ''}")
            found.times[size] = take_turns(actions, rounds or _affordable(actions)) if actions else {}
            wait.advance(SECONDS)
    for each in taking_part:
        found.rows[each.name] |= _row(each, found.times)
    return found


def speedup(times: Mapping[int, Mapping[str, Sequence[float]]], slow: str, fast: str) -> dict[str, Ratio]:
    """By size of a batch how many times as fast one contender is as another, with its interval over the rounds."""
    found = {}
    for size, seconds in sorted(times.items()):
        theirs, ours = (dict(enumerate(seconds[name])) for name in (slow, fast))
        ratio = ratio_of(ours, theirs, paired=True)
        assert ratio is not None
        found[str(size)] = ratio
    return found


def _started(contenders: Sequence[Contender], size: int, found: Clocked, wait: Wait) -> dict[str, Forward]:
    """What each contender computes; what stands in the way of one is noted in `found`, as are first results."""
    actions: dict[str, Forward] = {}
    for each in contenders:
        wait.show(f"{'compiling' if each.way == 'compiled' else 'preparing'} {each.name} for {size}")
        try:
            action = each.start(size)
            if size == THROUGHPUT:
                memory = memory_of(action, each.device.torch_device)
                found.rows[each.name] = {"peak_memory_bytes": memory}
                found.logits[each.name] = action().float().cpu()
            actions[each.name] = action
        except (CnnbenchError, RuntimeError, MemoryError) as error:
            found.problems[each.name] = first_line(error)
            found.rows.pop(each.name, None)
        wait.advance(STARTING_SECONDS.get(each.way, 1))
    return actions


def _affordable(actions: Mapping[str, Forward]) -> int:
    together = sum(seconds_of(action) for action in actions.values()) * 2  # each runs once before it is timed
    return max(FEWEST_ROUNDS, min(MOST_ROUNDS, int(SECONDS / together)))


@torch.no_grad()
def _logits(forward: Callable[[Tensor], Tensor], inputs: Tensor, device: Device) -> Tensor:
    device.take_turn()
    with device.autocast():
        logits = forward(inputs)
    device.synchronize()
    return logits


def _row(each: Contender, times: Mapping[int, Mapping[str, Sequence[float]]]) -> Row:
    seconds = times[THROUGHPUT][each.name]
    return {
        "name": each.name,
        "way": each.way,
        **each.device.policy(),
        "latency_ms": {str(size): percentiles_ms(times[size][each.name]) for size in LATENCIES},
        "images_per_second": THROUGHPUT / statistics.median(seconds),
        "images_per_second_range": [THROUGHPUT / max(seconds), THROUGHPUT / min(seconds)],
    }
