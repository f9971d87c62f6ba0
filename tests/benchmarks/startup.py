"""Seconds from Enter to the first training step, against `import torch` alone, in turns.

The run's first batch ends it; data and advice are in the cache from a first run that does not count.

    python tests/benchmarks/startup.py [OVERRIDE ...] [--rounds 5]
"""

import argparse
import statistics
import subprocess
import sys
import tempfile

from cnnbench.speed.stopwatch import take_turns

FIRST_STEP = """
import sys
from cnnbench.cli import run
from cnnbench import recorder
def leave(self, training, images): raise KeyboardInterrupt
recorder.Recorder.after_batch = leave
run(["train", *sys.argv[1:]])
"""
LIGHT = "import sys; from cnnbench.cli import run; run(sys.argv[1:])"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("overrides", nargs="*")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:

        def python(code: str, *arguments: str) -> None:
            subprocess.run([sys.executable, "-c", code, *arguments], cwd=folder, capture_output=True)

        times = take_turns(
            {
                "import torch": lambda: python("import torch"),
                "train, to the first step": lambda: python(FIRST_STEP, *options.overrides),
                "--help": lambda: python(LIGHT, "--help"),
                "list": lambda: python(LIGHT, "list"),
            },
            options.rounds,
        )
    medians = {name: statistics.median(seconds) for name, seconds in times.items()}
    for name, seconds in times.items():
        print(f"{name:<26}{medians[name]:.2f} s ({min(seconds):.2f} to {max(seconds):.2f})")
    limit, start = 1.25 * medians["import torch"] + 1, medians["train, to the first step"]
    print(f"1.25 x import torch + 1 s = {limit:.2f} s; the start takes {start / limit:.2f} of it")


if __name__ == "__main__":
    main()
