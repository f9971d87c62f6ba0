"""metrics.csv in the run folder: a row for each epoch, for spreadsheets and R."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cnnbench.disk import write_atomically
from cnnbench.runs.read import read_metrics
from cnnbench.spreadsheet import to_csv
from cnnbench.trackers.tracker import Beginning, Numbers, flat

NAME = "metrics.csv"


class MetricsCsv:
    """Replaces metrics.csv after each epoch by what metrics.jsonl holds, for later epochs may have further columns."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def start(self, beginning: Beginning) -> None:
        self._write()

    def log_epoch(self, numbers: Numbers) -> None:
        self._write()

    def finish(self, summary: Mapping[str, Any]) -> None:
        self._write()

    def _write(self) -> None:
        rows = [flat(line) for line in read_metrics(self.folder)]
        columns = dict.fromkeys(name for row in rows for name in row)
        table = to_csv(list(columns), [[row.get(name) for name in columns] for row in rows])  # null: an empty cell
        write_atomically(self.folder / NAME, table)
