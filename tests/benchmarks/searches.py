"""What each search finds in a made-up landscape, whose top is known, in how many trials and epochs, against random.

    python tests/benchmarks/searches.py [--trials 200] [--searches 10] [--json FILE]

The real search draws and judges; instead of a training, a job comes to what the landscape says of its optimizer, lr,
momentum, weight decay and dropout, with noise as between seeds. Learning curves cross: some settings are slow at first.
Regret is how many points of accuracy, without the noise, the trial that a search would choose lies below the top.
"""

import argparse
import itertools
import json
import math
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
from run_folders import make_run

from cnnbench.config.composition import Composer
from cnnbench.config.overrides import groups_of
from cnnbench.config.run_config import RunConfig
from cnnbench.config.sweep_settings import SearchSettings
from cnnbench.sweeps import search
from cnnbench.sweeps.jobs import Job
from cnnbench.sweeps.marks import is_stopped
from cnnbench.sweeps.search import Search
from cnnbench.sweeps.space import search_space
from cnnbench.sweeps.study import open_study

NUMBERS = [
    "optimizer.lr=tag(log,interval(1e-4,1))",
    "optimizer.weight_decay=tag(log,interval(1e-6,1e-2))",
    "model.dropout=interval(0,0.7)",
]
SPACES = {
    "three numbers": ["optimizer=sgd", *NUMBERS],
    "three numbers, one choice": ["optimizer=sgd,adam,muon", *NUMBERS],
}
BEST = {"sgd": (0.92, -0.8), "adam": (0.915, -2.8), "muon": (0.93, -1.5)}  # the top of each, and the log10 of its lr
TOP = {"three numbers": 0.92, "three numbers, one choice": 0.93}
NOISE = 0.003  # standard deviation between seeds
EPOCHS = 27
WAYS = {
    "random": {"sampler": "random"},
    "tpe": {"sampler": "tpe"},
    "cmaes": {"sampler": "cmaes"},
    "tpe, stop_hopeless": {"sampler": "tpe", "stop_hopeless": True},
    "halving": {"sampler": "random", "reduction": 3},
}
LOOKS = (20, 50, 100)
COMPOSER = Composer()


def height(config: RunConfig) -> float:
    """What the settings come to in the mean of many seeds."""
    top, lr = BEST[config.optimizer["name"]]
    loss = 0.04 * (math.log10(config.optimizer["lr"]) - lr) ** 2
    loss += 0.004 * (math.log10(config.optimizer["weight_decay"]) + 2.8) ** 2
    loss += 0.15 * (config.model["dropout"] - 0.1) ** 2
    return max(0.1, top - loss)


class Landscape:
    """Runs jobs by writing what they come to; `epochs` is how many they would have trained in all."""

    searched: Search

    def __init__(self, folder: Path) -> None:
        self.folder, self.epochs = folder, 0

    def __call__(self, jobs: Sequence[Job], pause_after: int | None) -> None:
        for job in jobs:
            rng = np.random.default_rng(int(job.config_hash[:8], 16))
            final, pace = height(job.config) + NOISE * rng.standard_normal(), rng.uniform(8, 12)
            curve = [final * (1 - math.exp(-pace * epoch / EPOCHS)) for epoch in range(1, EPOCHS)] + [final]
            reached = self.train(self.folder / job.folder, curve, pause_after or EPOCHS)
            status = "finished" if reached == EPOCHS else "interrupted"
            path = self.folder / job.folder
            make_run(path, None, best_val_accuracy=final, status=status, config_hash=job.config_hash)

    def train(self, path: Path, curve: Sequence[float], until: int) -> int:
        """Goes on with a run, epoch by epoch, until it is stopped; gives back how many there are."""
        path.mkdir(exist_ok=True)
        metrics = path / "metrics.jsonl"
        before = len(metrics.read_text().splitlines()) if metrics.exists() else 0
        for epoch in range(before + 1, until + 1):
            with metrics.open("a") as file:
                file.write(json.dumps({"epoch": epoch, "val_accuracy": curve[epoch - 1]}) + "\n")
            self.epochs += 1
            if self.searched.settings.stop_hopeless:
                self.searched._report(self.searched._begun()[0], path, EPOCHS)
                if is_stopped(path):
                    return epoch
        return until


def regrets(overrides: Sequence[str], way: str, seed: int, trials: int, top: float) -> tuple[dict[int, float], int]:
    """The regret in points after so many trials, and the epochs trained by all."""
    defaults = {"trials": trials, "objectives": ["best_val_accuracy"], "stop_hopeless": False, "reduction": None}
    settings = SearchSettings(**{**defaults, "at_once": 1, "seed": seed, **WAYS[way]})
    space, fixed = search_space([*overrides, "data=digits", f"epochs={EPOCHS}"], groups_of(None))
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        landscape = Landscape(folder)
        study = open_study(folder, settings, space)
        searched = Search(study, settings, trials, space, fixed, COMPOSER, folder, 1, landscape)
        landscape.searched = searched
        searched.go()
        done = [trial for trial in study.trials if trial.state.name == "COMPLETE"]
        found = {}
        for look in [look for look in LOOKS if look < trials] + [trials]:
            chosen = max((trial for trial in done if trial.number < look), key=lambda trial: trial.value, default=None)
            if chosen is not None:
                job = searched.job_of(chosen.number, chosen.params)
                found[look] = 100 * (top - height(job.config))
    return found, landscape.epochs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--searches", type=int, default=10)
    parser.add_argument("--json", type=Path, help="write every figure here")
    options = parser.parse_args()
    search.SECONDS_BETWEEN_LOOKS = 1e9  # a trial's epochs are reported as they are written
    rows = []
    for space, way in itertools.product(SPACES, WAYS):
        if way == "cmaes" and "choice" in space:
            continue
        found = [regrets(SPACES[space], way, seed, options.trials, TOP[space]) for seed in range(options.searches)]
        row = {"space": space, "search": way, "epochs": statistics.mean(epochs for _, epochs in found)}
        for look in found[0][0]:
            values = [regret[look] for regret, _ in found if look in regret]
            row[f"after {look}"] = (statistics.mean(values), max(values))
        rows.append(row)
        looks = "  ".join(
            f"{key} {row[key][0]:.2f} (worst {row[key][1]:.2f})" for key in row if key.startswith("after")
        )
        print(f"{space}, {way}: {looks}  {row['epochs']:,.0f} epochs", flush=True)
    if options.json:
        options.json.write_text(json.dumps(vars(options) | {"json": None, "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
