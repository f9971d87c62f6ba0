"""The table of docs/compression.md, from run folders: trained networks and what `cnnbench compress` made of them.

    python tests/benchmarks/compressions.py outputs/compression

A table for each model: accuracy with its verdict within 0.5 points, and the clock, over seeds.
"""

import sys
from collections import defaultdict
from pathlib import Path

from cnnbench.analysis.comparison import compare_folders, comparison_document
from cnnbench.analysis.groups import find_runs
from cnnbench.runs.read import summary_of

MARGIN = 0.005
HEAD = (
    "made of it", "seeds", "test accuracy", "difference, points", "verdict within 0.5", "x as before, run alike",
    "x eager fp32", "x smaller", "parameters",
)  # fmt: skip


def main() -> None:
    by_model = defaultdict(list)
    for run in find_runs([Path(folder) for folder in sys.argv[1:]]):
        by_model[summary_of(run).get("model")].append(run)
    for model, runs in by_model.items():
        print(f"\n### `model={model}`\n")
        for line in table(comparison_document(compare_folders(runs, None, "test_accuracy", MARGIN))):
            print(line)


def table(document: dict) -> list[str]:
    """The lines of one table, in Markdown: the network itself, then what was made of it, the fastest last."""
    compared = {row["candidate"]: row for row in document["comparisons"]}
    gained = {row["group_hash"]: row for row in document["compressed"]}
    groups = sorted(document["groups"], key=lambda group: speed(gained.get(group["group_hash"])))
    rows = [cells(group, compared.get(group["group_hash"]), gained.get(group["group_hash"])) for group in groups]
    return [line(HEAD), "|" + "---|" * len(HEAD), *map(line, rows)]


def cells(group: dict, comparison: dict | None, gain: dict | None) -> list[str]:
    accuracy = f"{100 * group['mean']:.2f} ± {100 * (group['sd'] or 0):.2f} %"
    found = [name(group["label"]), str(group["n"]), accuracy]
    if comparison is None:
        found += ["", ""]
    else:
        low, high = comparison["ci95"] or (None, None)
        ends = f" [{100 * low:+.2f}, {100 * high:+.2f}]" if low is not None else ""
        found += [f"{100 * comparison['mean_difference']:+.2f}{ends}", comparison["verdict"]]
    if gain is None:
        found += ["", "1", ""]
    else:
        found += [ratio(gain["speedup"]), ratio(gain["speedup_over_eager"]), f"{gain['size_ratio']:.1f}"]
    return [*found, f"{group['parameters']:,.0f}"]


def name(label: str) -> str:
    """What was done: the label without what every one of them has."""
    parts = [part.removeprefix("compression.") for part in label.split() if part.startswith("compression")]
    chosen = [part.removeprefix("compression=").strip("[]") for part in parts if part.startswith("compression=")]
    done = chosen[0] if chosen else ""
    if "loss=distillation" in label.split():
        done = f"distill {' '.join(part for part in label.split() if part.startswith('model.'))}"
    settings = [part.partition(".")[2] for part in parts if part.startswith("filters.") or ".amount=" in part]
    return " ".join(filter(None, [done.replace(",", " + ") or "the network itself", *settings]))


def speed(gain: dict | None) -> float:
    return gain["speedup_over_eager"][0] if gain else 0.0


def ratio(ends: list) -> str:
    value, low, high = ends
    return f"{value:.2f}" + (f" [{low:.2f}, {high:.2f}]" if low is not None else "")


def line(cells: object) -> str:
    return f"| {' | '.join(cells)} |"  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
