"""In the kernel of a real notebook: what is printed is plain text, and quiet is quiet."""

import re
import sys

import pytest

nbclient = pytest.importorskip("nbclient")
nbformat = pytest.importorskip("nbformat")
pytest.importorskip("ipykernel")

SETTINGS = ["epochs=2", "device=cpu", "device.threads=1", "model.widths=[4]", "model.hidden=8"]


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    """What each cell has printed."""
    folder = tmp_path_factory.mktemp("notebook")
    cells = (
        f"from cnnbench import compose, train\nsettings = {SETTINGS}\ntrain(compose(settings), 'loud')['status']",
        "train(compose(settings), 'quiet', quiet=True)['status']",
        f"!{sys.executable} -c 'from cnnbench.cli import main; main()' compare quiet loud",
    )
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    nbclient.NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(folder)}}).execute()
    return [cell.outputs for cell in notebook.cells]


def text_of(outputs):
    return "".join(output.get("text", "") for output in outputs if output.output_type == "stream")


def test_tables_and_epochs_are_plain_text(outputs):
    text = text_of(outputs[0])
    assert "\x1b" not in text
    assert re.search(r"^optimizer +adamw lr=", text, re.MULTILINE)
    assert re.search(r"^\*? +epoch 2/2  val ", text, re.MULTILINE)
    assert re.search(r"^test accuracy +\d", text, re.MULTILINE)
    assert "\x1b" not in "".join(str(output.get("data", "")) for output in outputs[0])


def test_quiet_prints_nothing(outputs):
    (result,) = outputs[1]
    assert result["data"]["text/plain"] == "'finished'"


def test_a_command_started_from_a_cell_draws_nothing(outputs):
    text = text_of(outputs[2])
    assert "\x1b" not in text
    assert re.search(r"^test_accuracy of 1 group, 1 run", text, re.MULTILINE)
