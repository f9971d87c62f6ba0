import re
import shlex
from pathlib import Path

import pytest

from cnnbench.cli import VERBS
from cnnbench.config.overrides import refuse_mistakes
from cnnbench.config.sweep_settings import NOTHING
from cnnbench.config.tables import GROUPS, OF_COMPRESSION

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8").replace("\\\n", "")
TECHNIQUES = (ROOT / "docs" / "techniques.md").read_text(encoding="utf-8")
TRAIN = re.compile(r"^ +cnnbench ((?:train|bench(?! RUN)) .*?)(?: +#.*)?$", re.MULTILINE)


def commands():
    """The arguments after `train` or `bench` of every command in the README and of every row of the techniques."""
    yield from (shlex.split(line)[1:] for line in TRAIN.findall(README))
    for row in re.findall(r"^\| [^|]+\| ([^|]+)\|", TECHNIQUES, re.MULTILINE)[2:]:
        first, *others = re.findall(r"`([^`]+)`", row) or [""]
        for snippet in (first, *others):
            is_list = snippet.startswith("[")
            yield shlex.split(f"regularization={snippet}" if is_list else snippet)


@pytest.mark.parametrize("arguments", list(commands()), ids=" ".join)
def test_every_command_of_the_docs_is_accepted(arguments):
    flags = {argument for argument in arguments if argument.startswith("-")}
    assert flags <= {"-m", "--cfg", "--json", "--dry-run"}
    overrides = [a for a in arguments if not a.startswith("-") and a != "job"]
    missing = [o for o in overrides if "root=" in o]
    refuse_mistakes([o for o in overrides if o not in missing], sweep="-m" in flags)


@pytest.mark.parametrize("path", sorted((ROOT / "conf" / "experiment").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_experiment_says_in_one_line_each_what_measures_it_and_what_came_out(path):
    text = path.read_text(encoding="utf-8")
    (command,), (measured,) = (re.findall(rf"^# {word}: (.+)$", text, re.MULTILINE) for word in ("Command", "Measured"))
    assert f"# Command: {command}\n# Measured: {measured}\ndefaults:" in text
    assert measured.startswith("not measured") or re.search(r"\d ± \d.+ % .*\(\d+ seeds?\)", measured)
    program, verb, flag, *overrides = shlex.split(command)
    assert [program, verb, flag, overrides[0]] == ["cnnbench", "train", "-m", f"experiment={path.stem}"]
    refuse_mistakes([o for o in overrides if "root=" not in o], sweep=True)


def test_the_readme_shows_every_verb():
    assert [verb for verb in VERBS if f"cnnbench {verb}" not in README] == []


def test_the_readme_names_every_choice_of_every_group():
    for group in (*GROUPS, *OF_COMPRESSION):
        choices = {path.stem for path in (ROOT / "conf" / group).glob("*.yaml")}
        choices -= {NOTHING} if group in OF_COMPRESSION else set()
        row = re.search(rf"^\| {group}.*$", README, re.MULTILINE)
        assert row, group
        named = set(re.findall(r"`(\w+)`", row[0]))
        assert choices == named, group
