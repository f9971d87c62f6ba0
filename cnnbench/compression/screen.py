"""What a compression shows: the run it was made of and the run itself, side by side."""

from collections.abc import Mapping
from typing import Any

from cnnbench.analysis.compressed import spell_ends
from cnnbench.console import note, say, show_table
from cnnbench.screen import percent
from cnnbench.techniques.compression.compression import Compression

WAYS = {"policy": "in the policy of the run", "compiled": "through torch's compiler", "eager": "eager, in fp32"}
Summary = Mapping[str, Any]


def show_outcome(parent: Summary, summary: Summary, compression: Compression) -> None:
    """A row for each thing that was measured of both, then how many times as fast and as small it is."""
    clock = summary["clock"]
    rows = {row["name"]: row for row in clock["rows"]}
    disk = (clock["disk_bytes"]["parent"], summary["disk_bytes"])
    ways = f"256 images at a time, {WAYS[rows['run']['way']]}"
    table = [
        ("test accuracy", percent(parent.get("test_accuracy")), percent(summary["test_accuracy"]), ""),
        ("validation accuracy", percent(parent.get("best_val_accuracy")), percent(summary["best_val_accuracy"]), ""),
        counted("parameters", parent, summary),
        counted("of them not zero", parent, summary, "nonzero_parameters"),
        counted("multiply-adds an image", parent, summary, "macs"),
        ("bytes on disk", *(f"{size:,}" for size in disk), f"{disk[0] / disk[1]:.2f}x smaller"),
    ]
    for size in ("1", "64"):
        cells = [
            f"{ms['p50']:.2f} / {ms['p95']:.2f}" for ms in (rows[who]["latency_ms"][size] for who in ("parent", "run"))
        ]
        what = f"ms for {size} image{'s' if size != '1' else ''}, p50 / p95"
        table.append((what, *cells, spell_ends(clock["speedup"][size])))
    speeds = [f"{rows[who]['images_per_second']:,.0f}" for who in ("parent", "run")]
    table.append(("images/s", *speeds, spell_ends(clock["speedup"]["256"])))
    memory = [rows[who]["peak_memory_bytes"] for who in ("parent", "run")]
    if None not in memory:
        table.append(("peak memory, MiB", *(f"{each / 2**20:,.1f}" for each in memory), ""))
    say()
    show_table(("", "before", "after", ""), table)
    say(f"\n{outcome_line(summary)} ({ways})")
    if not compression.speeds_up:
        note("no speed-up expected: zeros are multiplied like all other numbers; compression=filters removes them")


def counted(what: str, parent: Summary, summary: Summary, key: str | None = None) -> tuple[str, str, str, str]:
    """A row of a number of both summaries."""
    before, after = (each.get(key or what) for each in (parent, summary))
    ratio = f"{before / after:.2f}x fewer" if before and after and before != after else ""
    return what, f"{before:,}" if before is not None else "-", f"{after:,}" if after is not None else "-", ratio


def outcome_line(summary: Summary) -> str:
    """`2.4x (2.3 to 2.5) as fast as its parent, 9.1x (8.7 to 9.4) as fast as in eager fp32 at first, 3.9x smaller`."""
    clock = summary["clock"]
    parts = [f"{spell_ends(clock['speedup']['256'])} as fast as its parent"]
    if clock["speedup_over_eager"]:
        parts.append(f"{spell_ends(clock['speedup_over_eager']['256'])} as fast as the first of them in eager fp32")
    return f"{', '.join(parts)}, {summary['size_ratio']:.1f}x smaller"
