"""What a recipe saves: the articles' way to train its network, and when the recipe reaches the best accuracy of that.

The articles' way: a DataLoader over PIL images (ToTensor, Normalize), fp32, SGD with lr 0.01, batch 64, no
augmentation, plain evaluation, and momentum 0.9, which the listings do not have. It uses the recipe's network and
split, none of its settings. The clock stands still during evaluation. Accuracies need no idle machine, seconds do:
--curve takes the accuracies of an earlier report and times a few hundred steps anew. --runs are finished run folders
of the recipe; one whose accuracy stays below the best of the articles' way counts with a ratio of 0.

    python tests/benchmarks/time_to_accuracy.py experiment=fashion_fast [OVERRIDE ...] [--epochs 20] [--workers 2]
        [--split test] [--curve FILE] [--runs DIR ...] [--json FILE]
"""

import argparse
import json
import math
import os
import shlex
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from itertools import accumulate, chain, repeat
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from work import PilImages, Work

from cnnbench.config.compose import compose
from cnnbench.data import ImageSet
from cnnbench.data.find import find_data, read_splits
from cnnbench.machine import describe_environment
from cnnbench.runs.read import read_metrics, read_summary

BATCH, LR, MOMENTUM = 64, 0.01, 0.9
WHITENING_IMAGES, WARM_UP_STEPS = 5000, 20


class ByHand:
    """The network of a recipe and the loop that trains it; knows no Device, which would tune the process."""

    def __init__(self, work: Work, workers: int) -> None:
        images = PilImages(work, augmented=False)
        self.loader = DataLoader(images, BATCH, shuffle=True, num_workers=workers, persistent_workers=workers > 0)
        self.model = work.model()
        if hasattr(self.model, "initialize_from_images"):  # its first layer is frozen
            first = torch.randperm(len(images))[:WHITENING_IMAGES].tolist()
            self.model.initialize_from_images(torch.stack([images[index][0] for index in first]))
        self.criterion = nn.CrossEntropyLoss()
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=LR, momentum=MOMENTUM)

    def step(self, images: Tensor, labels: Tensor) -> float:
        self.optimizer.zero_grad()
        loss = self.criterion(self.model(images), labels)
        loss.backward()
        self.optimizer.step()
        return loss.item()

    def epoch_seconds(self) -> float:
        """Trains an epoch."""
        start = time.perf_counter()
        self.model.train()
        for images, labels in self.loader:
            self.step(images, labels)
        return time.perf_counter() - start

    def step_seconds(self, count: int) -> list[float]:
        """Trains `count` steps after a few that do not count; each with the wait for its batch."""
        self.model.train()
        batches: Iterator[list[Tensor]] = chain.from_iterable(repeat(self.loader))
        seconds = []
        for _ in range(WARM_UP_STEPS + count):
            start = time.perf_counter()
            self.step(*next(batches))
            seconds.append(time.perf_counter() - start)
        return seconds[WARM_UP_STEPS:]


@torch.no_grad()
def accuracy(model: nn.Module, held_out: ImageSet, mean: Tensor, std: Tensor) -> float:
    """The share of `held_out` that the model gets right in eval mode."""
    model.eval()
    correct = 0
    for images, labels in held_out.batches(torch.arange(len(held_out)), 500):
        normalized = (images / 255 - mean.view(-1, 1, 1)) / std.view(-1, 1, 1)
        correct += int((model(normalized).argmax(1) == labels).sum())
    return correct / len(held_out)


def seconds_to_reach(target: float, seconds: Sequence[float], accuracies: Sequence[float | None]) -> float:
    """The first of the cumulated `seconds` at which the accuracy is at least `target`; infinite if it never is."""
    reached = (now for now, value in zip(seconds, accuracies, strict=True) if value is not None and value >= target)
    return next(reached, math.inf)


def recipe_seconds(run: Path, target: float, split: str) -> float:
    """Training seconds after which a finished run had reached `target`; on the test split, which it reads once, all."""
    summary = read_summary(run)
    if split == "test":
        return seconds_to_reach(target, [summary["train_seconds"]], [summary["test_accuracy"]])
    metrics = read_metrics(run)
    seconds = accumulate(line["seconds"] for line in metrics)
    return seconds_to_reach(target, list(seconds), [line["val_accuracy"] for line in metrics])


def learn(work: Work, by_hand: ByHand, options: argparse.Namespace, report: dict[str, Any]) -> None:
    """Trains the epochs; the report holds each and is written after each."""
    splits = work.splits
    held_out = splits.val if options.split == "val" else splits.read_test()
    if not held_out:
        sys.exit(f"--split {options.split}: has no images; choose the other, or set data.val_fraction")
    total = 0.0
    for epoch in range(1, options.epochs + 1):
        total += by_hand.epoch_seconds()
        share = accuracy(by_hand.model, held_out, splits.mean, splits.std)
        report["epochs"].append({"epoch": epoch, "seconds": total, "accuracy": share})
        print(f"epoch {epoch:>3}  {total:8.1f} s  {share:.2%}", flush=True)
        write(report, options.json)


def time_anew(by_hand: ByHand, options: argparse.Namespace, report: dict[str, Any]) -> None:
    """The curve of an earlier report with the seconds of steps on the machine as it is now."""
    earlier = json.loads(options.curve.read_text())
    if (earlier["overrides"], earlier["split"]) != (options.overrides, options.split):
        sys.exit(f"{options.curve}: was made with {earlier['overrides']} --split {earlier['split']}; give the same")
    steps = by_hand.step_seconds(options.steps)
    epoch_seconds = len(by_hand.loader) * statistics.median(steps)
    report["step_seconds"] = steps
    report["epochs"] = [line | {"seconds": line["epoch"] * epoch_seconds} for line in earlier["epochs"]]
    print(
        f"{statistics.median(steps):.4f} s a step ({min(steps):.4f} to {max(steps):.4f}), {epoch_seconds:.1f} an epoch"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("overrides", nargs="+", metavar="KEY=VALUE", help="experiment=fashion_fast ...")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--workers", type=int, default=0, choices=(0, 2), help="of the DataLoader")
    parser.add_argument("--split", choices=("val", "test"), default="val", help="where accuracy is measured")
    parser.add_argument("--curve", type=Path, metavar="FILE", help="take the accuracies from this report, time steps")
    parser.add_argument("--steps", type=int, default=300, help="to time with --curve")
    parser.add_argument("--runs", type=Path, nargs="+", default=[], metavar="DIR", help="of the recipe")
    parser.add_argument("--json", type=Path, help="write every figure here")
    options = parser.parse_intermixed_args()
    config = compose(options.overrides)
    source = find_data(config.data)
    work = Work(config, source, read_splits(source, config.data, config.seed))
    report: dict[str, Any] = {
        "environment": describe_environment(shlex.join(sys.argv)) | {"threads": torch.get_num_threads()},
        **{key: getattr(options, key) for key in ("overrides", "split", "workers")},
        "epochs": [],
    }
    by_hand = ByHand(work, options.workers)
    if options.curve:
        time_anew(by_hand, options, report)
    else:
        learn(work, by_hand, options, report)
    conclude(report, options.runs, options.split)
    write(report, options.json)


def conclude(report: dict[str, Any], runs: Sequence[Path], split: str) -> None:
    """Adds and prints the best accuracy, when it was reached, and the same of each run."""
    accuracies = [line["accuracy"] for line in report["epochs"]]
    best = max(accuracies)
    seconds = seconds_to_reach(best, [line["seconds"] for line in report["epochs"]], accuracies)
    report |= {"best_accuracy": best, "seconds_to_best": seconds, "load_average_after": os.getloadavg(), "runs": {}}
    print(f"by hand: at best {best:.2%} {split}, first after {seconds:.1f} s")
    for run in runs:
        needed = recipe_seconds(run, best, split)
        report["runs"][str(run)] = {"seconds": needed if needed < math.inf else None, "ratio": seconds / needed}
        print(f"{run}: {needed:.1f} s, ratio {seconds / needed:.2f}")
    if runs:
        report["median_ratio"] = statistics.median(figures["ratio"] for figures in report["runs"].values())
        print(f"median ratio {report['median_ratio']:.2f}")


def write(report: dict[str, Any], path: Path | None) -> None:
    if path:  # after every epoch: what is measured outlives an interruption
        path.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
