"""`cnnbench evaluate`: how a run's model does on its test split or on another data set of the same shape."""

from collections.abc import Sequence
from pathlib import Path

from cnnbench.commands.arguments import Parser
from cnnbench.console import say, say_json, show_table


def main(arguments: Sequence[str]) -> None:
    """Evaluates a run; reading its own test split once more is counted in its summary."""
    parser = Parser("evaluate", "Accuracy and loss of a run's model on its test split, or on other data.")
    parser.add_argument("run", type=Path, help="a run folder")
    parser.add_argument("overrides", nargs="*", metavar="data=CHOICE", help="other data: data=mnist data.root=PATH ...")
    parser.add_argument("--split", choices=("test", "val"), default="test", help="which part (default: test)")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    options = parser.parse_args(arguments)
    from cnnbench.screen import percent
    from cnnbench.trained.evaluate import evaluate_run

    document = evaluate_run(options.run, options.overrides, options.split)
    if options.json:
        say_json(document)
        return
    shown = {"loss": f"{document['loss']:.4f}"} | {
        key: percent(value) for key, value in document.items() if key.endswith("accuracy")
    }
    rows = list((document | shown).items())
    show_table(("evaluation", ""), rows)
    if "test_reads" in document:
        say(f"\nThis run's test split has now been read {document['test_reads']} times.")
