"""`cnnbench report`: verdicts, curves and costs as one HTML file that loads nothing, or as tables for a paper."""

from collections.abc import Sequence
from datetime import date
from pathlib import Path

from cnnbench.analysis.comparison import compare_folders, note_comparison
from cnnbench.analysis.metrics import margin_in
from cnnbench.analysis.report.page import Format, page_document, render
from cnnbench.analysis.wording import plural
from cnnbench.commands.arguments import comparison_parser, output_file
from cnnbench.console import say
from cnnbench.disk import write_atomically
from cnnbench.progress import loading_torch, waiting
from cnnbench.runs.predictions import Classes


def main(arguments: Sequence[str]) -> None:
    """Writes the report and says where."""
    parser = comparison_parser(
        "report", "Writes what the runs in and below the folders show as one HTML file that loads nothing."
    )
    parser.add_argument("-o", "--output", type=Path, help="default: report.html, or .md or .tex")
    parser.add_argument(
        "--format",
        choices=("html", "md", "tex"),
        help="html; md for a README; tex: tables for a paper (default: by the ending of the output)",
    )
    options = parser.parse_args(arguments)
    endings: dict[str, Format] = {".md": "md", ".tex": "tex"}
    form: Format = options.format or endings.get(options.output.suffix.lower() if options.output else "", "html")
    output = options.output or Path(f"report.{form}")
    output_file("--output", output)
    margin = margin_in(f"--margin {options.margin}", options.margin, options.metric)
    with waiting("comparing runs"):
        found = compare_folders(options.folders, options.baseline, options.metric, margin)
    note_comparison(options.folders, found)
    with waiting(f"drawing the report of {plural(len(found.collection.groups), 'group')}"):
        document = page_document(
            found,
            output.parent,
            today=date.today(),
            thumbnails=read_thumbnails if form == "html" else None,
        )
        write_atomically(output, render(document, form).encode())
    say(f"report: {output}")


def read_thumbnails(run: Path, indices: Sequence[int], labels: Classes) -> tuple[Sequence[bytes], Sequence[str]]:
    """Reads some test images of a run."""
    with waiting("reading the test images, to show the hardest"), loading_torch():
        from cnnbench.trained.thumbnails import thumbnails_of

        return thumbnails_of(run, indices, labels)
