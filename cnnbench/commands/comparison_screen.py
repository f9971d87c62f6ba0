"""What `compare` prints for people: a document of verdicts as tables and lines."""

from collections.abc import Mapping, Sequence
from typing import Any

from cnnbench.analysis.compared_predictions import spell_population
from cnnbench.analysis.failures import write_rate
from cnnbench.analysis.groups import count_reasons
from cnnbench.analysis.metrics import MISSED, Metric, metric_of
from cnnbench.analysis.statistics.levels import ALPHA
from cnnbench.analysis.wording import plural, write_p, write_seeds_needed, write_verdict
from cnnbench.commands.interval_bars import draw_intervals
from cnnbench.console import has_room, note, say, show_table

TIMES = ("train_seconds", "total_seconds", "images_per_second", "latency_ms", "time_to_target")
SURE = 0.995  # of a share: written as 100 %, which says nothing
WIDE = 120  # characters: below, effect sizes and drawn intervals are left out
Document = Mapping[str, Any]


def show(document: Document) -> None:
    """Verdicts with their intervals drawn, then costs, then what does not count."""
    candidates = {comparison["candidate"] for comparison in document["comparisons"]}
    groups = sorted(document["groups"], key=lambda group: group["group_hash"] in candidates)  # the baseline is 0
    document = {**document, "groups": groups}
    runs = sum(group["n"] for group in groups)
    say(f"{document['metric']} of {plural(len(groups), 'group')}, {plural(runs, 'run')}\n")
    pairs = [(comparison["baseline"], comparison["candidate"]) for comparison in document["comparisons"]]
    if len({baseline for baseline, _ in pairs}) > 1:
        show_groups(document)
        say("")
        show_pairs(document)
    else:
        show_verdicts(document, short_names(document))
    if document["comparisons"]:
        say(document["judged"])
    for comparison in document["comparisons"]:
        show_explanation(comparison, document["groups"])
    say("")
    show_costs(groups)
    show_compressed(document)
    if predictions := document.get("predictions"):
        show_predictions(predictions, {group["group_hash"]: str(number) for number, group in enumerate(groups)})
    for line in remarks(document):
        note(line)


def show_compressed(document: Document) -> None:
    """What each compression gained in speed and size, then each in one line; nothing where there is none."""
    if not document["compressed"]:
        return
    numbers = {group["group_hash"]: number for number, group in enumerate(document["groups"])}
    rows = document["compressed"]
    say("")
    show_table(
        ("", "compressed", "x as before", "x eager fp32", "x smaller", "front"),
        [
            (
                numbers[row["group_hash"]],
                row["n"],
                ratio_cell(row["speedup"]),
                ratio_cell(row["speedup_over_eager"]),
                "" if row["size_ratio"] is None else f"{row['size_ratio']:.1f}",
                front_cell(row),
            )
            for row in rows
        ],
    )
    say("as fast as before: run alike; eager fp32: the first network as torch gives it; 256 images at a time")
    for row in rows:
        say(f"{numbers[row['group_hash']]}  {row['sentence']}")


def ratio_cell(ratio: Sequence[float | None] | None) -> str:
    """`2.41 [2.35, 2.48]`."""
    if ratio is None:
        return ""
    value, low, high = ratio
    return f"{value:.2f}" + (f" [{low:.2f}, {high:.2f}]" if low is not None and high is not None else "")


def front_cell(row: Document) -> str:
    """Whether it is on the front of the metric and the time of an image, and in how many resamples."""
    share = row["front_share"]
    sure = "" if share is None else f" {100 * share:.0f} %"
    return f"*{sure}" if row["on_front"] else sure.strip()


def show_explanation(comparison: Document, groups: Sequence[Document]) -> None:
    """Why the verdict is what it is, where that was asked for."""
    if "explanation" not in comparison:
        return
    numbers = {group["group_hash"]: number for number, group in enumerate(groups)}
    against = numbers[comparison["baseline"]]
    say(f"\n{numbers[comparison['candidate']]}  {comparison['label']}, against {against}:")
    for line in comparison["explanation"]:
        say(f"  {line}")


def show_verdicts(document: Document, names: Sequence[str]) -> None:
    """A row for each group: its mean, its difference from the baseline, and the verdict."""
    scale = metric_of(document["metric"])
    compared = {comparison["candidate"]: comparison for comparison in document["comparisons"]}
    rows = [compared.get(group["group_hash"], {}) for group in document["groups"]]
    cells = [
        [*cells, *(judged(row, scale) if row else ("", "", "baseline"))]
        for cells, row in zip(described(document, names), rows, strict=True)
    ]
    show_with_room([*group_columns(document), *judged_columns(scale)], cells, rows)


def show_groups(document: Document) -> None:
    """A row for each group, without a comparison."""
    names = [group["technique"] or group["label"] for group in document["groups"]]
    show_table(group_columns(document), described(document, names))


def show_pairs(document: Document) -> None:
    """A row for every two groups that were compared, by their numbers."""
    scale = metric_of(document["metric"])
    numbers = {group["group_hash"]: number for number, group in enumerate(document["groups"])}
    rows = document["comparisons"]
    cells = [
        [f"{numbers[row['candidate']]} against {numbers[row['baseline']]}", row["n_pairs"], *judged(row, scale)]
        for row in rows
    ]
    show_with_room(["groups", "pairs", *judged_columns(scale)], cells, rows)


def judged_columns(scale: Metric) -> list[str]:
    """The headings above what `judged` says of a comparison."""
    return [in_unit("difference", scale.difference_unit), "p (family)", "verdict"]


def show_with_room(columns: Sequence[str], cells: Sequence[Sequence[Any]], rows: Sequence[Document]) -> None:
    """The table, with effect sizes and drawn intervals where there is room for them."""
    if has_room(WIDE):
        bars = draw_intervals([row.get("mean_difference") for row in rows], [row.get("ci95") for row in rows])
        columns = [*columns, "dz", ""]
        cells = [
            [*line, "" if row.get("effect_size") is None else f"{row['effect_size']:.1f}", bar]
            for line, row, bar in zip(cells, rows, bars, strict=True)
        ]
    show_table(columns, cells)


def group_columns(document: Document) -> list[str]:
    """The headings of what is said of each group."""
    mean = in_unit("mean ± sd", metric_of(document["metric"]).shown_unit)
    return ["", "group", "n", mean, *(["diverged"] if some_diverged(document) else [])]


def described(document: Document, names: Sequence[str]) -> list[list[Any]]:
    """The cells below `group_columns`, a row for each group."""
    scale, rows = metric_of(document["metric"]), []
    for number, (name, group) in enumerate(zip(names, document["groups"], strict=True)):
        rows.append([number, name, group["n"], scale.write_spread(group["mean"], group["sd"])])
        if some_diverged(document):
            rate = group["failures"]
            rows[-1].append(write_rate(rate["diverged"], rate["runs"], rate["ci95"]))
    return rows


def some_diverged(document: Document) -> bool:
    """Whether a run of any group has."""
    return any(group["failures"]["diverged"] for group in document["groups"])


def short_names(document: Document) -> list[str]:
    """What an ablation calls the groups, else their labels; of a candidate only what differs from the baseline."""
    compared = {comparison["candidate"]: comparison["label"] for comparison in document["comparisons"]}
    return [group["technique"] or compared.get(group["group_hash"], group["label"]) for group in document["groups"]]


def in_unit(what: str, unit: str) -> str:
    """The heading of a column, with the unit where there is one."""
    return f"{what} ({unit})" if unit else what


def judged(row: Mapping[str, Any], scale: Metric) -> tuple[str, ...]:
    """A comparison in words: difference with its interval, p, verdict."""
    mean, interval, floor = row["mean_difference"], row["ci95"], row["p_floor"]
    if floor is None:
        return ("no shared seed", "", row["verdict"])
    difference = MISSED if mean is None else scale.write_difference(mean)
    verdict = row["verdict"]
    if verdict == "undecided" and row["seeds_needed"] and not row["held"]:
        verdict += f", {write_seeds_needed(row['seeds_needed'], row['n_pairs'])} seeds would do"
    p = write_p(row["p_family"])
    return (
        f"{difference} {scale.write_interval(interval)}" if interval else difference,
        f"{p} (floor {floor:.2g})" if p and floor > ALPHA else p,
        write_verdict(verdict, row["held"], row["notes"]),
    )


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
    say("* no other mean is as good for less, in so many % of resamples; † another is better for less beyond chance")


def cost(group: Mapping[str, Any], key: str, form: str) -> str:
    """A cost, with the group's standing on its Pareto front: whether it is on it, and how surely."""
    if group[key] is None:
        return ""
    share = group["front_share"].get(key)
    sure = "" if share is None or share > SURE else f" {100 * share:.0f} %"
    mark = "†" if key in group["dominated_at"] else f"*{sure}" if key in group["on_front_of"] else ""
    return format(group[key], form) + mark


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


BEYOND = (
    "groups", "for other images too (points)", "p", "±", "± of all seeds", "± of all images", "churn (%)", "p (McNemar)"
)  # fmt: skip


def show_predictions(predictions: Mapping[str, Any], numbers: Mapping[str, str]) -> None:
    """Each group's ensemble beside the baseline's, what holds beyond these images, the images that most runs miss."""
    say("")
    show_table(
        ("", "runs", "ensemble (%)", "own churn (%)"),
        [
            (
                numbers[group["group_hash"]],
                group["n"],
                per_cent(group["ensemble_accuracy"]),
                per_cent(group["churn"]),
            )
            for group in predictions["groups"]
        ],
    )
    if pairs := predictions["comparisons"]:
        say("")
        show_table(
            BEYOND,
            [
                (
                    f"{numbers[pair['candidate']]} against {numbers[pair['baseline']]}",
                    *beyond_these_images(pair["population"]),
                    per_cent(pair["churn"]),
                    f"{pair['mcnemar_p']:.2g} ({pair['n_runs']} v {pair['n_runs']})",
                )
                for pair in pairs
            ],
        )
        say("for other images too: 95 % interval over seeds and images like these; ± is 1.96 standard errors of it")
        say(f"McNemar judges {predictions['mcnemar_judges']}")
    hard = [f"{row['image']} (class {row['label']})" for row in predictions["hardest"]]
    say(f"\nhardest test images: {', '.join(hard) or 'none that any run misses'}")
    if predictions["left_out"]:
        note(f"predictions missing, damaged or of other images: {', '.join(predictions['left_out'])}")


def beyond_these_images(population: Mapping[str, Any] | None) -> tuple[str, ...]:
    """The difference over seeds and images with its interval, p, and its errors."""
    if population is None:
        return ("", "", "", "", "")
    spelled = spell_population(population)
    return f"{spelled.difference} [{', '.join(spelled.interval)}]", spelled.p, *spelled.errors


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
    lines += [
        f"{group['label']}: all {plural(group['failures']['runs'], 'run')} diverged; there is nothing to compare"
        for group in document["without_result"]
    ]
    lines += document["warnings"]
    lines += document["mixed_policies"]
    lines += document["times"] if document["metric"] in TIMES else []
    if document["skipped"]:
        lines.append(f"left out: {count_reasons(row['reason'] for row in document['skipped'])}")
    return lines
