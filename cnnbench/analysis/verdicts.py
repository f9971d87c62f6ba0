"""Groups of runs against a baseline: what a technique changes, and whether this is sure."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from cnnbench.analysis.failures import FailureRate, failure_rate
from cnnbench.analysis.fairness import is_best_of_unequal, settings_tried, unequal_effort
from cnnbench.analysis.groups import Group
from cnnbench.analysis.judging import Judgement, Method, judge
from cnnbench.analysis.metrics import metric_of
from cnnbench.analysis.pairing import Pairing, pair_by_seed, pair_with_worst
from cnnbench.analysis.statistics.intervals import Interval
from cnnbench.analysis.statistics.paired import Difference
from cnnbench.analysis.statistics.power import seeds_needed
from cnnbench.analysis.statistics.verdict import Verdict, shown_interval
from cnnbench.config.mistakes import suggest
from cnnbench.errors import ConfigError

Pairs: TypeAlias = Sequence[tuple[Group, Group]]

CLOSE = 0.01
MOST_PAIRS = 300  # that are judged together though only some are shown; of more, they are counted


@dataclass(frozen=True)
class Comparison:
    """`candidate` minus `baseline`.

    Attributes:
        ci95: the interval that stands beside the verdict, and never contradicts it.
        p_holm, p_family, family, method: as of a `Judgement`.
        unpaired: the seeds that take no part, for the other group lacks them.
        is_paired: whether runs were compared seed by seed.
        correlation: of the runs of equal seeds; None where it is not known.
        failures: of baseline and candidate, how many of their runs diverged.
        notes: what is to be known beside the verdict, in a few words each.
        held: why the tests alone would have said more than the verdict does; empty where they would not.
    """

    baseline: Group
    candidate: Group
    difference: Difference | None
    ci95: Interval | None
    p_holm: float | None
    p_family: float | None
    family: int
    method: Method
    verdict: Verdict
    seeds_needed: int | None
    unpaired: tuple[int, ...]
    is_paired: bool
    correlation: float | None
    failures: tuple[FailureRate, FailureRate]
    notes: tuple[str, ...]
    held: str

    @property
    def is_close(self) -> bool:
        """Whether it helps or hurts by little: at a p above 0.01."""
        return self.verdict in ("helps", "hurts") and (self.p_family or 0.0) > CLOSE


def compare_with(
    baseline: Group, groups: Sequence[Group], metric: str, margin: float, *, chosen_afterwards: bool = False
) -> list[Comparison]:
    """A comparison of every other group with the baseline. One that was `chosen_afterwards`, knowing the results, could
    have been any of them: then all pairs of groups are the family."""
    pairs = [(baseline, group) for group in groups if group is not baseline]
    others = [pair for pair in all_pairs(groups) if baseline not in pair] if chosen_afterwards else []
    return compare_pairs(pairs, metric, margin, groups, also=others)


def all_pairs(groups: Sequence[Group]) -> list[tuple[Group, Group]]:
    """Every two of the groups, the earlier one as the baseline."""
    return list(itertools.combinations(groups, 2))


def compare_pairs(
    pairs: Pairs,
    metric: str,
    margin: float,
    groups: Sequence[Group],
    *,
    also: Pairs = (),
    level: float | None = None,
) -> list[Comparison]:
    """A comparison of the second of each pair with the first; all of them, and those that could `also` have been shown,
    are one family, at a planned look at its `level`. `groups` are all that were trained."""
    judged = _judge(pairs, also, metric, margin, pair_by_seed, level)
    some_diverged = any(group.diverged for pair in (*pairs, *also) for group in pair)
    with_worst = _judge(pairs, also, metric, margin, pair_with_worst, level) if some_diverged else judged
    tried = settings_tried(groups)
    return [
        _comparison(pair, judgement, worst, metric, margin, tried)
        for pair, judgement, worst in zip(pairs, judged, with_worst, strict=True)
    ]


def _judge(
    pairs: Pairs,
    also: Pairs,
    metric: str,
    margin: float,
    pair: Callable[[Group, Group, str], Pairing],
    level: float | None,
) -> list[Judgement]:
    counted = len(also) if len(pairs) + len(also) > MOST_PAIRS else 0
    pairings = [pair(*groups, metric) for groups in (pairs if counted else (*pairs, *also))]
    higher = metric_of(metric).higher_is_better
    return judge(pairings, margin, higher_is_better=higher, counted=counted, level=level)[: len(pairs)]


def _comparison(
    pair: tuple[Group, Group],
    judged: Judgement,
    with_worst: Judgement,
    metric: str,
    margin: float,
    tried: Mapping[str, int],
) -> Comparison:
    baseline, candidate = pair
    pairing, difference = pair_by_seed(baseline, candidate, metric), judged.difference
    held = _why_held(pair, judged, with_worst, metric)
    word: Verdict = "undecided" if held else judged.verdict
    return Comparison(
        baseline=baseline,
        candidate=candidate,
        difference=difference,
        ci95=shown_interval(difference, word) if difference else None,
        p_holm=judged.p_holm,
        p_family=judged.p_family,
        family=judged.family,
        method=judged.method,
        verdict=word,
        seeds_needed=seeds_needed(difference, margin, max(judged.family, 1)) if difference else None,
        unpaired=pairing.left_out,
        is_paired=pairing.is_paired,
        correlation=pairing.correlation,
        failures=(failure_rate(baseline), failure_rate(candidate)),
        notes=tuple(_notes(pair, judged, pairing, tried)),
        held=held,
    )


def _why_held(pair: tuple[Group, Group], judged: Judgement, with_worst: Judgement, metric: str) -> str:
    """Why a verdict is not given that the finished runs alone would give; empty where it is."""
    if judged.verdict == "undecided":
        return ""
    if with_worst.verdict != judged.verdict and any(group.diverged for group in pair):
        return f"{judged.verdict} by the runs that finished; not if those that diverged count as worse than any"
    if is_best_of_unequal(*pair, metric):
        return f"{judged.verdict} by the best of unequal numbers of epochs, of which more have the better best"
    return ""


def _notes(pair: tuple[Group, Group], judged: Judgement, pairing: Pairing, tried: Mapping[str, int]) -> list[str]:
    """What is to be known beside the verdict, in a few words each."""
    notes = unequal_effort(*pair, tried)
    if judged.outlying_seed is not None:
        notes.append(f"seed {judged.outlying_seed} lies far outside the others")
    if not pairing.is_paired:
        notes.append("seeds do not match: compared unpaired")
    return notes


def choose_baseline(groups: Sequence[Group], wanted: str | None) -> Group:
    """The group of this label, technique or beginning of a hash; without one the first of them.

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


def is_planned(baseline: Group, groups: Sequence[Group]) -> bool:
    """Whether it could be chosen before anything was known: the group started first, or an ablation's own."""
    return baseline is groups[0] or baseline.is_reference


def names(groups: Sequence[Group]) -> str:
    """The hashes and labels of the groups, for a message."""
    return ", ".join(f"{group.id} ({group.label})" for group in groups)
