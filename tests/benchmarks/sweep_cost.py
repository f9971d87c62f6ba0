"""What a sweep costs beyond the training of its jobs, against plain Hydra and a shell loop, in turns.

    python tests/benchmarks/sweep_cost.py [OVERRIDE ...] [--jobs 12] [--seconds 5] [--rounds 3] [--json FILE]

The same jobs, which differ by their seed, are run in four ways: by `cnnbench train -m`, one after the other; by two
workers of one thread each; by Hydra's own multirun around `run_experiment`, in one process; by a command for each. The
number of epochs is chosen so that a job trains about so many seconds. What counts is the wall time from Enter to the
prompt, as a multiple of the `train_seconds` of the jobs of that way; and how many jobs a minute two workers do against
one.
"""

import argparse
import json
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from cnnbench.config.tables import conf_folder

DEFAULT = ["data=synthetic", "data.image_shape=[1,28,28]", "data.train_images=10000", "data.test_images=1000"]
CNNBENCH = [sys.executable, "-c", "from cnnbench.cli import main; main()"]
PLAIN_HYDRA = f"""
import hydra
from hydra.core.hydra_config import HydraConfig
from cnnbench.config.composition import register_resolvers
from cnnbench.config.sweep_settings import check_composed

@hydra.main(version_base="1.3", config_path={str(conf_folder())!r}, config_name="config")
def main(config):
    from cnnbench.experiment import run_experiment

    run_experiment(check_composed(config), HydraConfig.get().runtime.output_dir)

register_resolvers()
main()
"""


def ways(overrides: list[str], jobs: int, folder: Path) -> dict[str, list[str]]:
    """The command of each way to run the jobs into `folder`."""
    seeds, where = f"seed=range({jobs})", f"hydra.sweep.dir={folder}"
    one = shlex.join([*CNNBENCH, "train", *overrides])
    loop = f"for seed in $(seq 0 {jobs - 1}); do {one} seed=$seed hydra.run.dir={folder}/$seed; done"
    return {
        "train -m": [*CNNBENCH, "train", "-m", *overrides, seeds, where],
        "two workers": [*CNNBENCH, "train", "-m", *overrides, seeds, where, "sweep=joblib", "hydra.launcher.n_jobs=2"],
        "plain Hydra": [sys.executable, "-c", PLAIN_HYDRA, "-m", *overrides, seeds, where],
        "shell loop": ["bash", "-c", loop],
    }


def measure(command: list[str], folder: Path) -> dict[str, float]:
    """Wall seconds of the command, and the seconds that its jobs say they trained."""
    began = time.perf_counter()
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, cwd=folder.parent)
    wall = time.perf_counter() - began
    if done.returncode:
        sys.exit(done.stderr[-2000:])
    summaries = [json.loads(path.read_text()) for path in folder.glob("*/summary.json")]
    trained = sum(summary["train_seconds"] for summary in summaries)
    runs = sum(summary["total_seconds"] for summary in summaries)
    return {"jobs": len(summaries), "wall": wall, "trained": trained, "runs": runs, "ratio": wall / trained}


def epochs_for(seconds: float, overrides: list[str], folder: Path) -> int:
    """How many epochs take so long."""
    measured = measure(
        [*CNNBENCH, "train", *overrides, "epochs=4", f"hydra.run.dir={folder}/first/0"], folder / "first"
    )
    return max(1, round(4 * seconds / measured["trained"]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("overrides", nargs="*", default=DEFAULT, metavar="OVERRIDE")
    parser.add_argument("--jobs", type=int, default=12)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write every figure here")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        epochs = epochs_for(options.seconds, options.overrides, folder)
        overrides = [*options.overrides, f"epochs={epochs}"]
        print(f"{options.jobs} jobs of {epochs} epochs, {os.cpu_count()} cores: {shlex.join(overrides)}", flush=True)
        found: dict[str, list[dict[str, float]]] = {}
        for number in range(options.rounds):
            for name in ways(overrides, options.jobs, folder):
                place = folder / f"{number}-{name.replace(' ', '')}"
                found.setdefault(name, []).append(measure(ways(overrides, options.jobs, place)[name], place))
                print(f"  {name:12} {spelled(found[name][-1])}", flush=True)
    for name, rounds in found.items():
        print(f"{name:12} {spread([one['ratio'] for one in rounds])} of its training seconds")
    gains = [one["wall"] / two["wall"] for one, two in zip(found["train -m"], found["two workers"], strict=True)]
    print(f"two workers do {spread(gains)} times as many jobs a minute as one")
    if options.json:
        options.json.write_text(json.dumps({"epochs": epochs, "overrides": overrides, "ways": found}, indent=2) + "\n")


def spread(values: list[float]) -> str:
    return f"{statistics.median(values):.3f} ({min(values):.3f} to {max(values):.3f})"


def spelled(one: dict[str, float]) -> str:
    return f"{one['wall']:6.1f} s, {one['trained']:.1f} s of training, {one['runs']:.1f} s of runs: {one['ratio']:.3f}"


if __name__ == "__main__":
    main()
