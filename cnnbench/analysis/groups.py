"""Run folders, found and grouped by everything but the seed. They may come from elsewhere: nothing is trusted."""

import json
import math
import os
import statistics as plain
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from cnnbench.analysis.config_labels import label_configs
from cnnbench.analysis.images import images_of, shared_images, splits_by_seed
from cnnbench.analysis.metrics import metric_of, number_of
from cnnbench.disk import read_regular
from cnnbench.errors import DataError
from cnnbench.runs.format import ENVIRONMENT, METRICS, SUMMARY
from cnnbench.runs.read import has_diverged, read_config, read_summary, with_added_epochs
from cnnbench.runs.sweep_record import places_in_sweep
from cnnbench.runs.variant_names import REFERENCES, variant_names


@dataclass(frozen=True, eq=False)
class Run:
    """A run that finished, or whose training diverged: its folder and what its summary.json says."""

    path: Path
    summary: dict[str, Any]

    @property
    def seed(self) -> int:
        return int(self.summary["seed"])

    @property
    def diverged(self) -> bool:
        return has_diverged(self.summary)

    @cached_property
    def environment(self) -> Mapping[str, Any]:
        """What environment.json says, read when it is first asked for; empty where it cannot be read."""
        try:
            document = json.loads(read_regular(self.path / ENVIRONMENT))
        except (OSError, ValueError, RecursionError):
            return {}
        return document if isinstance(document, dict) else {}

    def number(self, key: str) -> float | None:
        """A number of the summary; None where it is not known, infinity where a run has missed its target."""
        return number_of(self.summary, key)


@dataclass(frozen=True)
class Group:
    """Runs that differ in nothing but the seed: one for each seed, in the seeds' order.

    `id` is their group_hash, with a number where runs of one config were made on different images. `label` names what
    differs from the other groups. `config` is that of the runs, without the seed; None where it cannot be read.
    `technique` is what the ablation in whose folder the runs lie calls it, where no other group is called so.
    `diverged` are the runs of other seeds whose training diverged.
    """

    id: str
    label: str
    runs: tuple[Run, ...]
    config: dict[str, Any] | None
    technique: str | None = None
    diverged: tuple[Run, ...] = ()

    @property
    def seeds(self) -> tuple[int, ...]:
        return tuple(run.seed for run in self.runs)

    @property
    def is_reference(self) -> bool:
        """Whether an ablation compares its other groups with this one."""
        return self.technique in REFERENCES

    def numbers(self, key: str) -> list[float]:
        """The runs' numbers of this name, those that have one."""
        return [value for run in self.runs if (value := run.number(key)) is not None]

    def by_seed(self, key: str) -> dict[int, float]:
        """The numbers of this name by seed, of the runs that have one."""
        return {run.seed: value for run in self.runs if (value := run.number(key)) is not None}

    def mean(self, key: str) -> float:
        """The mean of the runs' numbers, of which there is one; infinite where one is."""
        return plain.fmean(self.numbers(key))

    def sd(self, key: str) -> float | None:
        """Their standard deviation, over n - 1; None for one number, or where one is infinite."""
        numbers = self.numbers(key)
        return plain.stdev(numbers) if len(numbers) > 1 and math.isfinite(sum(numbers)) else None


@dataclass(frozen=True)
class Skipped:
    """A folder that does not count, and why."""

    path: Path
    reason: str


@dataclass(frozen=True)
class Collection:
    """What was found, and what does not count: the groups in the order in which their first runs were started, within
    a sweep in that of its jobs, whichever began first where they run side by side, but
    what an ablation compares the others with before them.

    `without_result` are groups all runs of which diverged; nothing can be compared with them.
    """

    groups: tuple[Group, ...]
    skipped: tuple[Skipped, ...]
    without_result: tuple[Group, ...] = ()


def collect(folders: Iterable[Path], metric: str) -> Collection:
    """All runs in and below `folders` that finished with a number for `metric`, or diverged; of two of a seed the
    later.

    Raises:
        ConfigError: there is no such metric.
        DataError: a folder is not there, or none of the runs counts.
    """
    metric_of(metric)
    folders = list(folders)
    found = [read_run(path, metric) for path in find_runs(folders)]
    runs = [run for run in found if isinstance(run, Run)]
    skipped = [folder for folder in found if isinstance(folder, Skipped)]
    kept = {name: latest_of_each_seed(members, skipped) for name, members in repeated(runs).items()}
    configs = {name: config_of(members) for name, members in kept.items()}
    labels, techniques = label_configs(configs), technique_names(kept)
    found_groups = [
        make_group(name, labels[name] + image_label(name, members[0]), members, configs[name], techniques.get(name))
        for name, members in kept.items()
    ]
    places = places_of(runs)
    groups = tuple(sorted((group for group in found_groups if group.runs), key=lambda group: place_of(group, places)))
    if not groups:
        reasons = [folder.reason for folder in skipped] + ["diverged" for run in runs if run.diverged]
        why = count_reasons(reasons) or "no run folder"
        where = " ".join(map(str, folders))
        cure = (
            "choose another --metric" if f"without {metric}" in why else "give folders that `cnnbench train` finished"
        )
        raise DataError(f"{where}: no run to compare, {why}; {cure}")
    return Collection(groups, tuple(skipped), tuple(group for group in found_groups if not group.runs))


def make_group(
    name: str, label: str, runs: Sequence[Run], config: dict[str, Any] | None, technique: str | None = None
) -> Group:
    """A group of runs, those apart that diverged."""
    finished, diverged = (tuple(run for run in runs if run.diverged is apart) for apart in (False, True))
    return Group(name, label, finished, config, technique, diverged)


def first_seeds(group: Group, count: int) -> Group:
    """The group with the runs of the seeds below `count` only."""
    runs, diverged = (tuple(run for run in runs if run.seed < count) for runs in (group.runs, group.diverged))
    return replace(group, runs=runs, diverged=diverged)


def technique_names(runs: Mapping[str, Sequence[Run]]) -> dict[str, str]:
    """By a group's id, its name in the ablation in whose folder its runs lie; none that two groups would share."""
    plans = {
        folder: variant_names(folder) for folder in {run.path.parent for members in runs.values() for run in members}
    }
    found: dict[str, str] = {}
    for group_id, members in runs.items():
        for run in members:
            if name := plans[run.path.parent].get(run.summary["group_hash"]):
                found.setdefault(group_id, name)
    counts = Counter(found.values())
    return {group_id: name for group_id, name in found.items() if counts[name] == 1}


def repeated(runs: Iterable[Run]) -> dict[str, list[Run]]:
    """The runs that repeat one another, by an id, in the order of their start: of one config, on the same images."""
    of_config: dict[str, list[Run]] = defaultdict(list)
    for run in sorted(runs, key=started):
        of_config[run.summary["group_hash"]].append(run)
    return {
        f"{group_hash}{f'-{number}' if number > 1 else ''}": members
        for group_hash, found in of_config.items()
        for number, members in enumerate(on_same_images(found), start=1)
    }


def on_same_images(runs: Sequence[Run]) -> list[list[Run]]:
    """Runs of one config, those together that contradict each other in nothing that repetitions share."""
    if len({images_of(run.summary) for run in runs}) == 1:  # as nearly always: no config needs to be read
        return [list(runs)]
    by_seed = splits_by_seed(config_of(runs))
    found: list[tuple[dict[str, Any], list[Run]]] = []
    for run in runs:
        noted = shared_images(run.summary, by_seed=by_seed)
        for known, members in found:
            if all(known.get(name, images) == images for name, images in noted.items()):
                known.update(noted)
                members.append(run)
                break
        else:
            found.append((noted, [run]))
    return [members for _, members in found]


def image_label(group_id: str, run: Run) -> str:
    """What a group's label ends with where another one has the same config, but other images."""
    return f" images={(images_of(run.summary)[0] or 'unknown')[:8]}" if "-" in group_id else ""


def find_runs(folders: Iterable[Path]) -> Iterator[Path]:
    """Every run folder in or below `folders`, once each; links are not followed, nothing inside a run is looked at.

    Raises:
        DataError: with one line for each folder that is not there.
    """
    folders = list(folders)
    missing = [folder for folder in folders if not folder.is_dir()]
    if missing:
        raise DataError(*(f"{folder}: no such folder; give run folders or folders of them" for folder in missing))
    seen: set[str] = set()
    waiting = [(str(folder), os.path.realpath(folder)) for folder in reversed(folders)]
    while waiting:
        folder, real = waiting.pop()
        if real in seen:
            continue
        seen.add(real)
        try:
            entries = list(os.scandir(folder))
        except OSError:
            continue
        if {SUMMARY, METRICS, ENVIRONMENT} & {entry.name for entry in entries}:
            yield Path(folder)
        else:
            below = (entry for entry in entries if entry.is_dir(follow_symlinks=False))
            waiting += sorted(((e.path, os.path.join(real, e.name)) for e in below), reverse=True)


def read_run(path: Path, metric: str) -> Run | Skipped:
    """The run in a folder, finished or diverged, or why it does not count: failed for another reason, still running,
    broken, of a newer format, no `metric`."""
    try:
        summary = read_summary(path)
    except DataError as error:
        newer = "has format" in str(error)
        return Skipped(path, f"{'of a newer format' if newer else 'broken'}: {error}")
    status, seed, group = (summary.get(key) for key in ("status", "seed", "group_hash"))
    if status == "running":
        return Skipped(path, "running or killed")
    whole = isinstance(group, str) and isinstance(seed, int) and not isinstance(seed, bool)
    if whole and Run(path, summary).diverged:
        return Run(path, summary)
    if status in ("failed", "interrupted"):
        return Skipped(path, f"{status}: {summary.get('error')}")
    if status != "finished" or not whole:
        return Skipped(path, f"broken: {path / SUMMARY} lacks a status, seed or group_hash")
    if number_of(summary, metric) is None:
        return Skipped(path, f"without {metric}")
    return Run(path, summary)


def latest_of_each_seed(runs: Sequence[Run], skipped: list[Skipped]) -> tuple[Run, ...]:
    """One run per seed, by seed, of `runs` in the order of their start; the earlier ones go to `skipped`."""
    by_seed: dict[int, Run] = {}
    for run in runs:
        if run.seed in by_seed:
            skipped.append(Skipped(by_seed[run.seed].path, f"repeated: seed {run.seed} was run again in {run.path}"))
        by_seed[run.seed] = run
    return tuple(by_seed[seed] for seed in sorted(by_seed))


def config_of(runs: Sequence[Run]) -> dict[str, Any] | None:
    """The config of the first run whose config can be read, without its seed."""
    for run in runs:
        try:
            config = with_added_epochs(read_config(run.path), run.summary)
        except DataError:
            continue
        return {key: value for key, value in config.items() if key != "seed"}
    return None


def count_reasons(reasons: Iterable[str]) -> str:
    """In one line how often each reason stands; what follows its colon, the details, is left out."""
    counts = Counter(reason.partition(":")[0] for reason in reasons)
    return ", ".join(f"{count} {reason}" for reason, count in counts.most_common())


Place = tuple[str, int]
"""When what it belongs to was started, and its place within that."""


def places_of(runs: Sequence[Run]) -> dict[Path, Place]:
    """By the path of each run: of a sweep when its first run was started, and the place of its job; of another when it
    was started itself."""
    sweeps = {folder: places_in_sweep(folder) for folder in {run.path.parent for run in runs}}
    starts: dict[Path, str] = {}
    for run in sorted(runs, key=started):
        starts.setdefault(run.path.parent, started(run)[0])
    return {
        run.path: (starts[folder], sweeps[folder][run.path.name])
        if run.path.name in sweeps[folder := run.path.parent]
        else (started(run)[0], 0)
        for run in runs
    }


def place_of(group: Group, places: Mapping[Path, Place]) -> tuple[bool, Place]:
    """Sorts groups: what others are compared with first, then by the first of their runs."""
    return not group.is_reference, min(places[run.path] for run in (*group.runs, *group.diverged))


def started(run: Run) -> tuple[str, str]:
    """Sorts runs by the time they were started, which their id begins with."""
    return str(run.summary.get("run_id") or ""), str(run.path)
