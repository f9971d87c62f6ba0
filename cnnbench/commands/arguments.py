"""An argparse parser whose mistakes are ConfigErrors: one line, exit code 2."""

import argparse
from pathlib import Path
from typing import Any, NoReturn

from cnnbench.analysis.metrics import DEFAULT_MARGIN, RELATIVE_MARGIN
from cnnbench.errors import ConfigError, DiskError

ASK = "\0"  # no shell can pass it on
"""What a verb is given as its one argument by who only wants its parser."""


class Asked(Exception):
    """Carries the `parser` of a verb that was given ASK."""

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        super().__init__(parser)
        self.parser = parser


class Parser(argparse.ArgumentParser):
    """For `cnnbench VERB`; raises ConfigError where argparse would print its usage and leave."""

    def __init__(self, verb: str, description: str) -> None:
        super().__init__(prog=f"cnnbench {verb}", description=description, allow_abbrev=False)
        self._verb = verb

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Raises: Asked, where that is what the arguments say."""
        if args == [ASK]:
            raise Asked(self)
        return super().parse_args(args, namespace)

    def parse_intermixed_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Raises: Asked, where that is what the arguments say."""
        if args == [ASK]:
            raise Asked(self)
        return super().parse_intermixed_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        """Raises: ConfigError."""
        raise ConfigError(f"{message}; see `cnnbench {self._verb} --help`")


def output_file(flag: str, file: Path | None) -> None:
    """Looks before the work whether its result can be written.

    Raises:
        DiskError: `file` is a folder, or lies in none.
    """
    if file and (file.is_dir() or not file.parent.is_dir()):
        raise DiskError(f"{flag} {file}: is a folder, or lies in one that is not there; name another file")


def comparison_parser(verb: str, description: str) -> Parser:
    """A parser of folders, `--baseline`, `--metric` and `--margin`."""
    parser = Parser(verb, description)
    parser.add_argument("folders", nargs="+", type=Path, metavar="DIR", help="run folders, or folders of them")
    parser.add_argument("--baseline", metavar="GROUP", help="label or hash of a group; default: the one run first")
    parser.add_argument("--metric", default="test_accuracy", help="a number of summary.json (default: test_accuracy)")
    parser.add_argument(
        "--margin",
        type=float,
        help=f"a difference below this has no practical effect, in the unit of the tables: points of an accuracy, "
        f"seconds, ... (default: {DEFAULT_MARGIN} points, else {RELATIVE_MARGIN * 100:g} %% of the baseline's)",
    )
    return parser
