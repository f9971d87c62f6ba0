"""`cnnbench resume`: continue the run of a folder where its last checkpoint left it."""

from collections.abc import Sequence
from pathlib import Path

from cnnbench.commands.arguments import Parser
from cnnbench.console import say, say_exactly
from cnnbench.progress import loading_torch
from cnnbench.runs.read import load_config, read_summary


def main(arguments: Sequence[str]) -> None:
    """Continues an interrupted or killed run; a finished one is left as it is."""
    parser = Parser("resume", "Continue an interrupted run from its last checkpoint, bit for bit.")
    parser.add_argument("run", type=Path, help="a run folder")
    run = parser.parse_args(arguments).run
    if read_summary(run)["status"] == "finished":
        say("this run is finished; nothing to do")
        say_exactly(f"run: {run}")
        return
    config = load_config(run)
    with loading_torch():
        from cnnbench.experiment import run_experiment

    run_experiment(config, run, resume=True)
