"""`cnnbench report`: one HTML file of verdicts, curves and costs that loads nothing and can be handed on."""

from collections.abc import Sequence
from pathlib import Path

from cnnbench.analysis.comparison import compare_folders
from cnnbench.analysis.metrics import margin_in
from cnnbench.analysis.report.page import page_document, render
from cnnbench.commands.arguments import comparison_parser, output_file
from cnnbench.console import say
from cnnbench.disk import write_atomically
from cnnbench.progress import waiting


def main(arguments: Sequence[str]) -> None:
    """Writes the page and says where."""
    parser = comparison_parser(
        "report", "Writes what the runs in and below the folders show as one HTML file that loads nothing."
    )
    parser.add_argument("-o", "--output", type=Path, default=Path("report.html"), help="default: report.html")
    options = parser.parse_args(arguments)
    output_file("--output", options.output)
    margin = margin_in(f"--margin {options.margin}", options.margin, options.metric)
    with waiting("comparing runs"):
        found = compare_folders(options.folders, options.baseline, options.metric, margin)
    with waiting("drawing the report"):
        document = page_document(*found, options.metric, margin, options.output.parent)
        write_atomically(options.output, render(document).encode())
    say(f"report: {options.output}")
