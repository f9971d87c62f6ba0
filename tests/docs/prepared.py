"""Tiny data sets and runs under the names that the documents use."""

import gzip
import struct
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from cnnbench import cli

SHAPES = ("circle", "square", "triangle")


def write_fashion_mnist(folder: Path, train: int = 120, test: int = 30) -> None:
    """As torchvision lays it out: noise of 28x28 in ten classes."""
    random = np.random.default_rng(0)
    (folder / "raw").mkdir(parents=True)
    for part, count in (("train", train), ("t10k", test)):
        images = random.integers(0, 256, (count, 28, 28), np.uint8)
        labels = (np.arange(count) % 10).astype(np.uint8)
        for name, values in ((f"{part}-images-idx3-ubyte", images), (f"{part}-labels-idx1-ubyte", labels)):
            header = bytes((0, 0, 8, values.ndim)) + struct.pack(f">{values.ndim}I", *values.shape)
            (folder / "raw" / f"{name}.gz").write_bytes(gzip.compress(header + values.tobytes()))


def write_cifar10(folder: Path, rows: int = 20) -> None:
    """The binary version: noise in ten classes, so many rows a file."""
    random = np.random.default_rng(0)
    folder.mkdir(parents=True)
    for name in (*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin"):
        content = random.integers(0, 256, (rows, 3073), np.uint8)
        content[:, 0] = np.arange(rows) % 10
        (folder / name).write_bytes(content.tobytes())


def write_photos(folder: Path, each: int = 30, side: int = 72) -> None:
    """A folder for each of three shapes, as photographs: JPEGs in colour, of two sizes, with noise."""
    random = np.random.default_rng(0)
    for number, shape in enumerate(SHAPES * each):
        height = side if number % 2 else side * 4 // 3
        background, colour = (tuple(int(c) for c in random.integers(low, low + 90, 3)) for low in (150, 10))
        image = Image.new("RGB", (side, height), background)
        radius = int(random.integers(side // 5, side // 3))
        x, y = (int(random.integers(radius, size - radius)) for size in (side, height))
        draw, box = ImageDraw.Draw(image), (x - radius, y - radius, x + radius, y + radius)
        if shape == "triangle":
            draw.regular_polygon((x, y, radius), 3, rotation=int(random.integers(0, 30)), fill=colour)
        else:
            (draw.ellipse if shape == "circle" else draw.rectangle)(box, fill=colour)
        noisy = np.asarray(image, np.int16) + random.integers(-15, 16, (height, side, 3))
        (folder / shape).mkdir(parents=True, exist_ok=True)
        path = folder / shape / f"{shape}-{number // len(SHAPES):03}.jpg"
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(path)


def write_cifar_photos(folder: Path, each: int = 8) -> None:
    """Two of CIFAR's classes as JPEGs of 32x32 in a folder each."""
    write_photos(folder, each, side=32)
    for path in folder.rglob("*.jpg"):
        Image.open(path).resize((32, 32)).save(path)


RUN = ["epochs=1", "data.fraction=0.2", "device=cpu", "device.threads=1", "device.precision=fp32"]
SWEEP = ["optimizer=adam,sgd", "seed=0,1"]


def train_runs(folder: Path) -> None:
    """The run `RUN` and the sweep `DIR`, on a part of the digits; to be called with `folder` as working directory."""
    assert cli.run(["train", *RUN, "hydra.run.dir=RUN"]) == 0
    assert cli.run(["train", "-m", *RUN, *SWEEP, "hydra.sweep.dir=DIR"]) == 0
    (folder / "outputs").mkdir()
    for alias in ("DIR...", "outputs/sweep"):
        (folder / alias).symlink_to(folder / "DIR")
