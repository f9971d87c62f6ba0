"""What the advisor's choice is worth while another process keeps one core busy.

A process spins; the advisor is asked as at the start of a run; then epochs under its choice and under every number of
threads take turns. The figure is the choice's throughput as a share of what the best number of threads gives.

    python tests/benchmarks/busy_machine.py [--model deep] [--steps 20] [--rounds 5] [--spinners 1] [--json FILE]
"""

import argparse
import json
import multiprocessing
import shlex
import statistics
import sys
import time
from pathlib import Path

from work import BATCH, MODELS, own_training, prepare

from cnnbench.assemble import configured_device
from cnnbench.device import TORCH_THREADS
from cnnbench.loop import train_one_epoch
from cnnbench.machine import LoadMeter, describe_environment
from cnnbench.speed.advisor import advise
from cnnbench.speed.stopwatch import take_turns

SECONDS_OF_LOAD = 1.0  # before the advisor looks


def spin() -> None:
    while True:
        pass


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=MODELS, default="deep")
    parser.add_argument("--steps", type=int, default=20, help="batches of 128 in an epoch")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--spinners", type=int, default=1, help="processes that keep a core busy each")
    parser.add_argument("--json", type=Path, help="write every figure here")
    options = parser.parse_args()
    spinners = [multiprocessing.Process(target=spin, daemon=True) for _ in range(options.spinners)]
    for spinner in spinners:
        spinner.start()
    load = LoadMeter()
    time.sleep(SECONDS_OF_LOAD)
    work = prepare(options.model, options.steps)
    busy = load.busy_cores()
    chosen, advice = advise(work.config, work.splits, work.model(), configured_device(work.config), busy)
    speeds = measure(options, chosen.policy())
    best = max(speeds, key=lambda threads: statistics.median(speeds[threads]))
    shares = [ours / theirs for ours, theirs in zip(speeds[chosen.threads], speeds[best], strict=True)]
    print(f"{busy:.2f} cores busy; the advisor chose {chosen.policy()}")
    for threads, values in speeds.items():
        print(
            f"{threads} threads: {statistics.median(values):,.0f} images/s ({min(values):,.0f} to {max(values):,.0f})"
        )
    print(f"the choice gives {statistics.median(shares):.0%} of the best, {best} threads")
    if options.json:
        report = {"environment": describe_environment(shlex.join(sys.argv)), "busy_cores": busy, "advice": advice}
        report |= {"images_per_second": speeds, "best_threads": best, "share_of_the_best": shares}
        options.json.write_text(json.dumps(report, indent=2) + "\n")


def measure(options: argparse.Namespace, policy: dict) -> dict[int, list[float]]:
    """Images per second with every number of threads, in turns; the rest of the policy is the advisor's."""
    epochs = {}
    for threads in range(1, TORCH_THREADS + 1):
        settings = [f"device.{key}={str(value).lower()}" for key, value in (policy | {"threads": threads}).items()]
        training, batches = own_training(prepare(options.model, options.steps, "device=cpu", *settings))

        def epoch(training=training, batches=batches) -> None:
            training.device.activate()
            train_one_epoch(training, batches, lambda *_: None)

        epochs[str(threads)] = epoch
    times = take_turns(epochs, options.rounds)
    images = options.steps * BATCH
    return {int(threads): [images / seconds for seconds in values] for threads, values in times.items()}


if __name__ == "__main__":
    main()
