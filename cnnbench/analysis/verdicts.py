"""Groups of runs against a baseline, paired by seed: what a technique changes, and whether this is sure."""

from collections.abc import Sequence
from dataclasses import dataclass

from cnnbench.analysis.groups import Group
from cnnbench.analysis.metrics import metric_of
from cnnbench.analysis.statistics import PairedDifference, Verdict, holm, paired_differences, seeds_needed, verdict
from cnnbench.config.mistakes import suggest
from cnnbench.errors import ConfigError


@dataclass(frozen=True)
class Comparison:
    """`candidate` minus `baseline`. `p_holm` is adjusted for all that were compared together, the family.

    `unpaired` are the seeds that only one of the two has; they take no part in it.
    """

    baseline: Group
    candidate: Group
    difference: PairedDifference | None
    p_holm: float | None
    verdict: Verdict
    seeds_needed: int | None
    unpaired: tuple[int, ...]


def compare_with(baseline: Group, groups: Sequence[Group], metric: str, margin: float) -> list[Comparison]:
    """A comparison of every other group with the baseline."""
    return compare_pairs([(baseline, group) for group in groups if group is not baseline], metric, margin)


def compare_pairs(pairs: Sequence[tuple[Group, Group]], metric: str, margin: float) -> list[Comparison]:
    """A comparison of the second of each pair with the first; all of them are one family."""
    differences = differences_of([paired_by_seed(baseline, candidate, metric) for baseline, candidate in pairs])
    adjusted = holm([difference.p_value if difference else None for difference in differences])
    family = sum(p is not None for p in adjusted)
    higher = metric_of(metric).higher_is_better
    return [
        Comparison(
            baseline=baseline,
            candidate=candidate,
            difference=difference,
            p_holm=p_holm,
            verdict=verdict(difference, p_holm, margin, higher_is_better=higher) if difference else "undecided",
            seeds_needed=seeds_needed(difference, margin, family) if difference else None,
            unpaired=tuple(sorted(set(baseline.seeds) ^ set(candidate.seeds))),
        )
        for (baseline, candidate), difference, p_holm in zip(pairs, differences, adjusted, strict=True)
    ]


def differences_of(rows: Sequence[Sequence[float]]) -> list[PairedDifference | None]:
    """The statistics of each row; None for an empty one."""
    tested = iter(paired_differences([row for row in rows if row]))
    return [next(tested) if row else None for row in rows]


def paired_by_seed(baseline: Group, other: Group, metric: str) -> list[float]:
    """The differences of the seeds that both have, by seed."""
    ours, theirs = baseline.by_seed(metric), other.by_seed(metric)
    return [
        0.0 if ours[seed] == theirs[seed] else theirs[seed] - ours[seed]  # of two that missed a target none was faster
        for seed in ours
        if seed in theirs
    ]


def choose_baseline(groups: Sequence[Group], wanted: str | None) -> Group:
    """The group of this label, technique or beginning of a hash; without one the group started first.

    Raises:
        ConfigError: there is no such group, or more than one.
    """
    if wanted is None:
        return groups[0]
    found = [g for g in groups if wanted in (g.label, g.technique)] or [g for g in groups if g.id.startswith(wanted)]
    found = found or [g for g in groups if wanted in g.label.split()]
    if len(found) == 1:
        return found[0]
    if found:
        raise ConfigError(f"--baseline {wanted}: fits {len(found)} groups; give one of {names(found)}")
    raise ConfigError(f"--baseline {wanted}: no such group{suggest(wanted, [g.label for g in groups])}")


def names(groups: Sequence[Group]) -> str:
    """The hashes and labels of the groups, for a message."""
    return ", ".join(f"{group.id} ({group.label})" for group in groups)
