"""`cnnbench list`: the choices of every group, from the first line of their YAML files."""

from collections.abc import Sequence
from pathlib import Path

from cnnbench.commands.arguments import Parser
from cnnbench.config.mistakes import suggest
from cnnbench.config.tables import conf_folder
from cnnbench.console import say, say_json, show_table
from cnnbench.errors import ConfigError


def main(arguments: Sequence[str]) -> None:
    """Shows the groups, or the choices of one."""
    parser = Parser("list", "What can be chosen: the groups, or the choices of one with a line on each.")
    parser.add_argument("group", nargs="?", help="model, data, optimizer, ...")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    options = parser.parse_args(arguments)
    groups = {folder.name: choices(folder) for folder in sorted(conf_folder().iterdir()) if any(folder.glob("*.yaml"))}
    if options.group and options.group not in groups:
        raise ConfigError(f"{options.group}: no such group{suggest(options.group, groups)}")
    if options.json:
        say_json(groups[options.group] if options.group else groups)
    elif options.group:
        show_table((options.group, ""), groups[options.group].items())
    else:
        show_table(("group", "choices"), [(name, " ".join(group)) for name, group in groups.items()])
        say("\n`cnnbench list GROUP` says what each one is.")


def choices(folder: Path) -> dict[str, str]:
    """The choices of a group, each with its one-line description."""
    return {path.stem: first_comment(path) for path in sorted(folder.glob("*.yaml"))}


def first_comment(path: Path) -> str:
    """The first comment of a YAML file that is not Hydra's package directive."""
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("#") and "@package" not in line:
            return line.lstrip("# ").strip()
    return ""
