"""The command line: each verb is a module of `cnnbench.commands`, imported when called. The only reader of sys.argv."""

import gc
import importlib
import os
import signal
import sys
from collections.abc import Sequence

from cnnbench import __version__
from cnnbench.errors import CnnbenchError, ConfigError, DiskError, Interrupted
from cnnbench.runs.signals import interrupting

# The console is imported inside functions: it takes a tenth of a second, in which a signal has to find its handler.

VERBS = {
    "train": "train and test a CNN; -m sweeps over lists of values",
    "resume": "continue an interrupted run, bit for bit",
    "verify": "a run's files against their hashes; without a run, whether this machine repeats a training bit for bit",
    "evaluate": "a run's accuracy on its test split or on another data set",
    "predict": "class probabilities of image files",
    "export": "a run's model as ONNX, torch.export or safetensors, compared with the run",
    "compress": "filters removed, int8, bf16: a run's network smaller or faster, judged by the clock",
    "compare": "which techniques helped, by how much, and is it sure",
    "ablate": "the effect of each technique, measured over seeds",
    "plan": "how many seeds a difference needs, and what that costs",
    "runs": "the run folders there are: choose, sort, tag, archive, delete",
    "report": "one offline HTML file of verdicts, curves and costs",
    "bench": "throughput, latency and memory of models in every device policy",
    "list": "what can be chosen, one line each",
    "doctor": "this machine, and which precision is fastest on it",
    "data": "prepare, check and describe data sets",
}


def main() -> None:
    """Runs the command line and leaves with its exit code."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # before and after the verb there is nothing to save: no traceback
    open_closed_streams()
    exit_code = run(sys.argv[1:])
    gc.freeze()  # or Python would look for cycles in all that goes with the process anyway, half a second with torch
    sys.exit(exit_code)


def open_closed_streams() -> None:
    """Gives standard streams that are closed to os.devnull, or the next file opened would take what is printed."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # which takes the lowest number that is free


def run(arguments: Sequence[str]) -> int:
    """Runs a verb; gives back the exit code (CONTRIBUTING lists them). Errors go to stderr, one line each."""
    debug = "--debug" in arguments
    arguments = [argument for argument in without_comment(arguments) if argument != "--debug"]
    try:
        with interrupting():
            from cnnbench.console import flush

            dispatch(arguments)
            flush()
    except KeyboardInterrupt as error:
        stop = error if isinstance(error, Interrupted) else Interrupted(signal.SIGINT, "stopped")
        say_why("; ".join(stop.findings))
        return stop.exit_code
    except Exception as error:
        if debug:
            raise
        return report(error)
    return 0


def without_comment(arguments: Sequence[str]) -> list[str]:
    """The arguments before a `#`: an interactive zsh passes on the comment of a line that was pasted."""
    return list(arguments[: arguments.index("#")] if "#" in arguments else arguments)


def dispatch(arguments: Sequence[str]) -> None:
    """Calls the function of the verb with the arguments after it.

    Raises:
        ConfigError: no such verb.
    """
    verb, rest = (arguments[0], arguments[1:]) if arguments else ("--help", [])
    if verb in ("-h", "--help"):
        show_help()
    elif verb == "--version" or (verb in VERBS and "--version" in rest):
        from cnnbench.console import say

        say(f"cnnbench {__version__}")
    elif verb in ("-sc", "--shell-completion"):
        from cnnbench.commands.completion import main as complete

        complete(rest, VERBS)
    elif verb in VERBS:
        run_command(verb, rest)
    else:
        raise ConfigError(f"{verb}: no such verb{verb_meant(verb, rest)}")


def verb_meant(word: str, rest: Sequence[str]) -> str:
    """The end of a message about a verb that there is not: a setting without `train`, or one spelled like it."""
    from cnnbench.config.catalogue import Catalogue
    from cnnbench.config.cures import cure_of_word
    from cnnbench.config.mistakes import did_you_mean, suggest
    from cnnbench.config.overrides import groups_of

    if "=" in word and not word.startswith("-"):
        return f"; settings come after the verb: cnnbench train {' '.join([word, *rest])}"
    groups = groups_of(None)
    if not did_you_mean(word, VERBS) and any(word in choices for choices in (groups, *groups.values())):
        return cure_of_word(word, Catalogue(groups, {})).replace("; write ", "; write cnnbench train ")
    return suggest(word, VERBS)


def run_command(verb: str, arguments: Sequence[str]) -> None:
    """Calls `main` of the verb's module in `cnnbench.commands`, which is imported only now."""
    try:
        os.getcwd()
    except FileNotFoundError:
        raise DiskError("the current folder: was deleted; go to one that is there") from None
    from cnnbench.progress import waiting

    with waiting("starting"):
        command = importlib.import_module(f"cnnbench.commands.{verb}")
    command.main(arguments)


def show_help() -> None:
    """Shows the verbs."""
    from cnnbench.commands.completion import SHELLS
    from cnnbench.console import say, show_table

    say("cnnbench: train CNN image classifiers from a config, and show by measurement what helped.\n")
    show_table(("verb", ""), VERBS.items())
    say("\nEach verb has --help. Completion in the shell, for its start-up file:\n")
    show_table(("shell", ""), SHELLS.items())


def say_why(line: str) -> None:
    """Says in a note why the verb has ended early."""
    from cnnbench.console import note

    note(line)


def report(error: Exception) -> int:
    """Says what has ended the verb, and gives back its exit code: ours for what can be expected, 1 for a bug."""
    from cnnbench.console import report_error

    if isinstance(error, CnnbenchError):
        report_error(error.findings)
        return error.exit_code
    report_error([f"{type(error).__name__}: {error}; a bug of cnnbench, {write_crash_log()}"])
    return 1


def write_crash_log() -> str:
    """Writes the current exception's traceback to a new file; says where, or how else to see it."""
    import tempfile
    import traceback

    try:
        descriptor, name = tempfile.mkstemp(prefix="cnnbench-crash-", suffix=".log")
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(traceback.format_exc())
    except OSError:  # no room, or no folder to write to
        return "--debug shows where"
    return f"details in {name}"
