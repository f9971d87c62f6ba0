"""`cnnbench doctor`: this machine, which precisions work on it and which is fastest, and which data sets it has."""

from collections.abc import Sequence
from typing import Any

from cnnbench.commands.arguments import Parser
from cnnbench.commands.places import PLACES, place_rows
from cnnbench.console import say, say_json, show_table


def main(arguments: Sequence[str]) -> None:
    """Shows the machine; takes about ten seconds."""
    parser = Parser("doctor", "This machine: cores, instruction sets, GPU, speed of each precision, data sets found.")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    options = parser.parse_args(arguments)
    from cnnbench.data.inspect import locate_all
    from cnnbench.device import describe_compute
    from cnnbench.machine import describe_machine
    from cnnbench.speed.policies import time_policies

    document: dict[str, Any] = {
        "machine": describe_machine() | describe_compute(),
        "policies": time_policies(),
        "data": locate_all(),
    }
    if options.json:
        say_json(document)
        return
    show_table(("machine", ""), [(key, show(value)) for key, value in document["machine"].items()])
    say()
    say("A training step of three convolutions in each policy:\n")
    columns = ("precision", "memory format", "training step", "speed against the first")
    plain = document["policies"][0]["seconds"]
    show_table(columns, [policy_row(policy, plain) for policy in document["policies"]])
    say()
    show_table(PLACES, place_rows(document["data"]))
    say("\n`cnnbench data NAME` downloads what is not there.")


def policy_row(policy: dict[str, Any], plain: float) -> tuple[str, ...]:
    """A line of the table of policies; `plain` is the seconds of fp32 contiguous."""
    if policy["seconds"] is None:
        return policy["precision"], policy["memory_format"], policy["problem"].partition(";")[0], ""
    return (
        policy["precision"],
        policy["memory_format"],
        f"{1000 * policy['seconds']:.1f} ms",
        f"{plain / policy['seconds']:.2f}x",
    )


def show(value: Any) -> str:
    """A fact about the machine in words."""
    if isinstance(value, list):
        return ", ".join(value)
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "none"}[value]
    return f"{value / 2**30:.1f} GiB" if isinstance(value, int) and value > 2**20 else str(value)
