"""What `runs` prints for people: a line for each run, as wide as the terminal at most."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.cells import cell_len, set_cell_size

from cnnbench.analysis.listing import BROKEN, NEWER, Listed
from cnnbench.analysis.metrics import METRICS, number_of
from cnnbench.console import has_room, say_lines, visible

NUMBERS = {"test %": "test_accuracy", "val %": "best_val_accuracy", "train s": "train_seconds"}
COLUMNS = ("run", "status", "differs in", "seed", *NUMBERS, "started", "tags", "error")
TO_THE_RIGHT = ("seed", *NUMBERS)
LEAST = {"run": 17, "differs in": 17, "tags": 8, "error": 17}
"""The characters down to which a column is cut where the terminal has no room."""
LEFT_OUT = ("started", "train s", "val %", "tags", "seed")
"""What is left out, one after the other, where that does not help."""
GAP, CUT = 2, "..."


def show_runs(folders: Sequence[Path], runs: Sequence[Listed], named: Mapping[Path, str]) -> None:
    """A line for each run, its path relative to the folder where there is one; what fills no line is no column."""
    above = os.path.join(folders[0], "") if len(folders) == 1 else ""
    rows = [list(map(visible, cells(run, above, named.get(run.path, "")))) for run in runs]
    longest = {column: max(map(room_of, texts)) for column, texts in zip(COLUMNS, zip(*rows, strict=True), strict=True)}
    widths = fitting({column: max(width, len(column)) for column, width in longest.items() if width})
    kept = [(column, widths[column], place) for place, column in enumerate(COLUMNS) if column in widths]
    lines = [[aligned(row[place], width, column) for column, width, place in kept] for row in (COLUMNS, *rows)]
    say_lines([(" " * GAP).join(line).rstrip() for line in lines])


def cells(run: Listed, above: str, label: str) -> list[str]:
    """The run in the words of the table."""
    numbers = [number_of(run.summary, key) for key in NUMBERS.values()]
    written = ["" if n is None else METRICS[key].write(n) for n, key in zip(numbers, NUMBERS.values(), strict=True)]
    seed = "" if run.seed is None else str(run.seed)
    started = (run.started or "")[:16].replace("T", " ")
    path = str(run.path)
    error = run.error if run.error and run.status in ("failed", BROKEN, NEWER) else ""
    first = error.split("\n")[0].removeprefix(f"{path}: ").removeprefix(f"{path}/")
    return [path.removeprefix(above), run.status, label, seed, *written, started, " ".join(run.tags), first]


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


def room_of(text: str) -> int:
    """The characters that a text takes on a terminal: some take two."""
    return len(text) if text.isascii() else cell_len(text)


def aligned(text: str, width: int, column: str) -> str:
    """The text in so many characters; of the path of a run the end is kept, of anything else the beginning."""
    if room_of(text) > width:
        text = CUT + text[len(CUT) - width :] if column == "run" else set_cell_size(text, width - len(CUT)) + CUT
    blanks = " " * (width - room_of(text))
    return blanks + text if column in TO_THE_RIGHT else text + blanks
