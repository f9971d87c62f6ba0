"""Bad values of every key of every choice, and misspelt keys and choices, through the real composition.

    python tests/torture/config.py

A try is one override; forty of different keys are given together, as all mistakes are to be told at once. A bad
value fails where there is not one line that names its key; a misspelling also where the line suggests something else
more often than once in twenty. One of every hundred goes alone through the command line, which has to end with 2 in one
line a mistake, with nothing written.
"""

import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_type_hints

import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from torture import Report, environment, main, run

from cnnbench.config.compose import compose
from cnnbench.config.run_config import SECTIONS, RunConfig
from cnnbench.config.settings import accepts, settings
from cnnbench.config.tables import GROUPS, LIST_GROUPS, conf_folder, shared_settings, table_of
from cnnbench.errors import CnnbenchError

TEXTS = [
    "", "null", "true", "abc", "nan", "inf", "-inf", "1e400", "-1", "-0.5", "0", "1.5", "1e9", "1e-400", "-1e400", "on",
    "99999999999999999999", "-99999999999999999999", f"1{'0' * 400}", "[]", "[1,null]", "[[1]]", "[abc]", "[-1]", "{",
    "[nan]", "[1.5,0]", "{a:1}", "{}", "'x y'", "'ünïcödé'", "'\u202e'", "'\x1b[31m'", "'a\nb'", "'\0'", "x" * 10_000,
    "'", '"', "[", "]", "a=b", "1,2", "0x10", "1_0_", "--1", "!!python/name:os.system", "'[/]'", "NULL", "${", "\\",
]  # fmt: skip
TOP = {key: kind for key, kind in get_type_hints(RunConfig, include_extras=True).items() if key not in GROUPS}
for section, shape in SECTIONS.items():
    del TOP[section]
    TOP |= {f"{section}.{key}": kind for key, kind in get_type_hints(shape, include_extras=True).items()}


def schema(random: random.Random) -> tuple[list[str], dict[str, Any]]:
    """A choice of every group, and the annotation of every key that a run of these has."""
    choices, keys = [], dict(TOP)
    for group in GROUPS:
        path = random.choice(sorted((conf_folder() / group).glob("*.yaml")))
        node = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        choices.append(f"{group}=[{path.stem}]" if group in LIST_GROUPS else f"{group}={path.stem}")
        shared = shared_settings(group)
        more = settings(shared) if shared else {}
        nodes = node if group in LIST_GROUPS else {node["name"]: node}
        for name in nodes:
            prefix = f"{group}.{name}" if group in LIST_GROUPS else group
            keys |= {f"{prefix}.{key}": kind for key, kind in (settings(table_of(group)[name]) | more).items()}
    return choices, keys


def is_bad(key: str, text: str, annotation: Any) -> bool:
    """Whether `text` is no value of the key: Hydra cannot read it, or it has another type or is out of range."""
    try:
        override = OverridesParser.create().parse_override(f"{key}={text}")
    except HydraException:
        return True
    return override.is_sweep_override() or not accepts(annotation, override.value())


def misspelt(word: str, random: random.Random) -> str:
    """`word` with one slip of a finger."""
    place = random.randrange(len(word) - 1)
    head, one, two, tail = word[:place], word[place], word[place + 1], word[place + 2 :]
    return random.choice(
        [head + two + one + tail, head + two + tail, head + one + one + two + tail, head + one + "x" + tail]
    )


def bad_values(random: random.Random) -> Iterator[tuple[list[str], dict[str, str]]]:
    """Choices, and overrides with bad values by their key."""
    while True:
        choices, keys = schema(random)
        chosen = random.sample(sorted(keys), min(len(keys), 40))
        given = {key: random.choice([text for text in TEXTS if is_bad(key, text, keys[key])] or [""]) for key in chosen}
        yield choices, {f"{key}={text}": key for key, text in given.items() if is_bad(key, text, keys[key])}


def misspellings(random: random.Random) -> Iterator[tuple[list[str], dict[str, str]]]:
    """Choices, and overrides with a misspelt key or choice by what was meant."""
    while True:
        choices, keys = schema(random)
        slips = {}
        for key in random.sample(sorted(keys), min(len(keys), 40)):
            head, dot, last = key.rpartition(".")
            wrong = f"{head}{dot}{misspelt(last, random)}"
            if len(last) > 3 and wrong not in keys:
                slips[f"{wrong}=1"] = key
        yield choices, slips
        slips = {}
        for choice in choices:
            group, _, name = choice.replace("[", "").replace("]", "").partition("=")
            wrong = misspelt(name, random) if len(name) > 3 else name
            if not (conf_folder() / group / f"{wrong}.yaml").exists():
                slips[f"{group}={wrong}"] = name
        yield [], slips


def findings_of(overrides: list[str]) -> tuple[str, ...] | str:
    """The lines told, or what happened instead."""
    try:
        compose(overrides)
    except CnnbenchError as error:
        return error.findings if error.exit_code == 2 else f"exit code {error.exit_code}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "accepted"


def torture(report: Report, count: int, seed: int, folder: Path) -> None:
    """`count` tries: three quarters with bad values, one with misspellings."""
    source = random.Random(seed)
    made, wrong_hints = 0, []
    values, slips = bad_values(source), misspellings(source)
    while made < count * 3 // 4:
        choices, bad = next(values)
        judge(report, choices, bad, by_key=True)
        made += len(bad)
        alone(report, choices, next(iter(bad)), folder) if made % 100 < len(bad) else None
    hints = 0
    while made < count:
        choices, bad = next(slips)
        wrong_hints += judge(report, choices, bad, by_key=False)
        made, hints = made + len(bad), hints + len(bad)
    if len(wrong_hints) > max(hints / 20, 1):
        report.note("wrong suggestions", f"{len(wrong_hints)} of {hints} suggestions are wrong: {wrong_hints}")


def judge(report: Report, choices: list[str], bad: dict[str, str], *, by_key: bool) -> list[str]:
    """Composes all of `bad` at once and looks for a line of each; gives back the suggestions that were not meant."""
    lines = findings_of([*choices, *bad])
    wrong = []
    for text, meant in bad.items():
        key = meant if by_key else text.partition("=")[0]
        told = [] if isinstance(lines, str) else [line for line in lines if line.startswith((f"{key}=", f"{key}:"))]
        if len(told) != 1:
            report.note("not told", f"{text[:200]!r} beside {[*choices, *bad]!r:.3000}: {str(lines)[:2000]}")
        else:
            report.note("bad value" if by_key else "misspelling")
            suggestion = rf"did you mean '?(\w+=\[?([\w,]+,)?)?{re.escape(meant)}\b"
            if not by_key and not re.search(suggestion, told[0]):
                wrong.append(f"{text}: {told[0]}")
    return wrong


def alone(report: Report, choices: list[str], text: str, folder: Path) -> None:
    """The override through the command line."""
    text = text.replace("\0", "")  # no argument can have one
    ending = run(["train", *choices, text], folder, limit=120, env=environment(folder))
    written = [path.name for path in folder.iterdir() if path.name != "cache"]
    if ending.exit_code == 2 and ending.is_one_line and not written:
        report.note("by command line")
    else:
        report.note(
            "by command line, wrong", f"{[*choices, text]!r}: {ending.exit_code}, {ending.err[-1000:]}, {written}"
        )


if __name__ == "__main__":
    main(torture, count=2400, doc=__doc__)
