import io
import re
import sys
import time

import pytest
from rich.console import Console

from cnnbench import console, progress
from cnnbench.progress import waiting


@pytest.fixture
def terminal(monkeypatch):
    """A terminal of 80 columns in place of stdout; gives what it was sent, escape sequences and all."""
    sent = io.StringIO()
    monkeypatch.setattr(console, "_out", Console(file=sent, force_terminal=True, width=80, legacy_windows=False))
    return sent


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(progress, "PATIENCE", 0.05)


def lines_of(sent):
    """What the terminal showed, without its escape sequences."""
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", sent.getvalue())


def test_a_terminal_shows_at_once_what_is_waited_for_and_nothing_stays(terminal):
    with waiting("reading images", total=10) as wait:
        wait.advance(5)
        time.sleep(0.2)
        shown = lines_of(terminal)
    assert "reading images" in shown
    assert "50%" in shown
    assert "\x1b[2K" in terminal.getvalue().rpartition("%")[2]  # erased


def test_a_wait_within_another_is_a_line_below_it(terminal):
    with waiting("training", total=2), waiting("validating"):
        time.sleep(0.2)
        last = lines_of(terminal).split("\r")[-1]
    assert "training" in last + lines_of(terminal)
    assert "validating" in lines_of(terminal)


def test_after_an_error_the_next_wait_works(terminal):
    with pytest.raises(ZeroDivisionError), waiting("outer"), waiting("inner"):
        raise ZeroDivisionError
    assert progress._display.progress is None
    with waiting("again"):
        time.sleep(0.15)
    assert "again" in lines_of(terminal)


def test_elsewhere_one_plain_line_says_it_where_it_takes_long(impatient, capsys):
    with waiting("reading images", total=3), waiting("in detail"):
        time.sleep(0.3)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "... reading images\n"


def test_where_lines_come_anyway_none_says_what_they_are_waited_for(impatient, capsys):
    with waiting("epoch 1/9"):
        console.say("epoch 1 is over")
        time.sleep(0.3)
    assert capsys.readouterr() == ("epoch 1 is over\n", "")


def test_elsewhere_what_is_quick_says_nothing(capsys):
    with waiting("reading images"):
        pass
    assert capsys.readouterr() == ("", "")


def test_a_terminal_that_cannot_move_its_cursor_gets_plain_lines(impatient, monkeypatch, capsys):
    dumb = console._Terminal(force_terminal=True, _environ={"TERM": "dumb"})
    monkeypatch.setattr(console, "_out", dumb)
    with waiting("reading images"):
        time.sleep(0.3)
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "... reading images\n")


def test_nothing_is_printed_where_quiet_is_asked_for(impatient, capsys):
    with console.muted(), waiting("reading images"):
        time.sleep(0.2)
        console.say("a line")
        console.note("a note")
        console.show_table(("a",), [("b",)])
        console.say_parts(["epoch 1"])
    assert capsys.readouterr() == ("", "")
    console.say("again")
    assert capsys.readouterr().out == "again\n"


def test_control_characters_in_what_is_waited_for_are_shown(terminal):
    with waiting("reading \x1b[31mred"):
        time.sleep(0.15)
    assert r"reading \x1b[31mred" in lines_of(terminal)


def test_an_epochs_line_drops_its_last_parts_on_a_narrow_terminal(monkeypatch, capsys):
    parts = ["*", "epoch 1/9", "val 0.1 99.00 %", "train 0.2 98.0 %", "9,999 images/s", "lr 0.1"]
    narrow = Console(width=40, force_terminal=True, file=sys.stdout)
    monkeypatch.setattr(console, "_out", narrow)
    console.say_parts(parts)
    assert capsys.readouterr().out.splitlines() == ["*  epoch 1/9  val 0.1 99.00 %"]
    monkeypatch.setattr(console, "_out", Console(width=40, file=sys.stdout))
    console.say_parts(parts)
    assert capsys.readouterr().out.splitlines() == ["  ".join(parts)]
