"""Rows as CSV that is safe to open: no cell is taken for a formula, no character is invisible."""

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Any

from cnnbench.console import visible

FORMULA = ("=", "+", "-", "@")


def to_csv(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> bytes:
    """The rows below their columns, in UTF-8. Text that a spreadsheet would run as a formula begins with a '."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for row in (columns, *rows):
        writer.writerow([_harmless(cell) for cell in row])
    return text.getvalue().encode()


def _harmless(cell: Any) -> Any:
    if not isinstance(cell, str):
        return cell
    shown = visible(cell)
    return f"'{shown}" if shown.startswith(FORMULA) else shown
