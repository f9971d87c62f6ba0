"""`cnnbench doctor`: this machine, how fast it trains in each policy, which data sets it has, and what to do."""

from collections.abc import Mapping, Sequence
from typing import Any

from cnnbench.commands.arguments import Parser
from cnnbench.commands.places import PLACES, place_rows
from cnnbench.console import say, say_json, show_table
from cnnbench.machine import LoadMeter, describe_machine
from cnnbench.progress import loading_torch, waiting

BUSY_CORES, STOLEN = 0.5, 0.05  # from where on it is told


def main(arguments: Sequence[str]) -> None:
    """Shows the machine and a recommendation; takes about ten seconds."""
    parser = Parser(
        "doctor", "This machine: cores, GPU, how fast it trains in each policy, data sets, a recommendation."
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    options = parser.parse_args(arguments)
    document = examine()
    if options.json:
        say_json(document)
        return
    show_table(("machine", ""), [(key, show(value)) for key, value in document["machine"].items()])
    say("\nA training step of three convolutions in each policy:\n")
    columns = ("precision", "memory format", "threads", "training step", "speed")
    plain = seconds_of_plain(document["policies"])
    show_table(columns, [policy_row(policy, plain) for policy in document["policies"]])
    say()
    show_table(PLACES, place_rows(document["data"]))
    say("\n`cnnbench data NAME` downloads what is not there.")
    say(f"\nrecommendation: {document['recommendation']}")


def examine() -> dict[str, Any]:
    """Measures; everything that `doctor --json` prints."""
    meter = LoadMeter()
    with loading_torch():
        from cnnbench.data.inspect import locate_all
        from cnnbench.device import describe_compute
        from cnnbench.speed.policies import time_policies
    with waiting("looking at the machine and its data sets"):
        machine, data = describe_machine() | describe_compute(), locate_all()
    load = meter.load()  # of the seconds in which little of our own was done
    machine |= {"busy_cores": round(load.busy_cores, 2), "stolen": round(load.stolen, 3)}
    with waiting("timing a training step in each policy, 5 s"):
        policies = time_policies()
    document = {"machine": machine, "policies": policies, "data": data}
    return document | {"recommendation": recommend(document)}


def recommend(document: Mapping[str, Any]) -> str:
    """The one thing to do next, for which there is a reason in the document."""
    machine, policies = document["machine"], document["policies"]
    fastest, plain = policies[0], seconds_of_plain(policies)
    if machine["busy_cores"] >= BUSY_CORES:
        cores = f"other programs use {machine['busy_cores']:.1f} of {machine['cores']} cores"
        return f"{cores}; end them before you measure speed. `cnnbench train` takes as many threads as pay beside them"
    words = f"{fastest['precision']}, {fastest['memory_format']}, {spell_threads(fastest['threads'])}"
    gain = f", {plain / fastest['seconds']:.1f}x fp32 in torch's own order" if plain else ""
    on = "the GPU" if fastest["device"] == "cuda" else "the processor"
    return f"`cnnbench train` as it is; device=auto will time {words} on {on}{gain}{noise(machine)}"


def noise(machine: Mapping[str, Any]) -> str:
    """What makes timings of this machine differ from one to the next."""
    if machine["stolen"] < STOLEN:
        return ""
    return (
        f"; {machine['stolen']:.0%} of its time goes to other machines of the host, so compare speeds in one run only"
    )


def seconds_of_plain(policies: Sequence[Mapping[str, Any]]) -> float | None:
    """A step as torch does it if it is not told otherwise: fp32, contiguous, all threads."""
    plain = [p for p in policies if (p["precision"], p["memory_format"]) == ("fp32", "contiguous")]
    return max(plain, key=lambda policy: policy["threads"])["seconds"]


def policy_row(policy: Mapping[str, Any], plain: float | None) -> tuple[str, ...]:
    """A line of the table of policies; `plain` is the seconds of fp32 contiguous on all threads."""
    names = policy["precision"], policy["memory_format"], str(policy["threads"])
    if policy["seconds"] is None:
        return (*names, policy["problem"].partition(";")[0], "")
    return *names, f"{1000 * policy['seconds']:.1f} ms", f"{plain / policy['seconds']:.2f}x" if plain else ""


def spell_threads(count: int) -> str:
    """`1 thread`, `2 threads`."""
    return f"{count} thread{'s' if count > 1 else ''}"


def show(value: Any) -> str:
    """A fact about the machine in words."""
    if isinstance(value, list):
        return ", ".join(value)
    if isinstance(value, dict):
        return ", ".join(f"{key} {number:,.0f}" for key, number in value.items())
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "none"}[value]
    return f"{value / 2**30:.1f} GiB" if isinstance(value, int) and value > 2**20 else str(value)
