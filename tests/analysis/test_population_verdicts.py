"""Verdicts that have to hold for other test images too."""

import json

import numpy as np
import pytest
from run_folders import CONFIG, make_run

from cnnbench.cli import run
from cnnbench.runs.predictions import write_predictions

OTHER = {"optimizer": CONFIG["optimizer"] | {"lr": 0.5}}


def save_answers(path, right, seed, config):
    """A run that answers so: class 1 where it is right, 0 elsewhere, of images that are all of class 1."""
    labels = np.ones(len(right), dtype=np.int64)
    logits = np.zeros((len(right), 2), dtype=np.float32)
    logits[np.arange(len(right)), right.astype(int)] = 5.0
    make_run(path, float(right.mean()), seed=seed, config=config)
    write_predictions(path, logits, labels)


def two_groups(folder, images, favoured, seeds=8):
    """A baseline that errs on a tenth of the images, and a candidate that is right on `favoured` of these as well."""
    for seed in range(seeds):
        own = np.random.default_rng(seed)
        wrong = np.zeros(images, dtype=bool)
        wrong[: images // 10] = True
        better = wrong.copy()
        better[:favoured] = False
        for name, errs, config in (("a", wrong, {}), ("b", better, OTHER)):
            flipped = errs ^ (own.random(images) < 0.001)
            save_answers(folder / f"{name}{seed}", ~flipped, seed, config)
    return folder


def compared(capsys, *arguments):
    assert run(["compare", *map(str, arguments), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    return document["comparisons"][0], document


def test_three_images_of_three_hundred_help_on_these_images_but_not_beyond(tmp_path, capsys):
    folder = two_groups(tmp_path, 300, 3)
    on_these, _ = compared(capsys, folder)
    beyond, document = compared(capsys, folder, "--population")
    assert (on_these["verdict"], beyond["verdict"]) == ("helps", "undecided")
    assert beyond["held"].startswith("helps on these test images; on others it may be chance")
    assert beyond["ci95"][0] == 0.0
    assert "other test images too" in document["judged"]
    (pair,) = document["predictions"]["comparisons"]
    assert pair["population"]["ci95"][0] <= 0 < pair["population"]["ci95"][1]


def test_what_helps_on_many_images_helps_beyond_them(tmp_path, capsys):
    beyond, _ = compared(capsys, two_groups(tmp_path, 2000, 100), "--population")
    assert (beyond["verdict"], beyond["held"]) == ("helps", None)


def test_no_effect_on_these_images_may_be_one_on_others(tmp_path, capsys):
    """Ten of two hundred images are wrong for the one, ten others for the other: on average nothing changes, here."""
    for seed in range(8):
        for name, first, config in (("a", 0, {}), ("b", 10, OTHER)):
            right = np.ones(200, dtype=bool)
            right[first : first + 10] = False
            save_answers(tmp_path / f"{name}{seed}", right, seed, config)
    on_these, _ = compared(capsys, tmp_path)
    beyond, _ = compared(capsys, tmp_path, "--population")
    assert (on_these["verdict"], beyond["verdict"]) == ("no practical effect", "undecided")
    assert "on others it may be beyond the margin" in beyond["held"]


def test_without_predictions_nothing_is_said_of_other_images(tmp_path, capsys):
    for seed in range(8):
        make_run(tmp_path / f"a{seed}", 0.9, seed=seed)
        make_run(tmp_path / f"b{seed}", 0.95 + seed / 1000, seed=seed, config=OTHER)
    beyond, _ = compared(capsys, tmp_path, "--population")
    assert beyond["verdict"] == "undecided"
    assert "nothing is known of others" in beyond["held"]


def test_the_screen_shows_both_questions(tmp_path, capsys):
    assert run(["compare", str(two_groups(tmp_path, 300, 3)), "--population"]) == 0
    shown = capsys.readouterr().out
    assert "for other images too" in shown
    assert "McNemar judges these two ensembles on these images, not the techniques" in " ".join(shown.split())
    assert "verdicts only where they hold for other seeds and other test images too" in " ".join(shown.split())


def test_only_the_accuracy_has_predictions(tmp_path, capsys):
    two_groups(tmp_path, 50, 0, seeds=2)
    assert run(["compare", str(tmp_path), "--population", "--metric", "test_loss"]) == 2
    assert "is about test_accuracy" in capsys.readouterr().err


@pytest.mark.parametrize("flags", [["--population"], ["--predictions"]])
def test_all_pairs_have_their_predictions_compared(tmp_path, capsys, flags):
    folder = two_groups(tmp_path, 100, 2, seeds=2)
    _, document = compared(capsys, folder, "--all-pairs", *flags)
    assert len(document["predictions"]["comparisons"]) == 1


def test_the_report_asks_both_questions(tmp_path):
    folder = two_groups(tmp_path / "runs", 300, 3)
    assert run(["report", str(folder), "-o", str(tmp_path / "page.html")]) == 0
    page = (tmp_path / "page.html").read_text()
    assert "On other test images" in page
    assert "ask of these 300 test images and other seeds" in " ".join(page.split())
