import json

import pytest
from tiny import write_image


def test_without_a_name_every_data_set_has_a_line(cnnbench):
    exit_code, out, err = cnnbench("data", "--json")
    document = {entry["data"]: entry for entry in json.loads(out)}
    assert (exit_code, err) == (0, "")
    assert document["digits"]["image_shape"] == "1x8x8"
    assert document["image_folder"]["image_shape"] is None
    assert document["image_folder"]["problem"].startswith("data.root=null: ")


def test_a_data_set_is_described(cnnbench):
    exit_code, out, _ = cnnbench("data", "digits", "--json")
    document = json.loads(out)
    assert exit_code == 0
    assert [document[f"{part}_images"]["total"] for part in ("train", "val", "test")] == [1294, 144, 359]
    assert "1,294 (125 to 131 a class)" in cnnbench("data", "digits")[1]


def test_unreadable_images_are_listed(cnnbench, tmp_path):
    for name in "ab":
        for number in range(4):
            write_image(tmp_path / "images" / name / f"{number}.png")
    (tmp_path / "images" / "a" / "text.jpg").write_text("hello")
    settings = ["image_folder", f"data.root={tmp_path / 'images'}", "data.test_fraction=0"]
    exit_code, _, err = cnnbench("data", *settings)
    assert exit_code == 65
    assert err.startswith(f"error: {tmp_path / 'images' / 'a' / 'text.jpg'}: is no image")
    document = json.loads(cnnbench("data", *settings, "data.on_bad_image=skip", "--json")[1])
    assert len(document["skipped"]) == 1


@pytest.mark.parametrize(
    ("arguments", "exit_code", "message"),
    [
        (["digts"], 2, "data=digts: no such data; did you mean 'digits'?"),
        (["digits", "data.val_fraction=2"], 2, "data.val_fraction=2: should be a number >= 0 and < 1"),
        (["image_folder"], 2, "data.root=null: "),
        (["image_folder", "data.root=/nope"], 65, "/nope: "),
    ],
)
def test_mistakes_are_one_line(cnnbench, arguments, exit_code, message):
    result = cnnbench("data", *arguments)
    assert result[:2] == (exit_code, "")
    assert result[2].startswith(f"error: {message}")
    assert result[2].count("\n") == 1
