"""docs/first_hour.md from the top to the bottom, on a few drawn photos."""

import re
import shlex
import shutil
import signal
import sys

import pytest
from printed import ROOT, printed_in

from cnnbench import cli
from cnnbench.recorder import Recorder

sys.path.insert(0, str(ROOT / "tests" / "docs"))
from prepared import write_photos

DOCUMENT = ROOT / "docs" / "first_hour.md"
INSTALLS = "installs; .ci/run does it"
NOT_RUN = {
    "python3 -m venv .venv": INSTALLS,
    "source .venv/bin/activate": INSTALLS,
    "pip install -e .": INSTALLS,
    "cnnbench doctor": "half a minute; tests/docs/test_commands.py runs it with -m slow",
}
SIZES = [(r"^epochs=\d+$", "epochs=1"), (r"^seed=0,1,2$", "seed=0"), (r"^seed=3,4,5,6,7$", "seed=3")]
COMMANDS = [printed.command for printed in printed_in(DOCUMENT)]


def expected_error(command):
    """What the document shows after the command where that is an error, up to its first punctuation."""
    text = DOCUMENT.read_text(encoding="utf-8")
    shown = re.search(rf"^    {re.escape(command)}\n\n```text\n(error: [^;(]+)", text, re.MULTILINE)
    return shown[1].strip() if shown else None


def small(command):
    words = shlex.split(command)[1:]
    for pattern, replacement in SIZES:
        words = [re.sub(pattern, replacement, word) for word in words]
    return words + (["data.fraction=0.1", "epochs=1"] if words == ["train"] else [])


def test_what_is_not_run_is_printed():
    assert set(NOT_RUN) <= set(COMMANDS)


def test_the_first_hour_goes_as_it_is_told(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_photos(tmp_path / "photos", each=12)
    shutil.copy(tmp_path / "photos" / "circle" / "circle-000.jpg", tmp_path / "new.jpg")
    resumed = {words[2] for words in map(shlex.split, COMMANDS) if words[:2] == ["cnnbench", "resume"]}
    after_batch = Recorder.after_batch

    def interrupted(self, training, images):
        signal.raise_signal(signal.SIGINT)
        after_batch(self, training, images)

    for command in (command for command in COMMANDS if command not in NOT_RUN):
        words, error = small(command), expected_error(command)
        stopped = words[0] == "train" and any(f"hydra.run.dir={run}" in words for run in resumed)
        with monkeypatch.context() as changed:
            if stopped:  # by Ctrl-C
                changed.setattr(Recorder, "after_batch", interrupted)
            capsys.readouterr()
            exit_code = cli.run(words)
        shown = capsys.readouterr().err
        assert exit_code == 130 if stopped else (exit_code != 0) == bool(error), (command, shown)
        assert shown.startswith((error or "").replace("/home/you", str(tmp_path))), command


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_stands_in_a_line_of_its_own(command):
    assert f"\n    {command}\n" in DOCUMENT.read_text(encoding="utf-8")
