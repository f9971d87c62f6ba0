"""`cnnbench resume`: continue the run of a folder where its last checkpoint left it, or give it more epochs."""

from collections.abc import Sequence
from pathlib import Path

from cnnbench.commands.arguments import Parser
from cnnbench.console import say, say_exactly
from cnnbench.errors import ConfigError
from cnnbench.progress import loading_torch
from cnnbench.runs.read import read_summary


def main(arguments: Sequence[str]) -> None:
    """Continues an interrupted or killed run; a finished one is left as it is, unless it is given more epochs."""
    parser = Parser("resume", "Continue an interrupted run from its last checkpoint, bit for bit.")
    parser.add_argument("run", type=Path, help="a run folder")
    parser.add_argument(
        "overrides", nargs="*", metavar="epochs=N", help="let a finished run go on until it has N epochs in all"
    )
    options = parser.parse_args(arguments)
    epochs = added_epochs(options.overrides)
    if epochs is None and read_summary(options.run).get("status") == "finished":
        say("this run is finished; epochs=N would lengthen it")
        say_exactly(f"run: {options.run}")
        return
    with loading_torch():
        from cnnbench.api import resume

    resume(options.run, epochs=epochs)


def added_epochs(overrides: Sequence[str]) -> int | None:
    """The N of `epochs=N`; None where nothing is given.

    Raises:
        ConfigError: with one line for everything else.
    """
    epochs, findings = None, []
    for text in overrides:
        key, _, value = text.partition("=")
        if key != "epochs":
            findings.append(f"{text}: a run goes on as it began; only epochs=N can be given, or train anew")
        elif not value.isdecimal():
            findings.append(f"{text}: should be a whole number >= 1")
        else:
            epochs = int(value)
    if findings:
        raise ConfigError(*findings)
    return epochs
