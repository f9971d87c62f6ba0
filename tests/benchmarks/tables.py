"""What the simulations share: tables whose rows are a share with its interval, printed as they come and written."""

import argparse
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np

Table = Callable[[np.random.Generator, int], Iterator[dict]]


def share(hits) -> dict:
    """The share with its 95 % Wilson interval."""
    n, p, z = len(hits), sum(hits) / len(hits), 1.96
    middle, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + (z / (2 * n)) ** 2)
    return {"share": p, "low": (middle - half) / (1 + z * z / n), "high": (middle + half) / (1 + z * z / n), "of": n}


def run_tables(description: str | None, tables: Mapping[str, Table], count: str, **facts) -> None:
    """The command of a simulation. `count`: what --experiments counts; `facts` stand in the file beside the tables."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--experiments", type=int, default=2000, help=count)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default=",".join(tables), help="the tables, separated by commas")
    parser.add_argument("--json", type=Path, help="write every figure here")
    options = parser.parse_args()
    report: dict = {"experiments": options.experiments, "seed": options.seed, **facts}
    for name in options.only.split(","):
        started = time.perf_counter()
        print(f"\n{name}")
        report[name] = []
        for row in tables[name](np.random.default_rng(options.seed), options.experiments):
            report[name].append(row)
            print("  " + spelled(row), flush=True)
        print(f"  ({time.perf_counter() - started:.0f} s)")
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n")


def spelled(row: dict) -> str:
    """One line: the share with its interval, then what was simulated and what stands beside it."""
    shown = {key: value for key, value in row.items() if key not in ("share", "low", "high", "of")}
    rest = "  ".join(
        f"{key} {value:.3g}" if isinstance(value, float) else f"{key} {value}" for key, value in shown.items()
    )
    return f"{row['share']:6.1%} ({row['low']:.1%} to {row['high']:.1%} of {row['of']:,})  {rest}"
