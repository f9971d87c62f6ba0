"""Training throughput of cnnbench against the loop people write by hand, side by side in one process.

The loop: a DataLoader, per-image torchvision transforms on PIL images, fp32, `.item()` for the loss. Both train the
same network on the same images with the same optimizer. Rounds alternate; the figure is the median of their ratios.

    python tests/benchmarks/handwritten_loop.py [--model deep] [--steps 40] [--rounds 5] [--json FILE]
"""

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from cnnbench.app import compose
from cnnbench.assemble import find_data, make_batches, make_device, make_model, make_training, read_splits
from cnnbench.environment import cpu_name
from cnnbench.loop import train_one_epoch

BATCH = 128
LR, MOMENTUM, WEIGHT_DECAY = 0.01, 0.9, 5e-4


class PilImages(Dataset):
    """Images as PIL holds them, transformed one at a time."""

    def __init__(self, images: torch.Tensor, labels: torch.Tensor, mean: list[float], std: list[float]) -> None:
        self.images = [Image.fromarray(image.permute(1, 2, 0).numpy()) for image in images]
        self.labels = labels.tolist()
        self.transform = transforms.Compose(
            [
                transforms.RandomCrop(32, padding=4),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize(mean, std),
            ]
        )

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self.transform(self.images[index]), self.labels[index]


def handwritten(model: nn.Module, loader: DataLoader) -> Callable[[], float]:
    """An epoch of the loop by hand; calling it gives images per second."""
    optimizer = torch.optim.SGD(model.parameters(), lr=LR, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY)
    criterion = nn.CrossEntropyLoss()

    def epoch() -> float:
        model.train()
        total, seen, start = 0.0, 0, time.perf_counter()
        for images, labels in loader:
            optimizer.zero_grad()
            loss = criterion(model(images), labels)
            loss.backward()
            optimizer.step()
            total += loss.item()
            seen += len(labels)
        return seen / (time.perf_counter() - start)

    return epoch


def contenders(model_name: str, steps: int, workers: list[int]) -> Iterator[tuple[str, Callable[[], float]]]:
    """Each contender's name and its epoch."""
    config = compose(
        [
            f"model={model_name}",
            "data=synthetic",
            f"data.train_images={steps * BATCH}",
            "data.val_fraction=0.0",
            "augmentation=crop_flip",
            "optimizer=sgd",
            f"optimizer.lr={LR}",
            f"optimizer.momentum={MOMENTUM}",
            f"optimizer.weight_decay={WEIGHT_DECAY}",
            "optimizer.nesterov=false",
            "schedule=constant",
            "loss.label_smoothing=0.0",
            f"batch_size={BATCH}",
            "epochs=1000",
        ]
    )
    device = make_device(config)
    source = find_data(config.data)
    splits = read_splits(source, config.data)
    images, labels = next(splits.train.batches(torch.arange(steps * BATCH), steps * BATCH))
    data = PilImages(images, labels, splits.mean.tolist(), splits.std.tolist())
    for count in workers:
        loader = DataLoader(data, BATCH, shuffle=True, drop_last=True, num_workers=count, persistent_workers=count > 0)
        model = make_model(config, source.image_shape, source.num_classes)
        yield f"by hand, {count} workers", handwritten(model, loader)

    batches = make_batches(config, splits, device)
    model = make_model(config, source.image_shape, source.num_classes)
    training = make_training(config, model, batches, source.num_classes, device)
    policy = f"{device.precision}, {device.memory_format}, {device.threads} threads"
    yield f"cnnbench ({policy})", lambda: train_one_epoch(training, batches, lambda *_: None)["images_per_second"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="deep")
    parser.add_argument("--steps", type=int, default=40, help="batches of 128 in a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 2], help="of the DataLoader")
    parser.add_argument("--json", type=Path, help="write the measurements here")
    options = parser.parse_args()
    entrants = dict(contenders(options.model, options.steps, options.workers))
    for epoch in entrants.values():
        epoch()  # warm-up
    speeds: dict[str, list[float]] = {name: [] for name in entrants}
    for _ in range(options.rounds):
        for name, epoch in entrants.items():
            speeds[name].append(epoch())
    *by_hand, ours = entrants
    best = [max(speeds[name][n] for name in by_hand) for n in range(options.rounds)]
    ratios = [speed / other for speed, other in zip(speeds[ours], best, strict=True)]
    report = {
        "model": options.model,
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "torch": str(torch.__version__),
        "load_average": os.getloadavg()[0],
        "images_per_second": speeds,
        "ratio_to_the_better_loop": statistics.median(ratios),
        "ratios": ratios,
    }
    for name, values in speeds.items():
        print(f"{name:<45}{statistics.median(values):>8,.0f} images/s  ({min(values):,.0f} to {max(values):,.0f})")
    print(f"ratio to the better loop: {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
