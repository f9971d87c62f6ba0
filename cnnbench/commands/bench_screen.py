"""What `cnnbench bench RUN...` shows: a table with a row for each way to run a network."""

from collections.abc import Mapping, Sequence
from typing import Any

from cnnbench.analysis.wording import plural
from cnnbench.console import has_room, say, show_table

WIDE = 96  # columns of the whole table but for names; with fewer it has neither intervals nor p95
THROUGHPUT = "256"
Row = Mapping[str, Any]


def show_runs(document: Mapping[str, Any]) -> None:
    """The table, then what its columns stand for, how answers differ, and how busy the machine was."""
    rows = [row for row in document["results"] if row["problem"] is None]
    runs = list(dict.fromkeys(row["run"] for row in rows))
    named = len(runs) > 1
    wide = has_room(WIDE + named * max(map(len, runs), default=0))
    if rows:
        columns = ("run", "way", "images/s", "ratio", "ms at 1", "ms at 64", "MiB", "kB")
        table = [(row["run"], *cells(row, wide=wide)) for row in rows]
        show_table(columns[not named :], [line[not named :] for line in table])
        explain(document, wide=wide)
    for run in runs:
        say(answers([row for row in rows if row["run"] == run]))
    say(f"threads: {document['threads']}")
    show_load(document)


def explain(document: Mapping[str, Any], *, wide: bool) -> None:
    """What the columns stand for."""
    interval, latency = ("with its 95 % interval ", "p50 / p95") if wide else ("", "p50")
    turns = plural(document["rounds"][THROUGHPUT], "round")
    say(f"\nimages/s: 256 at a time. ratio: to {document['baseline']}, {interval}over {turns}.")
    say(f"ms: for 1 and 64 images, {latency}. MiB: for 256, beyond what is held. kB: of the weights or the file.")
    say("onnxruntime, on the processor, scales the pixels in the time shown; torch is given scaled ones.")


def show_load(document: Mapping[str, Any]) -> None:
    """How busy the machine was."""
    before, after = document["load_average"]
    say(f"load of the machine: {before:.2f} before, {after:.2f} after")


def cells(row: Row, *, wide: bool) -> tuple[str, ...]:
    """A row of the table, from the way on."""
    ratio, low, high = row["speedup"][THROUGHPUT]
    interval = f" ({low:.2f} to {high:.2f})" if wide and low is not None and low < high else ""
    latencies = [
        f"{ms['p50']:.2f} / {ms['p95']:.2f}" if wide else f"{ms['p50']:.2f}" for ms in row["latency_ms"].values()
    ]
    return (
        f"{row['way']} {row['precision']}" if row["way"] in ("policy", "compiled") else row["way"],
        f"{row['images_per_second']:,.0f}",
        f"{ratio:.2f}x{interval}",
        *latencies,
        "-" if row["peak_memory_bytes"] is None else f"{row['peak_memory_bytes'] / 2**20:,.1f}",
        f"{row['bytes'] / 1000:,.0f}",
    )


def answers(rows: Sequence[Row]) -> str:
    """Of a run with which images each way was asked, and for how many it gave another class than the run's network."""
    asked = {"val": "validation images", "train": "training images", None: "images of noise"}[rows[0]["split"]]
    others = [f"{row['way']} {100 * row['agreement']:.1f} %" for row in rows if row["agreement"] < 1]
    same = f"the same class for {', '.join(others)} of 256 {asked}" if others else f"the same classes for 256 {asked}"
    policies = [f"; policy: {row['precision']} {row['memory_format']}" for row in rows if row["way"] == "policy"]
    rest = ", all other ways for all" if others else ""
    return f"{rows[0]['run']}: {same}{rest}{''.join(policies)}"
