"""What the advisor's choice is worth: on the idle machine, beside a busy core, and with time stolen from every core.

Under each condition the advisor is asked as at the start of a run, with nothing kept from earlier; then short epochs
under its choice and under every other policy of this processor take turns. The figure is the choice's throughput as a
share of the best policy's. Asked once more, it has the answer it kept.

- idle: nobody else. What else runs here is counted and shown; it should be near 0.
- busy: a process spins.
- stolen: on every core a process of real-time priority works for 10 ms at random moments, a tenth of the time, as a
  hypervisor does that lends the core to another machine. Needs the right to such a priority (root).

    python tests/benchmarks/policies.py [--models deep simple] [--conditions idle busy stolen] [--json FILE]
"""

import argparse
import json
import multiprocessing
import os
import random
import shlex
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from work import BATCH, MODELS, own_training, prepare

from cnnbench.arithmetic import computes_in
from cnnbench.assemble import configured_device
from cnnbench.device import TORCH_THREADS, candidate_policies
from cnnbench.loop import train_one_epoch
from cnnbench.machine import LoadMeter, describe_environment
from cnnbench.speed.advisor import advice_line, advise
from cnnbench.speed.stopwatch import take_turns

SECONDS_OF_LOAD = 1.0  # before the advisor looks
SLICE_SECONDS, STOLEN_SHARE = 0.01, 0.1


def spin() -> None:
    while True:
        pass


def steal(core: int) -> None:
    os.sched_setaffinity(0, {core})
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    draw = random.Random(core)
    while True:
        time.sleep(draw.expovariate(STOLEN_SHARE / SLICE_SECONDS / (1 - STOLEN_SHARE)))
        end = time.monotonic() + SLICE_SECONDS
        while time.monotonic() < end:
            pass


CONDITIONS: dict[str, Callable[[], list[tuple[Callable[..., None], tuple]]]] = {
    "idle": list,
    "busy": lambda: [(spin, ())],
    "stolen": lambda: [(steal, (core,)) for core in sorted(os.sched_getaffinity(0))],
}


@contextmanager
def condition(name: str) -> Iterator[None]:
    """Others at work meanwhile."""
    others = [
        multiprocessing.get_context("fork").Process(target=target, args=arguments, daemon=True)
        for target, arguments in CONDITIONS[name]()
    ]
    for other in others:
        other.start()
    time.sleep(SECONDS_OF_LOAD)
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.join()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=["deep", "simple"])
    parser.add_argument("--conditions", nargs="+", choices=CONDITIONS, default=list(CONDITIONS))
    parser.add_argument("--steps", type=int, default=10, help="batches of 128 in an epoch")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write every figure here")
    options = parser.parse_args()
    report = {"environment": describe_environment(shlex.join(sys.argv)), "results": []}
    for model in options.models:
        for name in options.conditions:
            with tempfile.TemporaryDirectory() as cache, condition(name):
                os.environ["XDG_CACHE_HOME"] = cache
                report["results"].append({"model": model, "condition": name} | measure(model, options))
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n")


def measure(model: str, options: argparse.Namespace) -> dict:
    """Asks the advisor, times its choice against all policies, asks again; says what came out."""
    meter = LoadMeter()
    time.sleep(SECONDS_OF_LOAD)
    load = meter.load()
    work = prepare(model, options.steps)
    chosen, advice = advise(work.config, work.splits, work.model(), configured_device(work.config), load)
    ours = chosen.policy()
    epochs = {spell(policy): epoch_of(model, options.steps, policy) for policy in (ours, *policies())}
    times = take_turns(epochs, options.rounds)
    speeds = {name: statistics.median(options.steps * BATCH / seconds for seconds in times[name]) for name in times}
    best = max(speeds, key=speeds.get)
    shares = [theirs / mine for mine, theirs in zip(times[spell(ours)], times[best], strict=True)]
    again, later = advise(work.config, work.splits, work.model(), configured_device(work.config), load)
    print(f"{model}, {load.busy_cores:.2f} cores busy, {load.stolen:.0%} stolen: {spell(ours)}; {advice_line(advice)}")
    for name, speed in sorted(speeds.items(), key=lambda item: -item[1]):
        print(f"  {speed:8,.0f} images/s  {name}")
    print(f"  the choice gives {statistics.median(shares):.0%} of the best ({min(shares):.0%} to {max(shares):.0%})")
    print(f"  asked again: {spell(again.policy())}; {advice_line(later)}", flush=True)
    return {
        "busy_cores": load.busy_cores,
        "stolen": load.stolen,
        "chosen": ours,
        "advice": advice,
        "again": later,
        "best": best,
        "images_per_second": speeds,
        "seconds": times,
        "share_of_the_best": shares,
    }


def policies() -> Iterator[dict]:
    """Every policy of this processor but those that it emulates and compilation."""
    for precision, memory_format in candidate_policies("cpu"):
        for threads in sorted({1, TORCH_THREADS}) if computes_in(precision, "cpu") else ():
            yield {"precision": precision, "memory_format": memory_format, "compile": False, "threads": threads}


def spell(policy: dict) -> str:
    compiled = " compiled" if policy["compile"] else ""
    return f"{policy['precision']} {policy['memory_format']} {policy['threads']} threads{compiled}"


def epoch_of(model: str, steps: int, policy: dict) -> Callable[[], None]:
    settings = [f"device.{key}={str(value).lower()}" for key, value in policy.items()]
    training, batches = own_training(prepare(model, steps, "device=cpu", *settings))

    def epoch() -> None:
        training.device.activate()
        train_one_epoch(training, batches, lambda *_: None)

    return epoch


if __name__ == "__main__":
    main()
