import csv
import json

import numpy as np
import pytest
from tiny import write_image

from cnnbench import load
from cnnbench.errors import DataError


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
    bad = [tmp_path / "text.jpg", tmp_path / "none.png"]
    exit_code, out, err = cnnbench("predict", train("run"), images[0], *bad)
    assert exit_code == 65
    assert "grey.png" in out  # what could be read has its answer
    assert [line.split(": ")[1] for line in err.splitlines()] == list(map(str, bad))


@pytest.fixture
def folder(tmp_path):
    """Images of a folder as people have them: nested, with what is none beside them, and a damaged one."""
    photos = tmp_path / "photos"
    for name in ("b.png", "a.jpg", "inner/c.png"):
        write_image(photos / name, (9, 9, 3))
    (photos / "notes.txt").write_text("hello")
    (photos / ".hidden.png").write_text("hello")
    (photos / "torn.png").write_bytes((photos / "b.png").read_bytes()[:-40])
    return photos


def test_a_folder_becomes_a_table_with_a_row_for_each_image(train, cnnbench, folder, tmp_path):
    path, file = train("run", "batch_size=1"), tmp_path / "answers.csv"
    exit_code, out, err = cnnbench("predict", path, folder, "--csv", file)
    with file.open(newline="") as text:
        rows = list(csv.DictReader(text))
    assert (exit_code, out) == (65, f"predictions: {file}\n")
    assert [row["image"] for row in rows] == [str(folder / n) for n in ("a.jpg", "b.png", "inner/c.png", "torn.png")]
    assert "2 files left out: extension .txt, hidden" in err
    assert "torn.png" in rows[-1].pop("error")
    assert set(rows[-1].values()) == {rows[-1]["image"], ""}
    for row in rows[:-1]:
        shares = [float(row[f"class {number}"]) for number in range(3)]
        assert row["error"] == ""
        assert sum(shares) == pytest.approx(1, abs=1e-5)
        assert float(row["probability"]) == max(shares) == shares[int(row["class"].split()[1])]


def test_answers_do_not_depend_on_how_images_fall_into_batches(train, cnnbench, images, tmp_path):
    path = train("run", "batch_size=1")
    many = json.loads(cnnbench("predict", path, *images, *images, "--json")[1])
    assert many[:4] == many[4:]
    (alone,) = json.loads(cnnbench("predict", path, images[2], "--json")[1])
    assert many[2]["probabilities"] == pytest.approx(alone["probabilities"], abs=1e-6)


def test_a_folder_without_images_and_a_file_that_cannot_be_written_are_refused(train, cnnbench, tmp_path, images):
    path = train("run", "epochs=1")
    (tmp_path / "empty").mkdir()
    exit_code, out, err = cnnbench("predict", path, tmp_path / "empty")
    assert (exit_code, out, err.count("\n")) == (65, "", 1)
    assert "empty: holds no images" in err
    assert cnnbench("predict", path, images[0], "--csv", tmp_path)[0] == 74


def test_from_python_a_file_gives_an_answer_and_several_a_list(train, cnnbench, images, folder):
    path = train("run")
    trained = load(path)
    expected = json.loads(cnnbench("predict", path, *images, "--json")[1])
    assert trained.predict(str(images[0]))["class"] == expected[0]["class"]
    assert trained.predict(images) == expected
    with pytest.raises(DataError, match="torn"):
        trained.predict(folder)
    (folder / "torn.png").unlink()
    assert [answer["image"] for answer in trained.predict(folder)] == [
        str(folder / name) for name in ("a.jpg", "b.png", "inner/c.png")
    ]


def test_wrong_arguments_are_one_line(train, cnnbench, images, tmp_path):
    path = train("run", "epochs=1")
    assert cnnbench("predict", path)[::2] == (
        2, "error: the following arguments are required: image; see `cnnbench predict --help`\n"
    )  # fmt: skip
    assert cnnbench("predict", path, images[0], "--top", "0")[0] == 2
    assert cnnbench("predict", tmp_path / "none", images[0])[0] == 65
