"""The README's tables of runs, from run folders.

    python docs/results_table.py FOLDER [OVERRIDE ...] [--rows OVERRIDE ...]

Each row is one override, by default `experiment=<name>` for each of conf/experiment, composed with the overrides that
all rows share; its runs are those below FOLDER whose config, but for the seed, is the same. A run made with other
settings is therefore never in the table.
"""

import argparse
import statistics
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cnnbench.config.compose import compose
from cnnbench.config.tables import conf_folder
from cnnbench.runs.format import SUMMARY
from cnnbench.runs.identity import group_hash
from cnnbench.runs.read import read_summary

COLUMNS = ("", "test accuracy", "seeds", "gap", "parameters", "train seconds", "images/s")


def main() -> None:
    """Prints the table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("overrides", nargs="*")
    parser.add_argument("--rows", nargs="+")
    options = parser.parse_args()
    groups: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for path in options.folder.rglob(SUMMARY):
        summary = read_summary(path.parent)
        if summary["status"] == "finished":
            groups[summary["group_hash"]].append(summary)
    experiments = sorted(path.stem for path in (conf_folder() / "experiment").glob("*.yaml"))
    print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}")
    for override in options.rows or [f"experiment={name}" for name in experiments]:
        if runs := groups[group_hash(compose([override, *options.overrides]).as_dict())]:
            print(f"| {' | '.join(row(override, runs))} |")


def row(override: str, runs: Sequence[dict[str, Any]]) -> tuple[str, ...]:
    """One group of runs: mean ± standard deviation over its seeds."""
    return (
        f"`{override}`",
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
    main()
