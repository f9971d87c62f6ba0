"""What `compare` and `report` ask for alike: which folders, against which group, by which metric."""

import math
from argparse import Namespace
from pathlib import Path

from cnnbench.arguments import Parser
from cnnbench.errors import ConfigError
from cnnbench.groups import Collection, Group, collect
from cnnbench.same_data import refuse_different_data
from cnnbench.verdicts import Comparison, choose_baseline, compare_with


def comparison_parser(verb: str, description: str) -> Parser:
    """A parser of folders, `--baseline`, `--metric` and `--margin`."""
    parser = Parser(verb, description)
    parser.add_argument("folders", nargs="+", type=Path, metavar="DIR", help="run folders, or folders of them")
    parser.add_argument("--baseline", metavar="GROUP", help="label or hash of a group; default: the one run first")
    parser.add_argument("--metric", default="test_accuracy", help="a number of summary.json (default: test_accuracy)")
    parser.add_argument(
        "--margin", type=float, default=0.002, help="a difference below this has no practical effect (default: 0.002)"
    )
    return parser


def compare_folders(options: Namespace) -> tuple[Collection, Group, list[Comparison]]:
    """What is in the folders, the baseline, and every other group against it.

    Raises:
        ConfigError: the margin is no number from 0 on, or there is no such baseline.
        DataError: a folder is not there, no run counts, or the runs are on different data.
    """
    if not 0 <= options.margin < math.inf:
        raise ConfigError(f"--margin {options.margin}: should be a number of at least 0, as 0.002 for 0.2 points")
    collection = collect(options.folders, options.metric)
    refuse_different_data(collection.groups)
    baseline = choose_baseline(collection.groups, options.baseline)
    return collection, baseline, compare_with(baseline, collection.groups, options.metric, options.margin)
