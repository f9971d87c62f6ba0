"""The command line: each verb is a module of `cnnbench.commands`, imported when called. The only reader of sys.argv."""

import importlib
import os
import sys
import tempfile
import traceback
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from cnnbench import __version__
from cnnbench.config.mistakes import suggest
from cnnbench.console import note, report_error, say, show_table
from cnnbench.errors import CnnbenchError, ConfigError, Interrupted

VERBS = {
    "train": "train and test a CNN; -m sweeps over lists of values",
    "resume": "continue an interrupted run, bit for bit",
    "verify": "a run's files against their hashes; without a run, whether this machine repeats a training bit for bit",
    "evaluate": "a run's accuracy on its test split or on another data set",
    "predict": "class probabilities of image files",
    "compare": "which techniques helped, by how much, and is it sure",
    "ablate": "the effect of each technique, measured over seeds",
    "plan": "how many seeds a difference needs, and what that costs",
    "report": "one offline HTML file of verdicts, curves and costs",
    "bench": "throughput, latency and memory of models in every device policy",
    "list": "what can be chosen, one line each",
    "doctor": "this machine, and which precision is fastest on it",
    "data": "prepare, check and describe data sets",
}


def main() -> None:
    """Runs the command line and leaves with its exit code."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Runs a verb; gives back the exit code (CONTRIBUTING lists them). Errors go to stderr, one line each."""
    debug = "--debug" in arguments
    arguments = [argument for argument in arguments if argument != "--debug"]
    try:
        dispatch(arguments)
        sys.stdout.flush()
    except Interrupted as stop:
        note("; ".join(stop.findings))
        return stop.exit_code
    except CnnbenchError as error:
        if debug:
            raise
        report_error(error.findings)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader of our output has left, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if debug:
            raise
        report_error([f"{type(error).__name__}: {error}; a bug of cnnbench, details in {write_crash_log()}"])
        return 1
    return 0


def dispatch(arguments: Sequence[str]) -> None:
    """Calls the function of the verb with the arguments after it.

    Raises:
        ConfigError: no such verb.
    """
    verb, rest = (arguments[0], arguments[1:]) if arguments else ("--help", [])
    if verb in ("-h", "--help"):
        show_help()
    elif verb == "--version":
        say(f"cnnbench {__version__}")
    elif verb in ("-sc", "--shell-completion"):
        complete(arguments)
    elif verb in VERBS:
        run_command(verb, rest)
    else:
        raise ConfigError(f"{verb}: no such verb{suggest(verb, VERBS)}")


def run_command(verb: str, arguments: Sequence[str]) -> None:
    """Calls `main` of the verb's module in `cnnbench.commands`, which is imported only now."""
    importlib.import_module(f"cnnbench.commands.{verb}").main(arguments)


def show_help() -> None:
    """Shows the verbs."""
    say("cnnbench: train CNN image classifiers from a config, and show by measurement what helped.\n")
    show_table(("verb", ""), VERBS.items())
    say('\nEach verb has --help. Shell completion: eval "$(cnnbench -sc install=bash)" (or zsh, fish).')


def complete(arguments: Sequence[str]) -> None:
    """Answers the shell: verbs for the first word, else what Hydra knows of `train`, which `bench` takes too."""
    line = os.environ.get("COMP_LINE", "")
    words = line.split()
    if any(argument.startswith("query=") for argument in arguments):
        if len(words) < 2 or (len(words) == 2 and not line.endswith(" ")):
            prefix = words[1] if len(words) == 2 else ""
            say(" ".join(verb for verb in VERBS if verb.startswith(prefix)))
            return
        if words[1] not in ("train", "bench"):
            return
        os.environ["COMP_LINE"] = line.replace(f" {words[1]}", "", 1)
        with suppress(ConfigError):  # nobody reads a message while completing a word
            run_command("train", arguments)
        return
    run_command("train", arguments)


def write_crash_log() -> Path:
    """Writes the current exception's traceback to a new file and gives back its path."""
    descriptor, name = tempfile.mkstemp(prefix="cnnbench-crash-", suffix=".log")
    with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:
        file.write(traceback.format_exc())
    return Path(name)
