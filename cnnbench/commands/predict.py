"""`cnnbench predict`: class probabilities of image files."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cnnbench.analysis.wording import plural
from cnnbench.commands.arguments import Parser, output_file
from cnnbench.console import note, say_exactly, say_json, show_table
from cnnbench.disk import write_atomically
from cnnbench.errors import ConfigError
from cnnbench.progress import loading_torch, waiting

SHOWN = 50  # images on the screen


def main(arguments: Sequence[str]) -> None:
    """Shows the most probable classes of each image, or writes all of them to a file."""
    parser = Parser("predict", "The most probable classes of images, by a run's model.")
    parser.add_argument("run", type=Path, help="a run folder")
    parser.add_argument("images", type=Path, nargs="+", metavar="image", help="image files, or folders of them")
    parser.add_argument("--top", type=int, default=3, metavar="K", help="classes to show for each image (default: 3)")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write a row for each image, with all classes")
    parser.add_argument("--json", action="store_true", help="print one JSON document with all classes")
    options = parser.parse_args(arguments)
    if options.top < 1:
        parser.error(f"--top={options.top}: should be a whole number >= 1")
    if addresses := [str(image) for image in options.images if re.match(r"[a-z]+:/", str(image))]:
        raise ConfigError(*(f"{address}: is an address; fetch it, then give the file" for address in addresses))
    output_file("--csv", options.csv)
    with loading_torch():
        from cnnbench.trained.load import load_trained
        from cnnbench.trained.predict import images_of, predict_images, predictions_csv, refuse_unreadable

    paths, ignored = images_of(options.images)
    trained = load_trained(options.run)
    predictions = []
    with waiting(f"looking at {plural(len(paths), 'image')}", len(paths)) as wait:
        for prediction in predict_images(trained, paths):
            predictions.append(prediction)
            wait.advance(1)
    if options.csv:
        write_atomically(options.csv, predictions_csv(predictions, trained.class_names))
    if options.json:
        say_json(predictions)
    elif options.csv:
        say_exactly(f"predictions: {options.csv}")
    else:
        show(predictions, options.top)
    if ignored:
        reasons = sorted({each.reason for each in ignored})
        note(f"{plural(len(ignored), 'file')} left out: {', '.join(reasons)}")
    refuse_unreadable(predictions)


def show(predictions: Sequence[Mapping[str, Any]], top: int) -> None:
    """A row for each image that could be read."""
    from cnnbench.screen import percent

    good = [prediction for prediction in predictions if "error" not in prediction]
    rows = []
    for prediction in good[:SHOWN]:
        ranked = sorted(prediction["probabilities"].items(), key=lambda item: -item[1])[:top]
        rows.append((prediction["image"], ", ".join(f"{name} {percent(share)}" for name, share in ranked)))
    if rows:
        show_table(("image", "classes"), rows)
    if len(good) > SHOWN:
        note(f"{len(good) - SHOWN} more images; --csv FILE writes all, --json prints them")
