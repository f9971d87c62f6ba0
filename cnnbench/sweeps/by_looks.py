"""An ablation whose seeds are added where a verdict is still open, at looks that were fixed before its first run."""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

from cnnbench.analysis.metrics import finite_number
from cnnbench.analysis.sequential import Followed
from cnnbench.analysis.statistics.looks import level_of
from cnnbench.analysis.statistics.power import MOST_SEEDS
from cnnbench.analysis.verdicts import Comparison
from cnnbench.errors import ConfigError
from cnnbench.runs.read import read_summary
from cnnbench.sweeps.ablation_folder import Plan, all_jobs, is_done
from cnnbench.sweeps.effects import contrasts, follow_looks, margin_for, read_groups

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def seconds_in(budget: str) -> float:
    """The seconds of `90m` or `2.5h`.

    Raises:
        ConfigError: it is no number with a unit.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", budget.strip())
    if not found or not float(found[1]):
        raise ConfigError(f"budget={budget}: should be a number with a unit, as 90m, 2h or 1.5d")
    return float(found[1]) * UNITS[found[2]]


def take_look(folder: Path, plan: Plan) -> Plan:
    """The plan after another look at the runs in its folder, with what this one showed."""
    looks = plan.looks
    assert looks
    look: dict[str, Any] = {"seeds": looks.seeds[len(looks.taken)], "level": level_of(len(looks.seeds)), "stands": {}}
    looked = replace(plan, looks=replace(looks, taken=[*looks.taken, look]))
    for name, each in zip(contrasts(plan), followed_so_far(folder, looked), strict=True):
        look["stands"][name] = each.judged.verdict if each.why == "decided" else each.why
    return looked


def followed_so_far(folder: Path, plan: Plan) -> list[Followed[Comparison]]:
    """What the looks that were taken show of each technique, by the runs in the folder."""
    looks = plan.looks
    assert looks
    groups = read_groups(folder, plan, looks.metric)
    return follow_looks(plan, groups, margin_for(plan, groups, looks.metric, None))


def grant_seeds(folder: Path, plan: Plan, seconds: Mapping[str, float]) -> Plan:
    """The plan with the seeds of the next look for the techniques that are open; where the budget does not suffice for
    all, for those that need the fewest. `seconds` are those expected of a run of each variant, where it has none
    to tell."""
    looks = plan.looks
    assert looks
    if looks.is_over:
        return plan
    look, granted = looks.seeds[len(looks.taken)], dict(looks.granted)
    times = times_of_runs(folder, plan)
    seconds = dict(seconds) | {variant: median(known) for variant, known in times.items() if known}
    left = None if looks.budget_seconds is None else looks.budget_seconds - sum(map(sum, times.values()))
    for variant, without in in_order_of_need(folder, plan):
        new = {name: (look - granted[name]) * seconds[name] for name in {variant, without} if granted[name] < look}
        if left is not None and sum(new.values()) > left:
            continue
        left = None if left is None else left - sum(new.values())
        granted |= dict.fromkeys(new, look)
    seeds = list(range(max(granted.values(), default=0)))
    return replace(plan, seeds=seeds, looks=replace(looks, granted=granted))


def in_order_of_need(folder: Path, plan: Plan) -> list[tuple[str, str]]:
    """The variants of each technique that is open, with it and without, those first that need the fewest seeds."""
    looks, compared = plan.looks, contrasts(plan)
    assert looks
    if not looks.taken:
        return list(compared.values())
    followed = zip(compared.values(), followed_so_far(folder, plan), strict=True)
    needs = {pair: each.judged.seeds_needed or MOST_SEEDS for pair, each in followed if each.why == "open"}
    return sorted(needs, key=lambda pair: needs[pair])


def times_of_runs(folder: Path, plan: Plan) -> dict[str, list[float]]:
    """By variant, the seconds of its runs that have come to their end."""
    times: dict[str, list[float]] = {variant: [] for variant in plan.variants}
    for job in all_jobs(plan):
        path = folder / job.folder
        if is_done(path, plan.variants[job.variant].group_hash):
            times[job.variant].append(finite_number(read_summary(path).get("total_seconds")) or 0.0)
    return times
