"""One row on this processor for docs/performance.md: what it computes, and what that makes of `deep`.

The peaks are those of large matrix products on the best number of threads; each rate is that of an epoch of batches of
128x3x32x32 with random crops and flips, by the loop people write by hand and by cnnbench, in processes of their own, in
turns; a ratio is taken within a round. `auto` is the policy that the advisor chooses, `fp32` the same loop in fp32,
channels_last, on all threads.

    python tests/benchmarks/processor.py [--steps 30] [--rounds 5] [--name "AMD EPYC (Zen 4)"] [--json FILE]
"""

import argparse
import json
import os
import shlex
import statistics
import sys
from contextlib import ExitStack
from pathlib import Path

from children import Child
from contenders import CONTENDERS, OURS, OURS_IN_FP32
from work import BATCH, MODELS, own_device, prepare

from cnnbench.machine import LoadMeter, cpu_name, describe_environment
from cnnbench.speed.peak import measure_peaks

NUMBERS = ("fp32", "bf16", "fp16", "int8")
SEEN = 0.5  # seconds before and after in which the load is looked at


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=MODELS, default="deep")
    parser.add_argument("--steps", type=int, default=30, help="batches of 128 in an epoch")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--name", default=cpu_name(), help="how to call the processor")
    parser.add_argument("--json", type=Path, help="write every figure here")
    options = parser.parse_args()
    meter = LoadMeter()
    peaks = measure_peaks("cpu", NUMBERS)
    load = meter.load()
    policy = own_device(prepare(options.model, options.steps)).policy()  # kept, so that the process asks for no other
    speeds = measure(options)
    later = measure_peaks("cpu", NUMBERS)
    peaks = {name: max(peaks.get(name, 0.0), later.get(name, 0.0)) for name in NUMBERS}
    print(row(options.name, peaks, policy, speeds))
    print(
        f"\n{load.busy_cores:.2f} cores were busy with others and {load.stolen:.0%} stolen while peaks were measured."
    )
    if options.json:
        report = {"environment": describe_environment(shlex.join(sys.argv)), "peaks": peaks, "policy": policy}
        report |= {"images_per_second": speeds, "busy_cores": load.busy_cores, "stolen": load.stolen}
        options.json.write_text(json.dumps(report, indent=2) + "\n")


def measure(options: argparse.Namespace) -> dict[str, list[float]]:
    """Images per second of the loop (its best variant in each round) and of cnnbench both ways, by round."""
    variants = [(name, variant) for name in ("loop", OURS, OURS_IN_FP32) for variant in CONTENDERS[name]]
    speeds: dict[str, list[list[float]]] = {name: [] for name, _ in variants}
    with ExitStack() as stack:
        children = {key: stack.enter_context(Child(*key, options.model, options.steps)) for key in variants}
        for _ in range(options.rounds):
            this_round: dict[str, list[float]] = {name: [] for name in speeds}
            for (name, _), child in children.items():
                this_round[name].append(options.steps * BATCH / child.epoch().seconds)
            for name, values in this_round.items():
                speeds[name].append(values)
    return {name: [max(values) for values in rounds] for name, rounds in speeds.items()}


def row(name: str, peaks: dict[str, float], policy: dict, speeds: dict[str, list[float]]) -> str:
    """The table with its head."""
    head = ["processor", "cores", *(f"{numbers} peak" for numbers in NUMBERS), "by hand", "`auto`", "chosen", "ratio"]
    head += ["fp32", "ratio"]
    chosen = f"{policy['precision']}, {policy['memory_format']}, {policy['threads']} threads"
    cells = [name, str(os.cpu_count()), *(f"{peaks[numbers] / 1e9:,.0f}" for numbers in NUMBERS)]
    cells += [spread(speeds["loop"], ",.0f"), spread(speeds[OURS], ",.0f"), chosen, ratio(OURS, speeds)]
    cells += [spread(speeds[OURS_IN_FP32], ",.0f"), ratio(OURS_IN_FP32, speeds)]
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, ["---"] * len(head), cells))


def ratio(ours: str, speeds: dict[str, list[float]]) -> str:
    return f"**{spread([a / b for a, b in zip(speeds[ours], speeds['loop'], strict=True)], '.2f')}**"


def spread(values: list[float], style: str) -> str:
    return f"{statistics.median(values):{style}} ({min(values):{style}} to {max(values):{style}})"


if __name__ == "__main__":
    main()
