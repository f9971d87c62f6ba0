"""The pictures of the hardest images: those of the run's own test split, or none."""

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image
from tiny import set_summary, summary

from cnnbench.errors import DataError
from cnnbench.runs.predictions import load_labels
from cnnbench.trained.thumbnails import thumbnails_of, to_png


def pictures(page):
    """The PNGs of a page, decoded."""
    found = re.findall(r'src="data:image/png;base64,([^"]*)"', page.read_text())
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(text)))) for text in found]


def test_a_report_shows_the_hardest_test_images(train, cnnbench, tmp_path):
    path = train("run")
    assert cnnbench("report", path, "-o", "page.html")[0] == 0
    shown = pictures(tmp_path / "page.html")
    assert shown
    assert {image.shape for image in shown} == {(8, 8)}
    assert summary(path)["test_reads"] == 1


def test_of_other_images_none_are_shown_and_the_page_says_so(train, cnnbench, tmp_path):
    path = train("run")
    set_summary(path, data_fingerprints=summary(path)["data_fingerprints"] | {"test": "0" * 64})
    assert cnnbench("report", path, "-o", "page.html")[0] == 0
    assert pictures(tmp_path / "page.html") == []
    assert "its test images are not those of the run any more" in (tmp_path / "page.html").read_text()


def test_the_order_of_the_labels_has_to_be_that_of_the_answers(train):
    path = train("run")
    labels = load_labels(path)
    assert len(thumbnails_of(path, [3, 0], labels).pngs) == 2
    with pytest.raises(DataError, match="not those of the run"):
        thumbnails_of(path, [0], labels[::-1])


@pytest.mark.parametrize(("shape", "size"), [((3, 200, 100), (32, 64)), ((1, 8, 8), (8, 8))])
def test_a_thumbnail_keeps_its_proportions_and_is_small(shape, size):
    picture = Image.open(io.BytesIO(to_png(np.full(shape, 7, np.uint8))))
    assert picture.size == size
    assert picture.mode == ("RGB" if shape[0] == 3 else "L")
