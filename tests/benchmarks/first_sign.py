"""How long each verb is silent: seconds from Enter to the first sign of life, to the first step and to the result.

Each command runs on a terminal of its own (a pty), as at a prompt; a sign of life is the first character that can be
seen. Rounds take turns through the commands; medians, and their range.

    python tests/benchmarks/first_sign.py [--rounds 5] [--json FILE]
"""

import argparse
import json
import os
import pty
import re
import select
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from cnnbench.machine import describe_environment

PROGRAM = [sys.executable, "-c", "from cnnbench.cli import main; main()"]
TRAIN = ["train", "device=cpu", "device.precision=fp32", "epochs=10"]
COMMANDS = {
    "--help": ["--help"],
    "list": ["list"],
    "train": [*TRAIN, "hydra.run.dir=run-{round}"],
    "train -m": [*TRAIN, "-m", "seed=0,1", "hydra.sweep.dir=sweep-{round}"],
    "train, wrong key": ["train", "lr=0.1"],
    "evaluate": ["evaluate", "run-0"],
    "compare": ["compare", "sweep-0"],
    "report": ["report", "sweep-0"],
    "doctor": ["doctor"],
}
ESCAPES = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]|\r|\n| ")
FIRST_STEP = re.compile(rb"loss \d")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write every figure here")
    options = parser.parse_args()
    times: dict[str, list[dict[str, float]]] = {name: [] for name in COMMANDS}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(options.rounds):
            for name, command in COMMANDS.items():
                times[name].append(run([part.format(round=number) for part in command], folder))
    print("| command | first sign of life | first step | result |\n|---|---|---|---|")
    for name, measured in times.items():
        print(f"| `{name}` | {' | '.join(spread(measured, what) for what in ('sign', 'step', 'end'))} |")
    if options.json:
        report = {"environment": describe_environment(shlex.join(sys.argv)), "seconds": times}
        options.json.write_text(json.dumps(report, indent=2) + "\n")


def run(command: list[str], folder: str) -> dict[str, float]:
    """Seconds until something is seen, until a loss is, and until the end."""
    ours, theirs = pty.openpty()
    started, seen = time.perf_counter(), b""
    variables = os.environ | {"TERM": "xterm-256color", "COLUMNS": "100", "LINES": "40"}
    process = subprocess.Popen(
        [*PROGRAM, *command], stdin=theirs, stdout=theirs, stderr=theirs, cwd=folder, env=variables
    )
    os.close(theirs)
    times: dict[str, float] = {}
    while True:
        ready, _, _ = select.select([ours], [], [], 0.01)
        try:
            seen += os.read(ours, 65536) if ready else b""
        except OSError:  # the other end is closed
            break
        now = time.perf_counter() - started
        if ESCAPES.sub(b"", seen):
            times.setdefault("sign", now)
        if FIRST_STEP.search(seen):
            times.setdefault("step", now)
    process.wait()
    os.close(ours)
    return times | {"end": time.perf_counter() - started}


def spread(measured: list[dict[str, float]], what: str) -> str:
    values = [times[what] for times in measured if what in times]
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})" if values else ""


if __name__ == "__main__":
    main()
