"""What is printed can be pasted into any shell: zsh refuses an unquoted bracket that no file matches."""

import ast
import os
import re
import shlex
import shutil
import subprocess

import pytest
from printed import ROOT, printed

from cnnbench.config.tables import conf_folder

SPECIAL = "[](){}*?<>;^!$&|`"
EXPERIMENTS = sorted((conf_folder() / "experiment").glob("*.yaml"))


def headers():
    for path in EXPERIMENTS:
        yield re.findall(r"^# Command: (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)[0]
    yield re.findall(r"Example: (.+)$", (conf_folder() / "config.yaml").read_text(encoding="utf-8"), re.MULTILINE)[0]


def texts():
    """The texts of the code that are no docstrings, as they stand."""
    for path in sorted((ROOT / "cnnbench").rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            if isinstance(node, ast.JoinedStr):
                parts = [part.value if isinstance(part, ast.Constant) else "VALUE" for part in node.values]
                yield path.name, "".join(map(str, parts))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
                yield path.name, node.value


LINES = [command.line for command in printed()] + list(headers())
TOLD = [found for _, text in texts() for found in re.findall(r"`(cnnbench [^`\n]+)`", text)]

PARTS = [part for line in [*LINES, *TOLD] for part in re.split(r" (?:&&|\|) ", line)]
"""The single commands of all lines, a comment with the last of its line."""


def bare(line):
    """The characters of the line that a shell would not take as they are."""
    command, _, comment = line.partition(" # ")
    found, quote = [], ""
    for place, char in enumerate(command):
        if char == quote:
            quote = ""
        elif not quote and char in "'\"":
            quote = char
        elif not quote and (char in SPECIAL or (char in "~=" and command[place - 1].isspace())):
            found.append(char)
    joining = [" && "] * command.count(" && ") + [" | "] * command.count(" | ")  # which are meant
    left = "".join(found)
    for join in joining:
        left = left.replace(join.strip(), "", 1)
    return left + "".join(char for char in comment if char in f"{SPECIAL}'\"") + quote


@pytest.mark.parametrize(
    ("line", "found"),
    [("a=[b]", "[]"), ("'a=[b]' \"x*\"", ""), ("a && b | c", ""), ("a & b", "&"), ("a # it's", "'"), ("a # b?", "?"),
     ("a='b", "'"), ("~/x a~b a=b", "~"), ("eval \"$(a b)\"", ""), ("x=$HOME", "$")],
)  # fmt: skip
def test_the_check_sees_what_a_shell_would_change(line, found):
    assert bare(f" {line}") == found


@pytest.mark.parametrize("line", [*LINES, *TOLD], ids=lambda line: line[:60])
def test_no_printed_command_has_an_unquoted_special_character(line):
    assert bare(line) == ""


def test_a_list_in_a_message_is_quoted():
    """As in `choose another with 'regularization=[NAME]'`; what the message itself begins with was typed so."""
    lists = [(name, m) for name, text in texts() for m in re.finditer(r"(.?)\b[\w.]+=\[[A-Za-z0-9]", text)]
    unquoted = [(name, m.string) for name, m in lists if m.start() > 0 and m[1] not in ("'", '"', "`")]
    assert unquoted == []


def words_of(answers):
    return [answer.split("\0")[:-1] for answer in answers.decode().split("@@\n")[1:]]


@pytest.mark.skipif(not shutil.which("zsh"), reason="no zsh here")
def test_zsh_gives_each_command_the_words_that_are_meant(tmp_path):
    """An interactive zsh, as one pastes into it, in an empty folder: there a comment is a word like any other."""
    script = "\n".join(["cnnbench() { print stub }", *(f"print -r -- @@; print -rN -- {part}" for part in PARTS)])
    done = subprocess.run(
        ["zsh", "-f", "-i"],
        input=script.encode() + b"\n",
        capture_output=True,
        cwd=tmp_path,
        env={**os.environ, "PS1": ""},
    )
    answers = words_of(done.stdout)
    assert len(answers) == len(PARTS), done.stderr.decode()
    for command, (first, *rest) in zip(PARTS, answers, strict=True):
        words = [re.sub(r".*[\r\n]", "", first), *rest]
        meant = shlex.split(command, comments=True)
        if "$(" not in command:
            assert words[: len(meant)] == meant
            assert words[len(meant) :][:1] in ([], ["#"])


@pytest.mark.parametrize(("shell", "flags"), [("bash", ["--norc", "--noprofile"]), ("fish", ["--no-config"])])
def test_bash_and_fish_give_each_command_the_words_that_are_meant(tmp_path, shell, flags):
    if not shutil.which(shell):
        pytest.skip(f"no {shell} here")
    plain = [part for part in PARTS if "$(" not in part]
    script = "\n".join(f"printf '@@\\n'; printf '%s\\0' {part}" for part in plain)
    done = subprocess.run([shell, *flags], input=script.encode(), capture_output=True, cwd=tmp_path)
    assert words_of(done.stdout) == [shlex.split(part, comments=True) for part in plain]
