import json

import numpy as np
import pytest
from tiny import write_image


@pytest.fixture
def images(tmp_path):
    return [
        write_image(tmp_path / "grey.png"),
        write_image(tmp_path / "colour.jpg", (20, 30, 3)),
        write_image(tmp_path / "transparent.png", (8, 8, 4)),
        write_image(tmp_path / "deep.png", dtype=np.uint16),
    ]


def test_probabilities_of_images_of_every_mode_sum_to_one(train, cnnbench, images):
    exit_code, out, err = cnnbench("predict", train("run"), *images, "--json")
    document = json.loads(out)
    assert (exit_code, err) == (0, "")
    assert [entry["image"] for entry in document] == list(map(str, images))
    for entry in document:
        assert list(entry["probabilities"]) == ["class 0", "class 1", "class 2"]
        assert sum(entry["probabilities"].values()) == pytest.approx(1, abs=1e-5)
        assert entry["class"] == max(entry["probabilities"], key=entry["probabilities"].get)


def test_the_most_probable_classes_come_first(train, cnnbench, images):
    path = train("run")
    (entry,) = json.loads(cnnbench("predict", path, images[0], "--json")[1])
    out = cnnbench("predict", path, images[0], "--top", "2")[1]
    ranked = sorted(entry["probabilities"], key=entry["probabilities"].get, reverse=True)
    assert out.index(ranked[0]) < out.index(ranked[1])
    assert ranked[2] not in out


def test_every_file_that_is_no_image_is_named(train, cnnbench, images, tmp_path):
    (tmp_path / "text.jpg").write_text("hello")
    bad = [tmp_path / "text.jpg", tmp_path / "none.png", tmp_path]
    exit_code, out, err = cnnbench("predict", train("run"), images[0], *bad)
    assert (exit_code, out) == (65, "")
    assert [line.split(": ")[1] for line in err.splitlines()] == list(map(str, bad))


def test_wrong_arguments_are_one_line(train, cnnbench, images, tmp_path):
    path = train("run", "epochs=1")
    assert cnnbench("predict", path)[::2] == (
        2, "error: the following arguments are required: image; see `cnnbench predict --help`\n"
    )  # fmt: skip
    assert cnnbench("predict", path, images[0], "--top", "0")[0] == 2
    assert cnnbench("predict", tmp_path / "none", images[0])[0] == 65
