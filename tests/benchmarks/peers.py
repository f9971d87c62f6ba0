"""Training throughput of cnnbench against what one would use instead, side by side in one run on the same work.

Each contender is a process that trains an epoch when it is its turn. A round is one epoch of each; a ratio is taken
within a round, against the peer's best variant in it. The table shows medians over the rounds, and their range.
Peers other than the loop train `deep` only. Everything runs on the processor; leave it to this script alone.

    python tests/benchmarks/peers.py [--models deep simple] [--peers loop keras] [--steps 40] [--overhead] [--json FILE]
"""

import argparse
import importlib.metadata
import importlib.util
import json
import os
import shlex
import statistics
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from children import Child, Epoch
from contenders import CONTENDERS, OURS, OURS_IN_FP32
from work import BATCH, MODELS, own_device, prepare
from yardsticks import overhead_ratios, peak_flops, training_flops

from cnnbench.machine import describe_environment

PEERS = [name for name in CONTENDERS if name not in (OURS, OURS_IN_FP32)]
PACKAGES = ("torch", "torchvision", "numpy", "pillow", "lightning", "keras", "fastai")
IDLE_USE = 0.02  # of a core; more would disturb the others


def main() -> None:
    options = parse_options()
    report: dict[str, Any] = {
        "environment": describe_environment(shlex.join(sys.argv)),
        "versions": {name: version(name) for name in PACKAGES},
        "peak_flops": peaks(),
        "steps": options.steps,
        "batch_size": BATCH,
        "models": {},
    }
    for model in options.models:
        peers = options.peers if model == "deep" else [peer for peer in options.peers if peer == "loop"]
        report["models"][model] = compare(model, peers, options.steps, options.rounds)
        if options.overhead:
            ratios = overhead_ratios(model, options.steps, options.rounds)
            report["models"][model]["overhead"] = summarize(ratios)
        report["peak_flops"] = {name: max(peak, report["peak_flops"][name]) for name, peak in peaks().items()}
    report["load_average_after"] = os.getloadavg()
    print_report(report)
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n")


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=PEERS)
    parser.add_argument("--steps", type=int, default=40, help="batches of 128 in an epoch")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--overhead", action="store_true", help="also time the loop against its bare training steps")
    parser.add_argument("--json", type=Path, help="write every figure here")
    options = parser.parse_args()
    missing = [peer for peer in options.peers if peer != "loop" and not importlib.util.find_spec(peer)]
    if missing:
        parser.error(f"--peers {' '.join(missing)}: not installed; pip install -e '.[bench]'")
    if torch.cuda.is_available() or torch.mps.is_available():
        parser.error("a GPU is present: the peers are set up for the processor, where the comparison would be unfair")
    return options


def version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def peaks() -> dict[str, float]:
    """What the machine can do at this moment, by number format."""
    return {name: peak_flops(getattr(torch, name)) for name in ("float32", "bfloat16")}


def compare(model: str, peers: list[str], steps: int, rounds: int) -> dict[str, Any]:
    """All figures of one model: images per second of every variant, and cnnbench's ratio to each peer, by round."""
    variants = [(name, variant) for name in [*peers, OURS] for variant in CONTENDERS[name]]
    epochs: dict[tuple[str, str], list[Epoch]] = {key: [] for key in variants}
    with ExitStack() as stack:
        children = {key: stack.enter_context(Child(*key, model, steps)) for key in variants}
        for _ in range(rounds):
            for key, child in children.items():
                epochs[key].append(child.epoch())
    speeds = {key: [steps * BATCH / epoch.seconds for epoch in epochs[key]] for key in variants}
    best = {name: best_variant(name, speeds) for name in [*peers, OURS]}
    work = prepare(model, steps)
    return {
        "images_per_second": {f"{name}, {variant}": speeds[name, variant] for name, variant in variants},
        "best_images_per_second": {name: summarize(values) for name, values in best.items()},
        "ratios": {
            peer: summarize([ours / theirs for ours, theirs in zip(best[OURS], best[peer], strict=True)])
            for peer in peers
        },
        "policy": own_device(work).policy(),
        "training_flops": training_flops(work.model(), work.source.image_shape),
        "idle_use": {f"{name}, {variant}": idle_use(epochs[name, variant]) for name, variant in variants},
    }


def best_variant(name: str, speeds: dict[tuple[str, str], list[float]]) -> list[float]:
    """The highest throughput of a contender's variants in each round."""
    return [max(values) for values in zip(*(speeds[name, variant] for variant in CONTENDERS[name]), strict=True)]


def idle_use(epochs: list[Epoch]) -> float:
    """How much of a core a contender used while others had their turn."""
    return sum(epoch.used_waiting for epoch in epochs) / sum(epoch.waited for epoch in epochs)


def summarize(values: list[float]) -> dict[str, Any]:
    return {"median": statistics.median(values), "min": min(values), "max": max(values), "rounds": values}


def print_report(report: dict[str, Any]) -> None:
    """The table of all models, and below it what it was measured against."""
    print("| model | peer | its images/s | cnnbench's images/s | ratio |\n|---|---|---|---|---|")
    for model, figures in report["models"].items():
        best = figures["best_images_per_second"]
        for peer, ratio in figures["ratios"].items():
            print(
                f"| {model} | {peer} | {show(best[peer], ',.0f')} | {show(best[OURS], ',.0f')} | {show(ratio, '.2f')} |"
            )
    peak = report["peak_flops"]
    print(f"\nPeak: {peak['float32'] / 1e9:,.0f} GFLOP/s in fp32, {peak['bfloat16'] / 1e9:,.0f} in bf16.")
    for model, figures in report["models"].items():
        flops = figures["training_flops"]
        share = flops * figures["best_images_per_second"][OURS]["median"] / peak["bfloat16"]
        policy = ", ".join(f"{key} {value}" for key, value in figures["policy"].items())
        print(f"{model}: {policy}; {flops / 1e6:,.0f} MFLOP per image, {share:.0%} of the bf16 peak.")
        if "overhead" in figures:
            print(f"{model}: the loop takes {show(figures['overhead'], '.3f')} times its bare steps.")
        for name, use in figures["idle_use"].items():
            if use > IDLE_USE:
                print(f"{model}: {name} used {use:.0%} of a core while it waited; the figures are disturbed.")
    before, after = report["environment"]["load_average"][0], report["load_average_after"][0]
    print(f"Load average {before:.2f} before, {after:.2f} after.")


def show(figures: dict[str, Any], style: str) -> str:
    return f"{figures['median']:{style}} ({figures['min']:{style}} to {figures['max']:{style}})"


if __name__ == "__main__":
    main()
