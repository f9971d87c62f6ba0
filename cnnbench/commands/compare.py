"""`cnnbench compare`: which groups of runs are better than a baseline, by how much, and whether this is sure."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from cnnbench.analysis.compared_predictions import compare_predictions
from cnnbench.analysis.comparison import compare_folders, comparison_csv, comparison_document, note_comparison
from cnnbench.analysis.explain import explain
from cnnbench.analysis.methods import how_judged, methods_paragraph
from cnnbench.analysis.metrics import margin_in
from cnnbench.analysis.population_verdicts import METRIC as POPULATION_METRIC
from cnnbench.analysis.population_verdicts import with_population
from cnnbench.commands.arguments import comparison_parser, output_file
from cnnbench.commands.comparison_screen import show
from cnnbench.console import say_exactly, say_json
from cnnbench.disk import write_atomically
from cnnbench.progress import waiting


def main(arguments: Sequence[str]) -> None:
    """Prints a verdict for every group but the baseline, and what each group costs."""
    parser = comparison_parser(
        "compare",
        "Groups the runs in and below the folders by everything but the seed, and compares each group with a baseline, "
        "paired by seed: mean difference with a 95 % interval, exact sign-flip p, joint for all that are compared, and "
        "a verdict.",
    )
    parser.add_argument("--all-pairs", action="store_true", help="compare every group with every other")
    parser.add_argument("--predictions", action="store_true", help="also compare the saved test predictions")
    parser.add_argument(
        "--population",
        action="store_true",
        help="a verdict only where it holds for other seeds and other test images too, by the saved predictions",
    )
    parser.add_argument(
        "--explain", action="store_true", help="why each verdict is what it is, in five lines, and what would change it"
    )
    parser.add_argument("--methods", action="store_true", help="print a paragraph for a paper, with its sources")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write a row for each group")
    options = parser.parse_args(arguments)
    if options.population and options.metric != POPULATION_METRIC:
        parser.error(f"--population: is about {POPULATION_METRIC}, of which predictions are saved; leave out --metric")
    if options.all_pairs and options.baseline is not None:
        parser.error("--all-pairs: compares without a baseline; leave out --baseline")
    output_file("--csv", options.csv)
    margin = margin_in(f"--margin {options.margin}", options.margin, options.metric)
    with waiting("comparing runs"):
        compared = compare_folders(
            options.folders, options.baseline, options.metric, margin, every_pair=options.all_pairs
        )
        predictions = None
        if options.predictions or options.population:
            pairs = [(comparison.baseline, comparison.candidate) for comparison in compared.comparisons]
            predictions = compare_predictions(pairs, compared.collection.groups)
        if predictions and options.population:
            found = {(each["baseline"], each["candidate"]): each["population"] for each in predictions["comparisons"]}
            stricter = with_population(compared.comparisons, found, compared.margin)
            compared = replace(compared, comparisons=stricter, asks_population=True)
        document = comparison_document(compared) | {"judged": how_judged(compared)}
        if options.explain:
            for described, comparison in zip(document["comparisons"], compared.comparisons, strict=True):
                described["explanation"] = explain(comparison, compared.metric, compared.margin)
        if options.methods:
            document["methods"] = methods_paragraph(compared)
        if predictions:
            document["predictions"] = predictions
    note_comparison(options.folders, compared)
    if options.csv:
        write_atomically(options.csv, comparison_csv(document))
    if options.json:
        say_json(document)
    elif options.methods:
        for line in document["methods"]:
            say_exactly(line)
    else:
        show(document)
