"""What earlier looks at the same runs make of this one."""

from collections.abc import Sequence

from cnnbench.analysis.groups import Group
from cnnbench.analysis.statistics.levels import ALPHA, FEWEST_PAIRS
from cnnbench.analysis.statistics.looks import error_of_looks
from cnnbench.analysis.wording import listed_all
from cnnbench.runs.looks import Look


def look_at(groups: Sequence[Group], metric: str) -> Look:
    """This look, as it is noted."""
    return Look(metric, {group.id: len(group.runs) for group in groups})


def warnings_of(earlier: Sequence[Look], now: Look, *, planned: bool = False) -> list[str]:
    """What is to be said of looks at these groups with fewer seeds, or by other metrics, before this one; and of those
    that were `planned`, which this is none of."""
    if planned:
        return ["seeds were added at planned looks: the verdicts that hold the error are those of `ablate --table DIR`"]
    same = [look for look in earlier if len(look.seeds.keys() & now.seeds.keys()) > 1]
    return fewer_seeds(same, now) + other_metrics(same, now)


def fewer_seeds(earlier: Sequence[Look], now: Look) -> list[str]:
    """Where these groups were compared when they had fewer seeds, how often looking so often errs."""
    most = max(now.seeds.values(), default=0)
    alike = [look for look in earlier if look.metric == now.metric]
    counts = {max(look.seeds[name] for name in look.seeds.keys() & now.seeds.keys()) for look in alike}
    before = sorted(count for count in counts if FEWEST_PAIRS <= count < most)
    if not before:
        return []
    error = error_of_looks([*before, most])
    return [
        f"compared before with {listed_all(before)} seeds: who adds seeds until something shows finds what is not "
        f"there in {error:.0%} of cases, not {ALPHA:.0%}; `ablate seeds=auto` adds them at looks planned before"
    ]


def other_metrics(earlier: Sequence[Look], now: Look) -> list[str]:
    """Where these groups were compared by other metrics first, how often one of so many shows something."""
    metrics = list(dict.fromkeys([*(look.metric for look in earlier), now.metric]))
    if metrics[0] == now.metric:
        return []
    before, error = listed_all(metrics[: metrics.index(now.metric)]), 1 - (1 - ALPHA) ** len(metrics)
    return [
        f"compared by {before} before: of {len(metrics)} metrics one shows what is not there in up to {error:.0%} of "
        "cases; name the one that counts before the first look"
    ]
