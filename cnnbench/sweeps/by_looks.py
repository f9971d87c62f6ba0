"""An ablation whose seeds are added where a verdict is still open, at looks that were fixed before its first run."""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from statistics import median

from cnnbench.analysis.metrics import finite_number
from cnnbench.analysis.statistics.looks import level_of
from cnnbench.analysis.statistics.power import MOST_SEEDS, seeds_needed
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
    seeds = looks.seeds[len(looks.taken)]
    level = level_of(len(looks.seeds))
    taken = [*looks.taken, {"seeds": seeds, "level": level, "stands": {}}]
    looked = replace(plan, looks=replace(looks, taken=taken))
    groups = read_groups(folder, looked, looks.metric)
    followed = follow_looks(looked, groups, margin_for(plan, groups, looks.metric, None))
    stands = {
        name: each.judged.verdict if each.why == "decided" else each.why
        for name, each in zip(contrasts(plan), followed, strict=True)
    }
    return replace(plan, looks=replace(looks, taken=[*looks.taken, {"seeds": seeds, "level": level, "stands": stands}]))


def grant_seeds(folder: Path, plan: Plan, seconds: Mapping[str, float]) -> Plan:
    """The plan with the seeds of the next look for the techniques that are open; where the budget does not suffice for
    all, for those that need the fewest. `seconds` are those expected of a run of each variant."""
    looks = plan.looks
    assert looks
    if looks.is_over:
        return plan
    look, granted = looks.seeds[len(looks.taken)], dict(looks.granted)
    seconds = seconds_of_a_run(folder, plan, seconds)
    left = None if looks.budget_seconds is None else looks.budget_seconds - spent(folder, plan)
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
    groups = read_groups(folder, plan, looks.metric)
    margin = margin_for(plan, groups, looks.metric, None)
    followed = follow_looks(plan, groups, margin)
    needs = {}
    for pair, each in zip(compared.values(), followed, strict=True):
        if each.why == "open":
            judged = each.judged
            needed = seeds_needed(judged.difference, margin, max(judged.family, 1)) if judged.difference else None
            needs[pair] = needed or MOST_SEEDS
    return sorted(needs, key=lambda pair: needs[pair])


def spent(folder: Path, plan: Plan) -> float:
    """The seconds of all runs of the plan that have come to their end."""
    return sum(sum(times) for times in times_of_runs(folder, plan).values())


def seconds_of_a_run(folder: Path, plan: Plan, expected: Mapping[str, float]) -> dict[str, float]:
    """Of each variant: the median of those it has, else what is expected."""
    return dict(expected) | {variant: median(times) for variant, times in times_of_runs(folder, plan).items() if times}


def times_of_runs(folder: Path, plan: Plan) -> dict[str, list[float]]:
    """By variant, the seconds of its runs that have come to their end."""
    times: dict[str, list[float]] = {variant: [] for variant in plan.variants}
    for job in all_jobs(plan):
        path = folder / job.folder
        if is_done(path, plan.variants[job.variant].group_hash):
            times[job.variant].append(finite_number(read_summary(path).get("total_seconds")) or 0.0)
    return times
