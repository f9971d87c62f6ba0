"""A fixed part of the torture, small enough for every CI run; `python tests/torture/NAME.py` is the whole."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from torture import environment

PART: dict[str, int] = {
    "config": 100,
    "execution": 6,
    "signals": 2,
    "places": 5,
    "kills": 6,
    "corrupt": 12,
    "hostile": 12,
    "multirun": 3,
}
"""Tries of each script in CI; together they take less than three minutes on two cores."""


def test_every_script_has_a_part_here():
    others = ("torture", "test_torture", "all")
    assert {path.stem for path in Path(__file__).parent.glob("*.py")} - set(others) == set(PART)


@pytest.mark.parametrize("name", PART)
def test_nothing_is_lost_or_let_in(name, tmp_path):
    script = Path(__file__).with_name(f"{name}.py")  # in a process of its own: some fork, and here trainings have run
    command = [sys.executable, script, "--count", str(PART[name])]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(tmp_path))
    document = json.loads(done.stdout or "{}")
    assert document.get("failures") == [], done.stderr
    assert sum(document["outcomes"].values()) >= PART[name]
