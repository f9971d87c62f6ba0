"""`cnnbench predict`: class probabilities of image files."""

import re
from collections.abc import Sequence
from pathlib import Path

from cnnbench.commands.arguments import Parser
from cnnbench.console import say_json, show_table
from cnnbench.errors import ConfigError
from cnnbench.progress import loading_torch


def main(arguments: Sequence[str]) -> None:
    """Shows the most probable classes of each image."""
    parser = Parser("predict", "The most probable classes of images, by a run's model.")
    parser.add_argument("run", type=Path, help="a run folder")
    parser.add_argument("images", type=Path, nargs="+", metavar="image", help="image files")
    parser.add_argument("--top", type=int, default=3, metavar="K", help="classes to show for each image (default: 3)")
    parser.add_argument("--json", action="store_true", help="print one JSON document with all classes")
    options = parser.parse_args(arguments)
    if options.top < 1:
        parser.error(f"--top={options.top}: should be a whole number >= 1")
    if addresses := [str(image) for image in options.images if re.match(r"[a-z]+:/", str(image))]:
        raise ConfigError(*(f"{address}: is an address; fetch it, then give the file" for address in addresses))
    with loading_torch():
        from cnnbench.screen import percent
        from cnnbench.trained.load import load_trained
        from cnnbench.trained.predict import predict_images

    predictions = predict_images(load_trained(options.run), options.images)
    if options.json:
        say_json(predictions)
        return
    rows = []
    for prediction in predictions:
        ranked = sorted(prediction["probabilities"].items(), key=lambda item: -item[1])[: options.top]
        rows.append((prediction["image"], ", ".join(f"{name} {percent(share)}" for name, share in ranked)))
    show_table(("image", "classes"), rows)
