"""Seconds that `cnnbench compare` and `runs` take over many run folders, some of them broken, and a --help.

python tests/benchmarks/many_runs.py [--runs 5000] [--groups 500] [--broken 100] [--rounds 5]
"""

import argparse
import json
import random
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from run_folders import CONFIG, make_run

from cnnbench.runs.format import SUMMARY
from cnnbench.speed.stopwatch import take_turns

COMMAND = "import sys; from cnnbench.cli import run; sys.exit(run(sys.argv[1:]))"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5000)
    parser.add_argument("--groups", type=int, default=500)
    parser.add_argument("--broken", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        make_folders(Path(folder), options.runs, options.groups, options.broken)
        done = cnnbench("compare", folder, "--json")
        document = json.loads(done.stdout)
        runs = sum(group["n"] for group in document["groups"])
        print(f"{len(document['groups'])} groups of {runs} runs, {len(document['skipped'])} left out")
        cases = {
            "compare": ["compare", folder],
            "compare --json": ["compare", folder, "--json"],
            "compare --help": ["compare", "--help"],
            "runs": ["runs", folder],
            "runs --json": ["runs", folder, "--json"],
            "runs --where": ["runs", folder, "--where", "optimizer.lr>0.4 and seed<3"],
        }
        times = take_turns(
            {name: lambda words=words: cnnbench(*words) for name, words in cases.items()}, options.rounds
        )
        for name, seconds in times.items():
            median, used = statistics.median(seconds), cpu_seconds(*cases[name])
            print(f"{name:<16}{median:.2f} s ({min(seconds):.2f} to {max(seconds):.2f}), {used:.2f} s of CPU")


def make_folders(root: Path, runs: int, groups: int, broken: int) -> None:
    """Groups that differ in the learning rate, their runs in the seed; the summaries of some are cut off."""
    numbers = random.Random(0)
    for number in range(runs):
        config = {"optimizer": CONFIG["optimizer"] | {"lr": 0.1 + number % groups / 1000}}
        path = root / f"sweep{number % groups // 50}" / f"run{number}"
        make_run(path, 0.9 + numbers.gauss(0, 0.004), seed=number // groups, config=config)
        if number % (runs // broken) == 0:
            (path / SUMMARY).write_text((path / SUMMARY).read_text()[:200])


def cnnbench(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """The verb in a process of its own, as from a shell."""
    return subprocess.run([sys.executable, "-c", COMMAND, *arguments], capture_output=True, text=True, check=True)


def cpu_seconds(*arguments: str) -> float:
    """What one call takes of the processors."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    cnnbench(*arguments)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    main()
