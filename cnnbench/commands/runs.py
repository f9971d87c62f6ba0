"""`cnnbench runs`: the run folders there are; chosen, sorted, tagged, moved away or deleted."""

from argparse import Namespace
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from cnnbench.analysis.listing import COLUMNS, Listed, describe, list_runs, place_below
from cnnbench.analysis.run_keys import Keys, choose, in_order, labels
from cnnbench.analysis.wording import plural
from cnnbench.commands.arguments import Parser
from cnnbench.commands.runs_screen import show_runs
from cnnbench.console import confirm, note, say, say_document, say_json
from cnnbench.errors import CnnbenchError
from cnnbench.progress import waiting
from cnnbench.runs.archiving import delete_run, move_run, plan_moves, refuse_deleting, size_of
from cnnbench.runs.tags import change_tags, check_tag, read_tags
from cnnbench.spreadsheet import to_csv

DESCRIPTION = """
Lists the runs in and below the folders, whatever became of them: how they ended, what differs between their configs,
what they reached. An expression chooses among them by what their summary.json and config say: status=failed,
'optimizer.lr>0.01 and not regularization=mixup', "error ~ 'out of memory'", tag=best.
"""


def main(arguments: Sequence[str]) -> None:
    """Shows the runs chosen; then does with them what was asked for.

    Raises:
        DataError: there is no run folder.
    """
    options = read_options(arguments)
    with waiting("reading runs"):
        keys = Keys(list_runs(options.folders))
        chosen = keys.runs if options.where is None else choose(keys, options.where)
        if options.sort is not None:
            chosen = in_order(chosen, keys, options.sort, reverse=options.reverse)
        elif options.reverse:
            chosen = chosen[::-1]
        named = labels(chosen, keys)
    moves = (
        plan_moves({run.path: place_below(run.path, options.folders) for run in chosen}, options.archive)
        if options.archive
        else {}
    )
    if options.delete:
        refuse_deleting(run.path for run in chosen)
    if options.tag or options.untag:
        change_tags((run.path for run in chosen), added=options.tag, removed=options.untag)
        chosen = [replace(run, tags=read_tags(run.path)) for run in chosen]
    show(chosen, named, options, len(keys.runs))
    if options.archive:
        if staying := len(chosen) - len(moves):
            note(f"{plural(staying, 'run')} in {options.archive} already, which stay")
        archive(moves, options)
    elif options.delete:
        delete([run.path for run in chosen], options)


def read_options(arguments: Sequence[str]) -> Namespace:
    """The command line.

    Raises:
        ConfigError: it is wrong.
    """
    parser = Parser("runs", DESCRIPTION)
    parser.add_argument("folders", nargs="+", type=Path, metavar="DIR", help="run folders, or folders of them")
    parser.add_argument("--where", metavar="EXPR", help="KEY OP VALUE, OP one of = != < <= > >= ~ (contains); and, or")
    parser.add_argument("--sort", metavar="KEY", help="of a metric the best first (default: by their start)")
    parser.add_argument("--reverse", action="store_true", help="the other way round")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--csv", action="store_true", help="print a row for each run")
    parser.add_argument("--tag", action="append", default=[], metavar="NAME", help="give the runs shown a tag")
    parser.add_argument("--untag", action="append", default=[], metavar="NAME", help="take a tag from the runs shown")
    parser.add_argument("--archive", type=Path, metavar="FOLDER", help="move the runs shown into a folder")
    parser.add_argument("--delete", action="store_true", help="delete the runs shown, for ever")
    parser.add_argument("--yes", action="store_true", help="move or delete without being asked")
    options = parser.parse_args(arguments)
    for flag in ("tag", "untag"):
        for name in getattr(options, flag):
            check_tag(f"--{flag}", name)
    if sum(map(bool, (options.tag or options.untag, options.archive, options.delete))) > 1:
        parser.error("--tag, --archive, --delete: one at a time")
    if options.json and options.csv:
        parser.error("--json --csv: one of them")
    if (options.json or options.csv) and (options.archive or options.delete) and not options.yes:
        parser.error("--json, --csv: leave nothing to ask; add --yes, or leave them out")
    return options


def show(runs: Sequence[Listed], named: Mapping[Path, str], options: Namespace, looked_at: int) -> None:
    """The runs as a table, or as a document."""
    if options.json:
        say_json([describe(run, named.get(run.path, "")) for run in runs])
    elif options.csv:
        say_document(csv_of([describe(run, named.get(run.path, "")) for run in runs]))
    elif runs:
        show_runs(options.folders, runs, named)
    if not runs:
        note(f"none of {plural(looked_at, 'run')} is meant by --where {options.where}")


def csv_of(documents: Sequence[Mapping[str, Any]]) -> str:
    """A row for each run, the keys of the documents as columns."""
    rows = [[" ".join(value) if key == "tags" else value for key, value in each.items()] for each in documents]
    return to_csv(COLUMNS, rows).decode()


def archive(moves: Mapping[Path, Path], options: Namespace) -> None:
    """Asks, then moves the runs."""
    into = f"{plural(len(moves), 'run')} into {options.archive}"
    if moves and (options.yes or confirm(f"move {into}?")):
        with_each("moving runs", moves, lambda run: move_run(run, moves[run]))
        tell(f"moved {into}", options)


def delete(runs: Collection[Path], options: Namespace) -> None:
    """Asks, then deletes the runs."""
    what = f"{plural(len(runs), 'run')}, {sum(map(size_of, runs)):,} bytes"
    if runs and (options.yes or confirm(f"delete {what}, for ever?")):
        with_each("deleting runs", runs, delete_run)
        tell(f"deleted {what}", options)


def with_each(what: str, runs: Collection[Path], act: Callable[[Path], None]) -> None:
    """Calls `act` with each run, also after one with which that does not work.

    Raises:
        CnnbenchError: with the lines of all with which it does not; of the kind of the first.
    """
    failed: list[CnnbenchError] = []
    with waiting(what, len(runs)) as wait:
        for run in runs:
            try:
                act(run)
            except CnnbenchError as error:
                failed.append(error)
            wait.advance()
    if failed:
        raise type(failed[0])(*(line for error in failed for line in error.findings))


def tell(text: str, options: Namespace) -> None:
    """Says what was done; where stdout is for a document on stderr."""
    (note if options.json or options.csv else say)(text)
