"""The examples of docs/python.md, one after the other in one process, and the notebook in a real kernel."""

import os
import re
import sys
from pathlib import Path

import pytest
from printed import ROOT
from tiny import write_image

GUIDE, NOTEBOOK = ROOT / "docs" / "python.md", ROOT / "docs" / "first_steps.ipynb"
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_every_example_of_the_guide_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_image(tmp_path / "photo.png")
    names = {"__name__": "guide"}
    blocks = BLOCK.findall(GUIDE.read_text("utf-8"))
    for block in blocks:
        exec(compile(block, GUIDE.name, "exec"), names)
    assert len(blocks) >= 8
    assert "did you mean 'deep'" in capsys.readouterr().out


@pytest.fixture(scope="module")
def notebook():
    nbformat = pytest.importorskip("nbformat")
    return nbformat.read(NOTEBOOK, as_version=4)


def test_the_notebook_runs_from_the_top(notebook, tmp_path, monkeypatch):
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    monkeypatch.setenv("PATH", os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    shown = [cell.get("outputs", []) for cell in notebook.cells]
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    ran = [cell.get("outputs", []) for cell in notebook.cells]
    assert [kinds(outputs) for outputs in ran] == [kinds(outputs) for outputs in shown]


def kinds(outputs):
    """Which sorts of output a cell has, so that what is shown is what it gives."""
    return sorted({output.output_type for output in outputs})
