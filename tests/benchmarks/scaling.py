"""How the cost of training grows with images, resolution, width and batch size: slopes of log(seconds) over log(x).

Images: an epoch of `simple`, batch 128. Resolution, width and batch size: steps of `deep`, batch 128 where it is not
what changes. All on made-up 3x32x32 images in memory with crops and flips. The points of an axis take turns; the line
goes through their medians. A slope of 1 is proportional cost, of 2 quadratic.

    python tests/benchmarks/scaling.py [--axes images resolution width batch] [--rounds 5] [--json FILE]
"""

import argparse
import json
import os
import shlex
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from work import BATCH, prepare

from cnnbench.arithmetic import is_faster
from cnnbench.assemble import make_batches, make_training
from cnnbench.device import Device, make_device
from cnnbench.loop import train_one_epoch
from cnnbench.machine import describe_environment
from cnnbench.models.describe import walk
from cnnbench.speed.stopwatch import take_turns
from cnnbench.speed.timed import TimedConfig

IMAGE_SHAPE = (3, 32, 32)


@dataclass(frozen=True)
class Point:
    """What is timed: `train` does `count` units (epochs, images, steps) of so many `images`; `x` is its place."""

    x: dict[str, float]
    train: Callable[[], object]
    count: int
    images: int


def epoch(device: Device, steps: int) -> Point:
    """An epoch of `simple`."""
    work = prepare("simple", steps)
    batches = make_batches(work.config, work.splits, device)
    training = make_training(work.config, work.model(), batches, work.source.num_classes, device)
    train = partial(train_one_epoch, training, batches, lambda *_: None)
    return Point({"images": steps * BATCH}, train, 1, steps * BATCH)


def resolution(device: Device, side: int) -> Point:
    """Images of so many pixels a side through `deep`."""
    contender = deep(device, BATCH, f"data.image_shape=[3,{side},{side}]")
    return Point({"side": side}, contender.train, contender.steps * BATCH, 1)


def width(device: Device, multiplier: float) -> Point:
    """Images through a narrower or wider `deep`."""
    contender = deep(device, BATCH, f"model.width_multiplier={multiplier}")
    size = walk(contender.training.model, IMAGE_SHAPE)
    x = {"parameters": size.parameters, "MACs": size.macs}
    return Point(x, contender.train, contender.steps * BATCH, 1)


def batch(device: Device, size: int) -> Point:
    """Steps of `deep`."""
    contender = deep(device, size)
    return Point({"images a step": size}, contender.train, contender.steps, size)


def deep(device: Device, batch_size: int, *overrides: str) -> TimedConfig:
    """Training steps of `deep`."""
    work = prepare("deep", 1, *overrides)
    contender = TimedConfig(work.config, work.source, device, batch_size)
    contender.try_out()
    return contender


AXES = {
    "images": ("ms an epoch", epoch, (20, 40, 80, 160)),  # 2,560 to 20,480 images
    "resolution": ("ms an image", resolution, (16, 24, 32, 48, 64)),
    "width": ("ms an image", width, (0.5, 0.75, 1.0, 1.5, 2.0)),
    "batch": ("ms a step", batch, (16, 32, 64, 128, 256)),
}


def log_log_fit(x: Sequence[float], y: Sequence[float]) -> tuple[float, float]:
    """The slope of log(y) over log(x) by least squares, and the largest |y / line - 1|."""
    slope, offset = np.polyfit(np.log(x), np.log(y), 1)
    line = np.exp(offset) * np.asarray(x) ** slope
    return float(slope), float(np.abs(np.asarray(y) / line - 1).max())


def measure(points: Sequence[Point], rounds: int) -> dict[str, Any]:
    """For every point its x, its seconds by rounds and its images per second; and the fit against each kind of x."""
    times = take_turns({str(place): point.train for place, point in enumerate(points)}, rounds)
    rows = []
    for point, turns in zip(points, times.values(), strict=True):
        seconds = [value / point.count for value in turns]
        rows.append({"x": point.x, "seconds": seconds, "images_per_second": point.images / statistics.median(seconds)})
    medians = [statistics.median(row["seconds"]) for row in rows]
    fits = {key: log_log_fit([point.x[key] for point in points], medians) for key in points[0].x}
    return {
        "points": rows,
        "fits": {key: {"slope": slope, "largest_deviation": off} for key, (slope, off) in fits.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--axes", nargs="+", choices=AXES, default=list(AXES))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write every figure here")
    options = parser.parse_args()
    device = make_device("cpu", "bf16" if is_faster("bf16", "cpu") else "fp32", "channels_last")
    report: dict[str, Any] = {"environment": describe_environment(shlex.join(sys.argv)), "policy": device.policy()}
    report["axes"] = {}
    for axis in options.axes:
        unit, make, values = AXES[axis]
        report["axes"][axis] = measure([make(device, value) for value in values], options.rounds)
        print_axis(axis, unit, report["axes"][axis])
    report["load_average_after"] = os.getloadavg()
    before, after = report["environment"]["load_average"][0], report["load_average_after"][0]
    print(f"{report['policy']}; load average {before:.2f} before, {after:.2f} after")
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n")


def print_axis(axis: str, unit: str, figures: dict[str, Any]) -> None:
    for key, fit in figures["fits"].items():
        print(f"{axis}: time ~ {key}^{fit['slope']:.2f}, every point within {fit['largest_deviation']:.1%}")
    for row in figures["points"]:
        x = ", ".join(f"{value:,} {key}" for key, value in row["x"].items())
        ms = [1000 * value for value in row["seconds"]]
        speed = row["images_per_second"]
        print(f"  {x}: {statistics.median(ms):.4g} {unit} ({min(ms):.4g} to {max(ms):.4g}), {speed:,.0f} images/s")


if __name__ == "__main__":
    main()
