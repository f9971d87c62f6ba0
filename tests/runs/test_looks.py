"""Which comparisons were looked at, noted in the user's cache."""

import json
import os
from pathlib import Path

import pytest
from run_folders import make_run

from cnnbench.runs.looks import Look, has_planned_looks, looks_at, note_look, read_looks

FILE = "looks.jsonl"


def test_a_look_is_noted_once_and_read_back(tmp_path):
    first, second = Look("test_accuracy", {"a": 6, "b": 6}), Look("test_accuracy", {"a": 8, "b": 8})
    for look in (first, first, second, second):
        note_look(tmp_path / FILE, look)
    assert read_looks(tmp_path / FILE) == [first, second]
    assert len((tmp_path / FILE).read_text().splitlines()) == 2


def test_what_is_no_look_is_left_out(tmp_path):
    lines = ["", "[]", "3", "{", '{"metric": 1, "seeds": {}}', '{"metric": "x", "seeds": {"a": -1}}', "\xff" * 20]
    lines += ['{"metric": "x", "seeds": {"a": true}}', json.dumps({"metric": "x", "seeds": {"a": 5}})]
    (tmp_path / FILE).write_text("\n".join(lines))
    assert read_looks(tmp_path / FILE) == [Look("x", {"a": 5})]


@pytest.mark.parametrize("make", [lambda path: os.mkfifo(path), lambda path: path.mkdir()])
def test_no_pipe_and_no_folder_is_read_or_written(tmp_path, make):
    make(tmp_path / FILE)
    assert read_looks(tmp_path / FILE) == []
    note_look(tmp_path / FILE, Look("x", {}))


def test_no_link_is_followed(tmp_path):
    target = tmp_path / "elsewhere"
    target.write_text("")
    (tmp_path / FILE).symlink_to(target)
    note_look(tmp_path / FILE, Look("x", {"a": 1}))
    assert target.read_text() == ""


def test_looks_at_a_run_are_those_at_the_folder_around_it_however_it_is_spelled(tmp_path, monkeypatch):
    path = make_run(tmp_path / "runs" / "one")
    monkeypatch.chdir(tmp_path)
    files = {looks_at([folder]) for folder in (path, tmp_path / "runs", Path("runs"), Path("runs/one"))}
    assert len(files) == 1
    assert looks_at([tmp_path]) not in files


def test_an_ablation_may_have_planned_its_looks(tmp_path):
    assert not has_planned_looks(tmp_path)
    for looks, expected in ((None, False), ({"seeds": [8]}, True)):
        (tmp_path / "ablation.json").write_text(json.dumps({"looks": looks}))
        assert has_planned_looks(tmp_path) is expected
