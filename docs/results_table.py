"""The README's table of experiments, from run folders.

    python docs/results_table.py FOLDER [OVERRIDE ...]

Each row is an experiment of conf/experiment composed with the overrides; its runs are those below FOLDER whose
config, but for the seed, is the same. A run made with other settings is therefore never in the table.
"""

import statistics
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cnnbench.app import compose
from cnnbench.conf import conf_folder
from cnnbench.runs import SUMMARY, group_hash, read_summary

COLUMNS = ("experiment", "test accuracy", "seeds", "gap", "parameters", "train seconds", "images/s")


def main(folder: str, *overrides: str) -> None:
    """Prints the table in Markdown."""
    groups: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for path in Path(folder).rglob(SUMMARY):
        summary = read_summary(path.parent)
        if summary["status"] == "finished":
            groups[summary["group_hash"]].append(summary)
    print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}")
    for path in sorted((conf_folder() / "experiment").glob("*.yaml")):
        runs = groups[group_hash(compose([f"experiment={path.stem}", *overrides]).as_dict())]
        if runs:
            print(f"| {' | '.join(row(path.stem, runs))} |")


def row(name: str, runs: Sequence[dict[str, Any]]) -> tuple[str, ...]:
    """One experiment: mean ± standard deviation over its seeds."""
    return (
        f"`{name}`",
        f"{spread([100 * run['test_accuracy'] for run in runs], '.2f')} %",
        str(len(runs)),
        f"{statistics.mean(100 * run['train_val_gap'] for run in runs):.1f}",
        f"{runs[0]['parameters']:,}",
        spread([run["train_seconds"] for run in runs], ".0f"),
        f"{statistics.median(run['images_per_second'] for run in runs):,.0f}",
    )


def spread(values: Sequence[float], digits: str) -> str:
    """`mean ± sd`, or the value alone where there is one."""
    mean = format(statistics.mean(values), digits)
    return f"{mean} ± {format(statistics.stdev(values), digits)}" if len(values) > 1 else mean


if __name__ == "__main__":
    main(*sys.argv[1:])
