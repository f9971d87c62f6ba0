"""The numbers of two groups set against each other: seed by seed where their seeds match, else group against group."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from cnnbench.analysis.groups import Group
from cnnbench.analysis.metrics import metric_of
from cnnbench.analysis.statistics.intervals import Row
from cnnbench.analysis.statistics.levels import ALPHA
from cnnbench.analysis.statistics.paired import Difference, paired_difference
from cnnbench.analysis.statistics.sign_flips import signed_ranks
from cnnbench.analysis.statistics.unpaired import p_floor, permutation_p, welch, welch_interval

FEWEST_FOR_CORRELATION = 3


@dataclass(frozen=True)
class Pairing:
    """A metric of two groups, by seed.

    Attributes:
        is_paired: whether more than half of the seeds of the smaller group are those of the other too.
        left_out: the seeds that take no part, for the other group lacks them.
    """

    baseline: Mapping[int, float]
    candidate: Mapping[int, float]
    is_paired: bool
    left_out: tuple[int, ...]

    @property
    def differences(self) -> dict[int, float]:
        """Candidate minus baseline of the seeds that both have, by seed."""
        return {
            seed: 0.0 if value == self.candidate[seed] else self.candidate[seed] - value  # inf - inf: none was faster
            for seed, value in self.baseline.items()
            if seed in self.candidate
        }

    @property
    def correlation(self) -> float | None:
        """That of the runs of equal seeds, by which pairing gains; None for fewer than three, or without a spread."""
        shared = [seed for seed in self.baseline if seed in self.candidate]
        pairs = np.array([(self.baseline[seed], self.candidate[seed]) for seed in shared])
        if len(pairs) < FEWEST_FOR_CORRELATION or not np.isfinite(pairs).all() or not pairs.std(axis=0).all():
            return None
        return float(np.corrcoef(pairs.T)[0, 1])


def pair_by_seed(baseline: Group, candidate: Group, metric: str) -> Pairing:
    """The finished runs of two groups."""
    return _pairing(baseline, candidate, baseline.by_seed(metric), candidate.by_seed(metric))


def pair_with_worst(baseline: Group, candidate: Group, metric: str) -> Pairing:
    """The same, a run that diverged counting as worse than any that did not: infinitely bad. Where both did neither was
    better."""
    worst = -math.inf * metric_of(metric).sign
    both = {run.seed for run in baseline.diverged} & {run.seed for run in candidate.diverged}
    ours, theirs = (
        group.by_seed(metric) | {run.seed: worst for run in group.diverged if run.seed not in both}
        for group in (baseline, candidate)
    )
    return _pairing(baseline, candidate, ours, theirs)


def _pairing(baseline: Group, candidate: Group, ours: dict[int, float], theirs: dict[int, float]) -> Pairing:
    seeds = [{run.seed for run in (*group.runs, *group.diverged)} for group in (baseline, candidate)]
    is_paired = 2 * len(seeds[0] & seeds[1]) > min(map(len, seeds))
    return Pairing(ours, theirs, is_paired, tuple(sorted(seeds[0] ^ seeds[1])) if is_paired else ())


def difference_of(pairing: Pairing, alpha: float = ALPHA) -> Difference | None:
    """What the numbers show, this comparison alone, its interval at 1 - `alpha`; None where a group has none."""
    if not pairing.baseline or not pairing.candidate:
        return None
    if pairing.is_paired:
        differences = pairing.differences
        return paired_difference(list(differences.values()), alpha) if differences else None
    ours, theirs = (np.array(list(each.values())) for each in (pairing.baseline, pairing.candidate))
    return _difference_of_groups(ours, theirs, alpha)


def _difference_of_groups(baseline: Row, candidate: Row, alpha: float) -> Difference:
    floor = p_floor(len(baseline), len(candidate))
    if not np.isfinite((*baseline, *candidate)).all():
        ranks = _ranks(np.concatenate((baseline, candidate)))
        ours, theirs = ranks[: len(baseline)], ranks[len(baseline) :]
        direction = float(theirs.mean() - ours.mean())
        mean = direction * math.inf if direction else math.nan
        return Difference(0, mean, None, permutation_p(ours, theirs), floor, None)
    mean = float(candidate.mean() - baseline.mean())
    if min(len(baseline), len(candidate)) < 2:
        return Difference(0, mean, None, 1.0, 1.0, None)
    spread = welch(baseline, candidate)[0] / math.sqrt(1 / len(baseline) + 1 / len(candidate))
    effect = mean / spread if spread else None
    interval = welch_interval(baseline, candidate, alpha)
    return Difference(0, mean, interval, permutation_p(baseline, candidate), floor, effect, None)


def _ranks(values: Row) -> Row:
    """Of values some of which may be infinite; equal ones share theirs."""
    largest = np.nanmax(np.abs(values[np.isfinite(values)]), initial=1.0)
    finite = np.nan_to_num(values, posinf=2 * largest + 1, neginf=-2 * largest - 1)
    return signed_ranks(finite - finite.min() + 1)
