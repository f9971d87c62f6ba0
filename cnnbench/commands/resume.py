"""`cnnbench resume`: continue a run where its last checkpoint left it, or give it more epochs; continue a sweep."""

import shlex
from collections.abc import Sequence
from pathlib import Path

from cnnbench.commands.arguments import Parser
from cnnbench.console import say, say_exactly
from cnnbench.errors import ConfigError
from cnnbench.progress import loading_torch
from cnnbench.runs.read import read_summary
from cnnbench.runs.sweep_record import is_sweep, read_record
from cnnbench.sweeps.launch import launch, quoted


def main(arguments: Sequence[str]) -> None:
    """Continues an interrupted or killed run; a finished one is left as it is, unless it is given more epochs. Of a
    sweep, continues and repeats what has not finished."""
    parser = Parser(
        "resume", "Continue an interrupted run from its last checkpoint, bit for bit; or a sweep, by what it has left."
    )
    parser.add_argument("run", type=Path, help="a run folder, or the folder of a sweep")
    parser.add_argument(
        "overrides", nargs="*", metavar="epochs=N", help="let a finished run go on until it has N epochs in all"
    )
    options = parser.parse_args(arguments)
    if is_sweep(options.run):
        resume_sweep(options.run, options.overrides)
        return
    epochs = added_epochs(options.overrides)
    if epochs is None and read_summary(options.run).get("status") == "finished":
        say("this run is finished; epochs=N would lengthen it")
        say_exactly(f"run: {options.run}")
        return
    with loading_torch():
        from cnnbench.api import resume

    resume(options.run, epochs=epochs)


def resume_sweep(folder: Path, overrides: Sequence[str]) -> None:
    """Gives the command that began the sweep once more: what has finished is known by its config.

    Raises:
        ConfigError: something beside it is given, or it is an ablation.
    """
    if overrides:
        raise ConfigError(*(f"{text}: a sweep goes on as it began; leave it out" for text in overrides))
    verb, *arguments = read_record(folder).arguments
    others = [text for text in arguments if not text.startswith("hydra.sweep.dir=")]
    here = f"hydra.sweep.dir={quoted(folder)}"
    if verb != "train":
        command = shlex.join([verb, *(text for text in others if text != "--yes"), here])
        raise ConfigError(f"{folder}: is of `cnnbench {verb}`; go on with: cnnbench {command}")
    launch([*others, here])


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
