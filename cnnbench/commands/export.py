"""`cnnbench export`: a run's model as a file for other programs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cnnbench.commands.arguments import Parser, output_file
from cnnbench.console import say_exactly, say_json, show_table
from cnnbench.errors import ConfigError
from cnnbench.progress import loading_torch

ENDINGS = {"onnx": ".onnx", "torch_export": ".pt2", "safetensors": ".safetensors"}


def main(arguments: Sequence[str]) -> None:
    """Writes the file, once it has given the run's answers, and says where and how near they were."""
    parser = Parser("export", "Writes a run's model to a file, once reopened it has given the run's answers.")
    parser.add_argument("run", type=Path, help="a run folder")
    parser.add_argument(
        "--format",
        choices=tuple(ENDINGS),
        required=True,
        help="onnx: for onnxruntime and others; torch_export: for torch alone; safetensors: the weights",
    )
    parser.add_argument("--int8", action="store_true", help="of onnx, in integers of 8 bits: smaller and faster")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="default: the run folder's name, here")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    options = parser.parse_args(arguments)
    if options.int8 and options.format != "onnx":
        raise ConfigError(f"--int8: there is no int8 of --format {options.format}; use --format onnx, or leave it out")
    output = options.output or Path(options.run.resolve().name + ENDINGS[options.format])
    output_file("--output", output)
    with loading_torch():
        from cnnbench.trained.export.to_file import export_run

    document = export_run(options.run, output, options.format, int8=options.int8)
    if options.json:
        say_json(document)
        return
    show_table(("export", ""), shown(document).items())
    say_exactly(f"export: {output}")


def shown(document: dict[str, Any]) -> dict[str, str]:
    """What a person wants to know of an export."""
    from cnnbench.screen import percent

    rows = {"format": f"{document['format']}{', int8' if document['int8'] else ''}", "bytes": f"{document['bytes']:,}"}
    if "tensors" in document:
        return rows | {"tensors": f"{document['tensors']}, all equal"}
    return rows | {
        "compared on": f"{document['images']} {document['split']} images",
        "same class": percent(document["agreement"]),
        "largest difference": f"{document['largest_difference']:.2g} of logits up to {document['largest_logit']:.2g}",
    }
