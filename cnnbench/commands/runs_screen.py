"""What `runs` prints for people: a line for each run, as wide as the terminal at most."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.cells import cell_len, set_cell_size

from cnnbench.analysis.listing import BROKEN, NEWER
from cnnbench.analysis.metrics import METRICS
from cnnbench.console import has_room, say_lines, visible

NUMBERS = {"test %": "test_accuracy", "val %": "best_val_accuracy", "train s": "train_seconds"}
COLUMNS = ("run", "status", "differs in", "seed", *NUMBERS, "started", "tags", "error")
TO_THE_RIGHT = ("seed", *NUMBERS)
LEAST = {"run": 18, "differs in": 18, "tags": 8, "error": 18}
"""The characters down to which a column is cut where the terminal has no room."""
LEFT_OUT = ("started", "train s", "val %", "tags", "seed")
"""What is left out, one after the other, where that does not help."""
GAP, CUT = 2, "..."


def show_runs(names: Sequence[str], runs: Sequence[Mapping[str, Any]]) -> None:
    """A line for each run; what fills no line is no column."""
    rows = [dict(zip(COLUMNS, map(visible, cells(*each)), strict=True)) for each in zip(names, runs, strict=True)]
    longest = {column: max(cell_len(row[column]) for row in rows) for column in COLUMNS}
    widths = fitting({column: max(width, len(column)) for column, width in longest.items() if width})
    lines = [dict(zip(COLUMNS, COLUMNS, strict=True)), *rows]
    say_lines([(" " * GAP).join(aligned(row[c], widths[c], c) for c in widths).rstrip() for row in lines])


def cells(name: str, run: Mapping[str, Any]) -> list[str]:
    """The run in the words of the table."""
    numbers = [METRICS[key].write(run[key]) if run[key] is not None else "" for key in NUMBERS.values()]
    seed = "" if run["seed"] is None else str(run["seed"])
    started = (run["started"] or "")[:16].replace("T", " ")
    error = run["error"] if run["status"] in ("failed", BROKEN, NEWER) else None
    first = ((error or "").splitlines() or [""])[0].removeprefix(f"{run['path']}: ").removeprefix(f"{run['path']}/")
    return [name, run["status"], run["label"], seed, *numbers, started, " ".join(run["tags"]), first]


def fitting(widths: dict[str, int]) -> dict[str, int]:
    """The columns that there is room for, and how wide each is: the widest are cut first."""
    least = {column: min(width, LEAST.get(column, width)) for column, width in widths.items()}
    for column in LEFT_OUT:
        if not has_room(whole(least)):
            widths, least = ({c: w for c, w in each.items() if c != column} for each in (widths, least))
    widths = dict(widths)
    while not has_room(whole(widths)) and (cuttable := [c for c in widths if widths[c] > least[c]]):
        widths[max(cuttable, key=widths.__getitem__)] -= 1
    return widths


def whole(widths: Mapping[str, int]) -> int:
    """The characters of a line."""
    return sum(widths.values()) + GAP * (len(widths) - 1)


def aligned(text: str, width: int, column: str) -> str:
    """The text in so many characters; of the path of a run the end is kept, of anything else the beginning."""
    if cell_len(text) > width:
        text = CUT + text[-(width - len(CUT)) :] if column == "run" else set_cell_size(text, width - len(CUT)) + CUT
    return text.rjust(width) if column in TO_THE_RIGHT else set_cell_size(text, width)
