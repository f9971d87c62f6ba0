"""What `compare` prints for people: a document of verdicts as tables and lines."""

from collections.abc import Mapping, Sequence
from typing import Any

from cnnbench.console import has_room, note, say, show_table
from cnnbench.groups import count_reasons
from cnnbench.interval_bars import draw_intervals

PER_CENT = ("accuracy", "gap")  # the last word of the metrics that are fractions
WIDE = 120  # characters: below, effect sizes and drawn intervals are left out
Document = Mapping[str, Any]


def show(document: Document) -> None:
    """Verdicts with their intervals drawn, then costs, then what does not count."""
    groups, names = document["groups"], short_names(document)
    runs = sum(group["n"] for group in groups)
    say(f"{document['metric']} of {counted(len(groups), 'group')}, {counted(runs, 'run')}\n")
    show_verdicts(document, names)
    say("")
    show_costs(groups)
    if predictions := document.get("predictions"):
        show_predictions(predictions, {group["group_hash"]: str(number) for number, group in enumerate(groups)})
    for line in remarks(document):
        note(line)


def counted(number: int, what: str) -> str:
    """`1 run`, `2 runs`."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def show_verdicts(document: Document, names: Sequence[str]) -> None:
    """A row for each group: its mean, its difference from the baseline, and the verdict."""
    unit = Unit(document["metric"])
    compared = {comparison["candidate"]: comparison for comparison in document["comparisons"]}
    rows = [compared.get(group["group_hash"], {}) for group in document["groups"]]
    bars = draw_intervals([row.get("mean_difference") for row in rows], [row.get("ci95") for row in rows])
    columns = [
        "",
        "group",
        "n",
        f"mean ± sd{unit.of_values}",
        f"difference{unit.of_differences}",
        "p (Holm)",
        "verdict",
    ]
    cells = [
        [
            number,
            name,
            group["n"],
            unit.spread(group["mean"], group["sd"]),
            *(judged(row, unit) if row else ("", "", "baseline")),
        ]
        for number, (group, name, row) in enumerate(zip(document["groups"], names, rows, strict=True))
    ]
    if has_room(WIDE):
        columns += ["dz", ""]
        for line, row, bar in zip(cells, rows, bars, strict=True):
            line += ["" if row.get("effect_size") is None else f"{row['effect_size']:.1f}", bar]
    show_table(columns, cells)


def short_names(document: Document) -> list[str]:
    """The groups' labels; of a candidate only what differs from the baseline."""
    compared = {comparison["candidate"]: comparison["label"] for comparison in document["comparisons"]}
    return [compared.get(group["group_hash"], group["label"]) for group in document["groups"]]


def judged(row: Mapping[str, Any], unit: "Unit") -> tuple[str, ...]:
    """A comparison in words: difference with its interval, p, verdict."""
    needed, floor = row["seeds_needed"], row["p_floor"]
    verdict = row["verdict"]
    if verdict == "undecided" and needed:
        verdict += f", {needed} seeds would do"
    p = "" if row["p_holm"] is None else f"{row['p_holm']:.2g}"
    return (
        unit.difference(row["mean_difference"], row["ci95"]),
        f"{p} (floor {floor:.2g})" if p and floor and floor > 0.05 else p,
        verdict,
    )


class Unit:
    """How a metric is written: fractions in per cent and points, all else as it is."""

    def __init__(self, metric: str) -> None:
        self._factor = 100 if metric.rpartition("_")[2] in PER_CENT else 1
        self._format = ",.2f" if self._factor == 100 else ",.4g"
        self.of_values = " (%)" if self._factor == 100 else ""
        self.of_differences = " (points)" if self._factor == 100 else ""

    def _write(self, value: float, sign: str = "") -> str:
        return format(self._factor * value, sign + self._format)

    def spread(self, mean: float, sd: float | None) -> str:
        """`90.12 ± 0.34`, or the value alone."""
        return self._write(mean) if sd is None else f"{self._write(mean)} ± {self._write(sd)}"

    def difference(self, mean: float | None, interval: Sequence[float] | None) -> str:
        """`+0.52 [+0.20, +0.81]`."""
        if mean is None:
            return "no shared seed"
        ends = "" if interval is None else f" [{', '.join(self._write(end, '+') for end in interval)}]"
        return self._write(mean, "+") + ends


def show_costs(groups: Sequence[Mapping[str, Any]]) -> None:
    """A row for each group with the medians of its costs; columns nobody has are left out."""
    columns = {
        "train s": ("train_seconds", ",.1f"),
        "images/s": ("images_per_second", ",.0f"),
        "latency ms": ("latency_ms", ",.2f"),
        "parameters": ("parameters", ",.0f"),
        "MACs": ("macs", ",.0f"),
        "bytes": ("model_bytes", ",.0f"),
    }
    shown = {name: column for name, column in columns.items() if any(g[column[0]] is not None for g in groups)}
    targets = any(group["target"] for group in groups)
    show_table(
        ("", *shown, *(["s to target"] if targets else [])),
        [
            (
                number,
                *(cost(group, key, form) for key, form in shown.values()),
                *([to_target(group["target"])] if targets else []),
            )
            for number, group in enumerate(groups)
        ],
    )
    say("* no other group is as good for less")


def cost(group: Mapping[str, Any], key: str, form: str) -> str:
    """A cost, marked where the group is on its Pareto front."""
    return "" if group[key] is None else format(group[key], form) + "*" * (key in group["on_front_of"])


def to_target(target: Mapping[str, Any] | None) -> str:
    """`median [low, high]` training seconds, and how many runs missed the target."""
    if target is None:
        return ""
    low, high = target["ci95"] or (None, None)
    ends = f" [{seconds(low)}, {seconds(high)}]" if target["ci95"] else ""
    missed = f", {target['missed']} missed" if target["missed"] else ""
    return f"{seconds(target['median_seconds'])}{ends}{missed}"


def seconds(value: float | None) -> str:
    """A time; None stands for a miss."""
    return "never" if value is None else f"{value:,.1f}"


def show_predictions(predictions: Mapping[str, Any], numbers: Mapping[str, str]) -> None:
    """Each group's ensemble beside the baseline's, then the test images that most runs miss."""
    compared = {pair["candidate"]: pair for pair in predictions["comparisons"]}
    say("")
    show_table(
        ("", "runs", "ensemble (%)", "own churn (%)", "churn against the baseline (%)", "p (McNemar)"),
        [
            (
                numbers[group["group_hash"]],
                group["n"],
                per_cent(group["ensemble_accuracy"]),
                per_cent(group["churn"]),
                per_cent(compared.get(group["group_hash"], {}).get("churn")),
                f"{pair['mcnemar_p']:.2g}" if (pair := compared.get(group["group_hash"])) else "",
            )
            for group in predictions["groups"]
        ],
    )
    hard = [f"{row['image']} (class {row['label']})" for row in predictions["hardest"]]
    say(f"\nhardest test images: {', '.join(hard) or 'none that any run misses'}")
    if predictions["left_out"]:
        note(f"predictions missing, damaged or of other images: {', '.join(predictions['left_out'])}")


def per_cent(share: float | None) -> str:
    """A share in per cent; nothing for None."""
    return "" if share is None else f"{100 * share:.2f}"


def remarks(document: Document) -> list[str]:
    """What to know beside the tables: seeds without a partner, unequal numbers of runs, folders that do not count."""
    lines = [
        f"{row['label']}: seeds {', '.join(map(str, row['unpaired_seeds']))} have no partner "
        "and take no part in the comparison"
        for row in document["comparisons"]
        if row["unpaired_seeds"]
    ]
    if document["skipped"]:
        lines.append(f"left out: {count_reasons(row['reason'] for row in document['skipped'])}")
    return lines
