"""`cnnbench verify`: run folders against their hashes; without one, whether this machine repeats a training."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cnnbench.commands.arguments import Parser
from cnnbench.console import say, say_json, show_table
from cnnbench.errors import DataError, UnavailableError
from cnnbench.progress import loading_torch, waiting


def main(arguments: Sequence[str]) -> None:
    """Names everything that is not as it was written.

    Raises:
        DataError: with one line for each difference in a run folder.
        UnavailableError: this machine does not repeat a training bit for bit.
    """
    parser = Parser("verify", "Every file of run folders against its hash; without one, three trainings of one seed.")
    parser.add_argument("runs", nargs="*", type=Path, metavar="RUN", help="run folders (default: try this machine)")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    options = parser.parse_args(arguments)
    if options.runs:
        verify_folders(options.runs, as_json=options.json)
    else:
        verify_machine(as_json=options.json)


def verify_folders(runs: Sequence[Path], *, as_json: bool) -> None:
    """Shows each run, then raises what differs."""
    with loading_torch():
        from cnnbench.trained.verify import verify_run

    found = []
    with waiting("comparing files with their hashes", len(runs)) as wait:
        for run in runs:
            found.append(verify_run(run))
            wait.advance()
    differences = [line for document in found for line in document["differences"]]
    if as_json:
        say_json({"runs": found})
    else:
        rows = [(document["run"], document["status"] or "-", len(document["differences"])) for document in found]
        show_table(("run", "status", "differences"), rows)
    if differences:
        raise DataError(*differences)


def verify_machine(*, as_json: bool) -> None:
    """Trains three times from one seed and shows whose weights and metrics are equal, and why others are not."""
    with loading_torch():
        from cnnbench.sweeps.repeat import repeat_training

    with waiting("training four times from one seed"):
        document = repeat_training()
    if as_json:
        say_json(document)
    else:
        show_table(("training", "weights", "metrics"), [training_row(training) for training in document["trainings"]])
        for reason in document["reasons"]:
            say(f"- {reason}")
    if not document["deterministic"]:
        raise UnavailableError("this machine does not repeat a training bit for bit; the reasons are above")


def training_row(training: dict[str, Any]) -> tuple[str, str, str]:
    """A line of the table: what was trained, and whether it equals the first."""
    words = {None: "-", True: "equal", False: "other"}
    return training["name"], words[training["equal_weights"]], words[training["equal_metrics"]]
