"""`cnnbench report`: one HTML file of verdicts, curves and costs that loads nothing and can be handed on."""

import math
import statistics as plain
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cnnbench import __version__, plots
from cnnbench.arguments import Parser
from cnnbench.console import say, visible
from cnnbench.disk import write_atomically
from cnnbench.errors import ConfigError, DiskError
from cnnbench.groups import Collection, Group, Skipped, collect
from cnnbench.report_sections import (
    MACHINE,
    costs,
    differing_settings,
    environments,
    gaps,
    learning,
    predictions,
    run_rows,
)
from cnnbench.report_terms import Scale, name_groups, relative
from cnnbench.report_verdicts import forest, headline, verdict_rows
from cnnbench.same_data import refuse_different_data
from cnnbench.verdicts import choose_baseline, compare_with


def main(arguments: Sequence[str]) -> None:
    """Writes the page and says where."""
    parser = Parser("report", "Writes what the runs in and below the folders show as one HTML file that loads nothing.")
    parser.add_argument("folders", nargs="+", type=Path, metavar="DIR", help="run folders, or folders of them")
    parser.add_argument("-o", "--output", type=Path, default=Path("report.html"), help="default: report.html")
    parser.add_argument("--baseline", metavar="GROUP", help="label or hash of a group; default: the one run first")
    parser.add_argument("--metric", default="test_accuracy", help="a number of summary.json (default: test_accuracy)")
    parser.add_argument(
        "--margin", type=float, default=0.002, help="a difference below this has no practical effect (default: 0.002)"
    )
    options = parser.parse_args(arguments)
    if not 0 <= options.margin < math.inf:
        raise ConfigError(f"--margin {options.margin}: should be a number of at least 0, as 0.002 for 0.2 points")
    if options.output.is_dir() or not options.output.parent.is_dir():
        raise DiskError(f"--output {options.output}: is a folder, or lies in one that is not there; name another file")
    collection = collect(options.folders, options.metric)
    refuse_different_data(collection.groups)
    baseline = choose_baseline(collection.groups, options.baseline)
    document = describe(collection, baseline, options.metric, options.margin, options.output.parent)
    write_atomically(options.output, render(document).encode())
    say(f"report: {options.output}")


def describe(collection: Collection, baseline: Group, metric: str, margin: float, folder: Path) -> dict[str, Any]:
    """All that stands on the page, as plain values and SVG; paths are relative to `folder`."""
    scale = Scale.of(metric)
    named = name_groups(collection.groups, baseline)
    comparisons = compare_with(baseline, collection.groups, metric, margin)
    best = max(collection.groups, key=lambda group: scale.sign * plain.fmean(group.numbers(metric)))
    return {
        "version": __version__,
        "scale": scale,
        "margin": f"{margin * scale.factor:g} {scale.difference_unit}".rstrip(),
        "headline": headline(named, baseline, comparisons, scale),
        "verdicts": verdict_rows(named, baseline, comparisons, scale, metric),
        "has_latency": any(group.numbers("latency_ms") for group in collection.groups),
        "marks": plots.VERDICT_MARKS,
        "forest": forest(named, comparisons, margin, scale),
        "learning": learning(named),
        "costs": costs(named, metric, scale),
        "gaps": gaps(named),
        "predictions": predictions(named, [baseline] if best is baseline else [baseline, best], folder),
        "groups": [(each.number, each.label) for each in named],
        "settings": differing_settings(named),
        "machine": [key.replace("_", " ") for key in MACHINE],
        "environments": environments(named),
        "runs": run_rows(named, metric, scale, folder),
        "skipped": [skipped_row(skipped, folder) for skipped in collection.skipped],
        "on_black": plots.ON_BLACK,
    }


def skipped_row(skipped: Skipped, folder: Path) -> tuple[str, str]:
    """A folder that does not count, and why."""
    shown = relative(skipped.path, folder)
    return shown, skipped.reason.replace(str(skipped.path), shown)


def render(document: dict[str, Any]) -> str:
    """The page: the one place where text becomes HTML, escaped, with invisible characters spelled out."""
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    def spell_out(value: Any) -> Any:
        return visible(value, keep="\n") if isinstance(value, str) and not isinstance(value, Markup) else value

    environment = Environment(
        loader=PackageLoader("cnnbench"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=spell_out,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html.j2").render(document)
