"""What the shell offers while a command line is typed: verbs, flags, files, choices and keys.

A shell's script asks `cnnbench -sc query LINE`, LINE being what stands before the cursor. The answer is one word a line
that the last word of LINE can become; or, where that is a path, which the shell knows to complete, one line:
FILES and, after a space, what of the word stands before the path.
"""

import argparse
import importlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import fields
from importlib.resources import files
from pathlib import Path

from cnnbench.commands.arguments import ASK, Asked
from cnnbench.config.candidates import FOLDERS, candidates, choices
from cnnbench.config.mistakes import suggest
from cnnbench.console import say_exactly
from cnnbench.errors import CnnbenchError, ConfigError

SHELLS = {
    "bash": 'eval "$(cnnbench -sc install=bash)"',
    "zsh": 'eval "$(cnnbench -sc install=zsh)"',
    "fish": "cnnbench -sc install=fish | source",
}
"""The line for each shell's start-up file: ~/.bashrc, ~/.zshrc, ~/.config/fish/config.fish."""
FILES = ":files"
GROUP_OF_VERB = {"ablation": "ablate", "compression": "compress"}
"""Groups that no other verb has."""


def main(arguments: Sequence[str], verbs: Mapping[str, str]) -> None:
    """Answers `-sc install=SHELL` with that shell's script, and `-sc query LINE` with what can follow.

    Raises:
        ConfigError: it is neither.
    """
    match list(arguments):
        case ["query", line]:
            with suppress(CnnbenchError):  # nobody reads a message in a word's midst
                for word in answer(line, verbs):
                    say_exactly(word)
        case [shell] if shell.removeprefix("install=") in SHELLS:
            script = files("cnnbench.commands") / f"completion.{shell.removeprefix('install=')}"
            for text in script.read_text(encoding="utf-8").splitlines():
                say_exactly(text)
        case _:
            given = " ".join(arguments).removeprefix("install=")
            raise ConfigError(f"-sc install={given}: no such shell{suggest(given, SHELLS)}")


def answer(line: str, verbs: Mapping[str, str]) -> list[str]:
    """The lines of the answer; none where nothing is known that could follow."""
    _, *words = split(line)
    if not words:
        return []
    *before, word = words
    if not before:
        return [name for name in (*verbs, "--help", "--version") if name.startswith(word)]
    verb, *before = before
    return answer_of(verb, before, word) if verb in verbs else []


def answer_of(verb: str, before: Sequence[str], word: str) -> list[str]:
    """The lines of the answer for the word of a verb that follows the words `before`."""
    parser = parser_of(verb)
    flags = {text: action for action in parser._actions for text in action.option_strings}
    waiting = flags.get(before[-1]) if before else None
    if waiting is not None and takes_value(waiting):
        return value_of(waiting, word)
    if word.startswith("-"):
        return [text for text in flags if text.startswith(word) and text.startswith("--") and text not in before]
    taken = {place + 1 for place, text in enumerate(before) if text in flags and takes_value(flags[text])}
    given = [text for place, text in enumerate(before) if place not in taken and not text.startswith("-")]
    places = [action for action in parser._actions if not action.option_strings]
    if not places:
        return []
    action = places[min(len(given), len(places) - 1)]
    if len(given) >= len(places) and action.nargs not in ("*", "+"):
        return []
    if action.dest not in ("overrides", "words"):
        return value_of(action, word)
    folder = next((before[place] for place in taken if before[place - 1] == "--config-dir"), None)
    found = override_of(verb, given, word, folder)
    if action.dest == "words" and not (found and (word or given)):  # of compress: first come the runs
        return [FILES]
    return found


def override_of(verb: str, given: Sequence[str], word: str, config_dir: str | None) -> list[str]:
    """The lines for a GROUP=CHOICE or KEY=VALUE beside those `given`."""
    key, equals, _ = word.partition("=")
    if equals and key in FOLDERS:
        return [f"{FILES} {key}="]
    own = own_keys(verb)
    if verb == "data":
        if given[0] not in choices()["data"]:
            return [FILES]
        given = [f"data={given[0]}"]
    overrides = [text for text in given if "=" in text and text.partition("=")[0] not in own]
    foreign = tuple(group for group, theirs in GROUP_OF_VERB.items() if theirs != verb)
    found = [text for text in candidates(word, overrides, config_dir) if not text.startswith(foreign)]
    found += [f"{name}=" for name in own if name.startswith(word) and f"{name}=" not in found]
    prefix = {"data": "data.", "evaluate": "data", "resume": "epochs", "compress": "compression"}.get(verb, "")
    return [text for text in found if text.startswith(prefix)]


def own_keys(verb: str) -> list[str]:
    """The keys among the overrides that are the verb's and not the config's."""
    if verb != "ablate":
        return []
    from cnnbench.sweeps.ablation_runs import Settings

    return [field.name for field in fields(Settings)]


def parser_of(verb: str) -> argparse.ArgumentParser:
    """The parser of the verb's command line."""
    if verb == "train":
        return parser_of_train()
    try:
        importlib.import_module(f"cnnbench.commands.{verb}").main([ASK])
    except Asked as asked:
        return asked.parser
    raise AssertionError(f"{verb} has not asked its parser")


def parser_of_train() -> argparse.ArgumentParser:
    """Of Hydra's flags those that `train` takes and its help names."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--multirun", "-m", action="store_true")
    parser.add_argument("--cfg", choices=("job", "hydra", "all"))
    parser.add_argument("--config-dir", type=Path)
    parser.add_argument("--info", action="store_true")
    parser.add_argument("overrides", nargs="*")
    return parser


def takes_value(action: argparse.Action) -> bool:
    """Whether the word after the flag is its value."""
    return action.nargs != 0


def value_of(action: argparse.Action, word: str) -> list[str]:
    """The lines for the value of a flag or of a place among the arguments."""
    if action.type is Path or action.metavar == "PATH":
        return [FILES]
    names = {"group": list(choices()), "name": choices()["data"]}.get(action.dest, list(action.choices or ()))
    return [str(name) for name in names if str(name).startswith(word)]


def split(line: str) -> list[str]:
    """The words of a command line, quotes and backslashes taken away; the last one, maybe empty, is being typed."""
    words, quote, escaped = [""], "", False
    for char in line.lstrip():
        if escaped:
            words[-1], escaped = words[-1] + char, False
        elif char == "\\" and quote != "'":
            escaped = True
        elif char == quote:
            quote = ""
        elif not quote and char in "'\"":
            quote = char
        elif char.isspace() and not quote:
            words += [""] if words[-1] else []
        else:
            words[-1] += char
    return words
