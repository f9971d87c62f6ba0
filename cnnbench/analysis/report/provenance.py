"""Where the numbers of a report come from: settings, machines, versions, commands, days, and how to cite it."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any

from cnnbench import __version__
from cnnbench.analysis.config_labels import ABSENT, Settings, settings_of, write_value
from cnnbench.analysis.metrics import Metric
from cnnbench.analysis.report.escape import Ready, tex
from cnnbench.analysis.report.terms import DASH, Named
from cnnbench.analysis.svg import shorten
from cnnbench.analysis.wording import ranges

MACHINE = (
    "hostname", "cpu", "cores", "platform", "python", "torch", "version", "git_commit", "git_dirty", "threads"
)  # fmt: skip
MOST_COMMANDS = 10
LONGEST_VALUE = 200


def differing_settings(named: Sequence[Named]) -> dict[str, Any]:
    """For each key in which the configs differ its values, and the numbers of the groups that have each."""
    known = known_settings(named)
    rows = []
    for key in keys_of(known.values()):
        groups: dict[str, list[int]] = defaultdict(list)
        for number, settings in known.items():
            groups[value_of(key, settings)].append(number)
        if len(groups) > 1:
            rows.append((key, [(value, ranges(numbers)) for value, numbers in groups.items()]))
    return {"rows": rows, "unread": [each.number for each in named if each.number not in known]}


def shared_settings(named: Sequence[Named]) -> list[tuple[str, str]]:
    """The settings on which all configs agree, as on the command line."""
    known = known_settings(named)
    values = {key: {value_of(key, settings) for settings in known.values()} for key in keys_of(known.values())}
    return [(key, next(iter(found))) for key, found in values.items() if len(found) == 1]


def known_settings(named: Sequence[Named]) -> dict[int, Settings]:
    """The settings of each group whose config can be read, by its number."""
    return {each.number: settings_of(each.group.config) for each in named if each.group.config is not None}


def keys_of(settings: Iterable[Settings]) -> list[str]:
    """All keys, in the order of the configs."""
    return list(dict.fromkeys(key for each in settings for key in each))


def value_of(key: str, settings: Settings) -> str:
    """A value as it may be shown."""
    return shorten(write_value(settings[key][1]), LONGEST_VALUE) if key in settings else ABSENT


def provenance(named: Sequence[Named], scale: Metric, today: date) -> dict[str, Any]:
    """Days, commands and machines of the runs, and how to cite the report.

    `machines` has a row for each key of MACHINE with its value on every distinct machine; `counts` the runs of each.
    """
    documents = [run.environment for each in named for run in each.group.runs]
    machines = Counter(machine_of(document) for document in documents).most_common()
    commands = Counter(text_of(document, "command") for document in documents if document.get("command"))
    days = sorted({str(document["started"])[:10] for document in documents if document.get("started")})
    commits = {text_of(document, "git_commit") for document in documents if document.get("git_commit")}
    title = f"cnnbench report: {scale.name} of {len(named)} group{'s' if len(named) > 1 else ''}"
    return {
        "title": title,
        "today": today.isoformat(),
        "days": " to ".join(dict.fromkeys((days[0], days[-1]))) if days else DASH,
        "commands": commands.most_common(MOST_COMMANDS),
        "more_commands": max(0, len(commands) - MOST_COMMANDS),
        "machines": [
            (key.replace("_", " "), [values[place] for values, _ in machines]) for place, key in enumerate(MACHINE)
        ],
        "counts": [count for _, count in machines],
        "citation": citation(title, today, sorted(commits)),
    }


def citation(title: str, today: date, commits: Sequence[str]) -> Ready:
    """An entry for BibTeX; safe in every format, for only what TeX escapes is of unknown origin."""
    lines = [
        f"title = {{{tex(title)}}}",
        "author = {{The cnnbench authors}}",
        f"year = {{{today.year}}}",
        f"month = {{{today.month}}}",
        f"version = {{{tex(__version__)}}}",
        f"note = {{Report of {today.isoformat()}{commit_note(commits)}}}",
    ]
    return Ready("@misc{cnnbench_report_" + today.strftime("%Y%m%d") + ",\n  " + ",\n  ".join(lines) + "\n}")


def commit_note(commits: Sequence[str]) -> str:
    """The commits of the runs, for a citation."""
    return f", commit {', '.join(tex(shorten(commit, 40)) for commit in commits[:3])}" if commits else ""


def machine_of(document: Mapping[str, Any]) -> tuple[str, ...]:
    """The values of MACHINE; dashes for those that are not known."""
    return tuple(text_of(document, key) for key in MACHINE)


def text_of(document: Mapping[str, Any], key: str) -> str:
    """A value as it may be shown."""
    return DASH if document.get(key) is None else shorten(write_value(document[key]), LONGEST_VALUE)
