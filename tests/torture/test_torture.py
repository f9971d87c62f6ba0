"""A fixed part of the torture, small enough for every CI run; `python tests/torture/NAME.py` is the whole."""

from importlib import import_module
from pathlib import Path

import pytest
from torture import Report

PART: dict[str, int] = {"config": 160, "execution": 6, "signals": 3, "places": 7}
"""Tries of each script in CI; together they take less than three minutes on two cores."""


def test_every_script_has_a_part_here():
    others = ("torture", "test_torture", "all")
    assert {path.stem for path in Path(__file__).parent.glob("*.py")} - set(others) == set(PART)


@pytest.mark.parametrize("name", PART)
def test_nothing_is_lost_or_let_in(name, tmp_path):
    report = Report()
    import_module(name).torture(report, PART[name], 0, tmp_path)
    assert report.failures == []
    assert sum(report.outcomes.values()) >= PART[name]
