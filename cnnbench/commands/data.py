"""`cnnbench data`: which data sets are here; read one whole, check it and describe it."""

from collections.abc import Sequence
from typing import Any

from cnnbench.commands.arguments import Parser
from cnnbench.commands.places import PLACES, place_rows
from cnnbench.config.compose import compose
from cnnbench.console import say_json, show_table
from cnnbench.progress import loading_torch, waiting

DESCRIPTION = """
Prepare, check and describe data sets; without a name, show which are here. `cnnbench data check PATH` looks through a
folder of images before it is trained on; `cnnbench data check --help` says for what.
"""


def main(arguments: Sequence[str]) -> None:
    """Without a name, lists where the data sets are; with one, reads it and describes it; `check PATH` looks a folder
    of images through."""
    if arguments and arguments[0] == "check":
        with loading_torch():
            from cnnbench.commands.data_check import check

        check(arguments[1:])
        return
    parser = Parser("data", DESCRIPTION)
    parser.add_argument("name", nargs="?", help="a choice of `cnnbench list data`; or `check`, and a folder of images")
    parser.add_argument("overrides", nargs="*", metavar="data.KEY=VALUE", help="data.root=PATH data.download=true ...")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    options = parser.parse_args(arguments)
    with loading_torch():
        from cnnbench.data.inspect import describe_data, locate_all

    if options.name is None:
        report: Any = locate_all()
        table: tuple[Sequence[str], Sequence[Sequence[str]]] = (PLACES, place_rows(report))
    else:
        config = compose([f"data={options.name}", *options.overrides])
        with waiting(f"reading {options.name}"):
            report = describe_data(config.data, config.seed)
        table = ("data", ""), [(key, _show(value)) for key, value in report.items()]
    if options.json:
        say_json(report)
    else:
        show_table(*table)


def _show(value: Any) -> str:
    match value:
        case {"total": int(total), **by_class}:
            counts = [count for count in by_class.values() if isinstance(count, int)]
            return f"{total:,} ({min(counts):,} to {max(counts):,} a class)"
        case {**named}:
            return ", ".join(f"{key}: {_show(text)}" for key, text in named.items()) or "none"
        case [float(), *_]:
            return ", ".join(f"{number:.4f}" for number in value)
        case list():
            return ", ".join(map(str, value)) or "none"
    return "none" if value is None else str(value)
