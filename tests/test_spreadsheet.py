import csv
import io

import pytest

from cnnbench.spreadsheet import to_csv


@pytest.mark.parametrize(
    ("cell", "written"),
    [
        ("=cmd()", "'=cmd()"),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=cmd()", r"\x09=cmd()"),
        ("a\nb", r"a\x0ab"),
        ("plain, with comma", "plain, with comma"),
        ("\udcff.png", r"\udcff.png"),
        (-1.5, "-1.5"),
        (None, ""),
    ],
)
def test_a_cell_is_read_back_as_text_and_never_as_a_formula(cell, written):
    rows = list(csv.reader(io.StringIO(to_csv(["a", "b"], [[1, cell]]).decode())))
    assert rows == [["a", "b"], ["1", written]]
