import json
import os
import subprocess
import sys

import pytest
from rich.console import Console

from cnnbench import console
from cnnbench.console import encodable, note, report_error, say, say_exactly, say_json, show_table, visible

NASTY = "\x1b[31mred\x07 \u202eevil \u2066x\u2069 \x9b31m \x00 \udc80 \u200b \r\t"
MARKUP = "[/] [red]x[/red] [@click=f]y :smile:"


def terminal(monkeypatch, width, **options):
    """Lets the console believe that stdout is this many columns wide."""
    wide = Console(markup=False, highlight=False, emoji=False, width=width, **options)
    monkeypatch.setattr(console, "_out", wide)


def words(text):
    return "".join(text.split())


def test_control_escape_and_direction_characters_become_visible():
    assert visible("a\x1bb\x07\x9b\u202e\u2066\x00\udc80") == r"a\x1bb\x07\x9b\u202e\u2066\x00\udc80"
    assert visible("naïve 图像 ✓ a_b-1") == "naïve 图像 ✓ a_b-1"
    assert visible("a\nb\tc", keep="\n") == "a\nb\\x09c"


def test_what_the_encoding_lacks_is_backslash_escaped():
    assert encodable("é✓a", "ascii") == r"\xe9\u2713a"
    assert encodable("é✓a", "utf-8") == "é✓a"


def show_in_table(text):
    show_table(("name", text), [(text, 1)])


@pytest.mark.parametrize("show", [say, say_exactly, note, lambda text: report_error([text]), show_in_table])
def test_no_control_byte_reaches_the_terminal_by_any_way_of_printing(show, capsys):
    show(NASTY)
    captured = capsys.readouterr()
    printed = captured.out + captured.err
    assert r"\x1b[31mred\x07" in printed
    assert not [char for char in printed.replace("\n", "") if visible(char) != char]


@pytest.mark.parametrize("show", [say, say_exactly, note, lambda text: report_error([text]), show_in_table])
def test_markup_in_a_value_stays_text(show, capsys):
    show(MARKUP)
    captured = capsys.readouterr()
    assert MARKUP in captured.out + captured.err


def test_errors_are_one_line_each_on_stderr_with_nothing_on_stdout(capsys):
    report_error(["a: b\nc", "d" * 300])
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [r"error: a: b\x0ac", "error: " + "d" * 300]


def test_a_note_goes_to_stderr(capsys):
    note("threads differ")
    assert capsys.readouterr() == ("", "note: threads differ\n")


def test_a_path_line_is_not_wrapped_on_a_narrow_terminal(monkeypatch, capsys):
    terminal(monkeypatch, 40, force_terminal=True)
    line = "run: /data/" + "long folder/" * 12
    say_exactly(line)
    assert capsys.readouterr().out == line + "\n"


def test_say_wraps_on_a_terminal_and_not_in_a_pipe(monkeypatch, capsys):
    line = "word " * 30 + "end"
    terminal(monkeypatch, 40, force_terminal=False)
    say(line)
    assert capsys.readouterr().out == line + "\n"
    terminal(monkeypatch, 40, force_terminal=True)
    say(line)
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 40


def test_json_is_one_document_and_refuses_what_is_not_a_number(capsys):
    say_json({"a": [1, 0.5, None], "path": "é\x1b"})
    printed = capsys.readouterr().out
    assert json.loads(printed) == {"a": [1, 0.5, None], "path": "é\x1b"}
    assert printed.isascii()
    assert "\x1b" not in printed
    for number in (float("nan"), float("inf")):
        with pytest.raises(ValueError, match="JSON"):
            say_json({"a": number})
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("width", [40, 12])
def test_a_table_on_a_narrow_terminal_loses_no_text(monkeypatch, capsys, width):
    terminal(monkeypatch, width, force_terminal=True, color_system=None)
    cells = ["a" * 50, "0.123456789", "some longer words here"]
    show_table(("name", "accuracy", "note"), [cells])
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= width
    assert sorted(words("".join(lines))) == sorted(words("".join(["name", "accuracy", "note", *cells])))


def test_a_table_in_a_pipe_is_not_wrapped(monkeypatch, capsys):
    terminal(monkeypatch, 40, force_terminal=False)
    show_table(("name", "path"), [("a", "b" * 300)])
    assert capsys.readouterr().out.splitlines()[1].split() == ["a", "b" * 300]


def test_a_column_of_numbers_is_aligned_to_the_right_and_one_of_text_to_the_left(capsys):
    show_table(("text", "number"), [("ab", "-0.5"), ("c", "+12"), ("defgh", "")])
    header, *lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert header == "text   number"
    assert lines == ["ab       -0.5", "c         +12", "defgh"]


def test_a_terminal_that_knows_only_ascii_is_served():
    script = (
        "from cnnbench.console import *\n"
        r"for show in (say, say_exactly, note): show('\xe9\u2713 \udc80')" + "\n"
        r"report_error(['\xfc']); show_table(('a', '\xe9'), [('\xe9', '\u2713')]); say_json({'\xe9': 1})"
    )
    variables = os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii"}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, env=variables, check=False)
    assert done.returncode == 0, done.stderr
    assert (done.stdout + done.stderr).isascii()
    assert done.stdout.startswith(rb"\xe9\u2713 \udc80")
    assert rb"error: \xfc" in done.stderr
