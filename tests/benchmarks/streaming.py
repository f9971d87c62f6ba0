"""Training from a folder of JPEGs three ways, side by side: in memory, from the pack, decoded as it goes.

Each trains the same small network on the same images in the same order through the project's own loop. Rounds
alternate; a ratio is the median over the rounds. Memory is that of a process of its own for each way, after its epoch:
anonymous (what the process holds) and resident (with the mapped files), beyond what it had before reading the data.

    python tests/benchmarks/streaming.py [--images 90000] [--size 64] [--steps 40] [--rounds 5] [--json FILE]

The images (90,000 of 64x64: 1.1 GB of pixels) are made in --folder, by default one that is removed at the end.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from cnnbench.assemble import configured_device, make_batches, make_model, make_training
from cnnbench.config.compose import compose
from cnnbench.data.find import find_data, read_splits
from cnnbench.loop import train_one_epoch
from cnnbench.machine import cpu_name

BATCH = 128
WAYS = {
    "resident": ["data.resident=always", "data.pack=true"],
    "packed": ["data.resident=never", "data.pack=true"],
    "jpeg": ["data.resident=never", "data.pack=false"],
}


def make_images(root: Path, count: int, size: int) -> None:
    """`count` JPEGs of smooth noise in ten classes."""
    numbers = np.random.default_rng(0)
    for number in range(count):
        path = root / f"class{number % 10}" / f"{number:07}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(numbers.integers(0, 256, (8, 8, 3), dtype=np.uint8)).resize((size, size)).save(path)


def contender(root: Path, way: str, steps: int) -> Callable[[], float]:
    """An epoch of `steps` batches, read in that way; calling it gives images per second."""
    config = compose(
        [
            "model=simple",
            "device=cpu",
            "device.threads=1",
            "data=image_folder",
            f"data.root={root}",
            *WAYS[way],
            "data.val_fraction=0.0",
            "data.test_fraction=0.0",
            "augmentation=crop_flip",
            f"batch_size={BATCH}",
            "epochs=1000",
        ]
    )
    device = configured_device(config)
    source = find_data(config.data)
    batches = make_batches(config, read_splits(source, config.data, config.seed), device)
    batches.steps_per_epoch = min(steps, batches.steps_per_epoch)
    model = make_model(config, source.image_shape, source.num_classes)
    training = make_training(config, model, batches, source.num_classes, device)
    return lambda: train_one_epoch(training, batches, lambda *_: None)["images_per_second"]


def memory() -> dict[str, int]:
    """Bytes of this process: anonymous, and resident with the files it maps."""
    lines = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines())
    return {"anonymous": int(lines["RssAnon"].split()[0]) * 1024, "resident": int(lines["VmRSS"].split()[0]) * 1024}


def measure_memory(root: Path, way: str, steps: int) -> dict[str, int]:
    """What a process of its own needs to read and train in that way."""
    arguments = [sys.executable, __file__, "--folder", str(root), "--steps", str(steps), "--memory-of", way]
    return json.loads(subprocess.run(arguments, check=True, capture_output=True, text=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=90_000)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--steps", type=int, default=40, help="batches of 128 in a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where the images are, or are made and kept")
    parser.add_argument("--memory-of", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--json", type=Path, help="write the measurements here")
    options = parser.parse_args()
    if options.memory_of:
        before = memory()
        contender(options.folder, options.memory_of, options.steps)()
        print(json.dumps({key: value - before[key] for key, value in memory().items()}))
        return
    with tempfile.TemporaryDirectory() as temporary:
        os.environ["XDG_CACHE_HOME"] = temporary
        root = options.folder or Path(temporary, "images")
        if not root.exists():
            make_images(root, options.images, options.size)
        report = compare(root, options.steps, options.rounds)
    for way, speeds in report["images_per_second"].items():
        used = report["memory_bytes"][way]
        print(
            f"{way:<10}{statistics.median(speeds):>8,.0f} images/s  ratio {report['ratio_to_resident'][way]:.2f}  "
            f"memory {used['anonymous'] / 1e6:,.0f} MB anonymous, {used['resident'] / 1e6:,.0f} MB resident"
        )
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n")


def compare(root: Path, steps: int, rounds: int) -> dict:
    """Speeds by rounds in turn, then the memory of each way."""
    entrants = {way: contender(root, way, steps) for way in WAYS}
    for epoch in entrants.values():
        epoch()  # warm-up
    speeds: dict[str, list[float]] = {way: [] for way in WAYS}
    for _ in range(rounds):
        for way, epoch in entrants.items():
            speeds[way].append(epoch())
    ratios = {
        way: [speed / base for speed, base in zip(values, speeds["resident"], strict=True)]
        for way, values in speeds.items()
    }
    return {
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "torch": str(torch.__version__),
        "load_average": os.getloadavg()[0],
        "images_per_second": speeds,
        "ratios": ratios,
        "ratio_to_resident": {way: statistics.median(values) for way, values in ratios.items()},
        "memory_bytes": {way: measure_memory(root, way, steps) for way in WAYS},
    }


if __name__ == "__main__":
    main()
