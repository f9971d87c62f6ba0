"""`cnnbench data check`: a folder of images looked through before it is trained on."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cnnbench.commands.arguments import Parser
from cnnbench.config.compose import compose
from cnnbench.console import people_on_stderr, say, say_json, show_table
from cnnbench.data.check.examine import document, examine, list_images, read_images
from cnnbench.data.check.findings import KINDS
from cnnbench.data.check.near import VIEWS
from cnnbench.data.check.output import PAGE, write_check
from cnnbench.disk import expand_home
from cnnbench.errors import ConfigError, DataError
from cnnbench.machine import available_cores
from cnnbench.progress import waiting

DESCRIPTION = """
Reads every image of a folder as a training would, and finds what is damaged, odd, lopsided, and there twice or nearly
twice, above all across training and test. Writes a page, contact sheets and lists into a folder. Exit code 65 where a
training would fail, else 0.
"""


def check(arguments: Sequence[str]) -> None:
    """Checks the folder, writes what was found, and shows a table.

    Raises:
        DataError: a training would fail; the line says why.
    """
    parser = Parser("data check", DESCRIPTION)
    parser.add_argument("path", metavar="PATH", help="a folder of images, as data.root of data=image_folder")
    parser.add_argument("overrides", nargs="*", metavar="data.KEY=VALUE", help="data.train=FOLDER data.test=FOLDER ...")
    parser.add_argument("-o", "--output", type=Path, default=Path("data-check"), metavar="FOLDER",
                        help="where the page and the lists go (default: data-check)")  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    options = parser.parse_intermixed_args(arguments)
    root = expand_home(options.path).absolute()
    if options.output.absolute().resolve().is_relative_to(root.resolve()):
        raise ConfigError(f"--output {options.output}: lies in the folder that is checked; name one outside it")
    if options.json:
        with people_on_stderr():
            found = look_through(root, options.overrides, options.output)
        say_json(found)
    else:
        found = look_through(root, options.overrides, options.output)
        show(found)
        say(f"\npage: {options.output / PAGE}")
        if not found["exit_code"]:
            say(found["next"])
    if found["exit_code"]:
        raise DataError(f"{root}: {found['next']}")


def look_through(root: Path, overrides: Sequence[str], output: Path) -> dict[str, Any]:
    """Reads, finds, writes; gives back the document."""
    node = compose(["data=image_folder", *overrides]).data
    parts, places = list_images(root, {"train": node["train"], "val": node["val"], "test": node["test"]})
    workers = available_cores() if node["workers"] is None else node["workers"]
    with waiting("reading", len(places)) as wait:
        facts = read_images(root, parts, places, workers, wait.advance)
    with waiting("comparing", len(places) * len(VIEWS)) as wait:
        examined = examine(root, parts, places, facts, overrides, wait.advance)
    found = document(examined)
    with waiting("drawing", len(parts.class_names)) as wait:
        write_check(output, examined, found, wait.advance)
    return found


def show(found: dict[str, Any]) -> None:
    """The parts, then how much was found of each kind and what follows from it."""
    parts = [(part, found["taken"][part], f"{sum(classes.values()):,}") for part, classes in found["parts"].items()]
    show_table(("part", "folder", "images"), parts)
    say()
    rows: list[tuple[str, ...]] = [(f"{count:,}", kind, *KINDS[kind]) for kind, count in found["found"].items()]
    show_table(("number", "finding", "", "what follows"), rows or [("0", "findings", "", "")])
