"""Comparisons made at once, judged as the family that they are."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from cnnbench.analysis.pairing import Pairing, difference_of
from cnnbench.analysis.statistics.families import holm
from cnnbench.analysis.statistics.intervals import p_beyond
from cnnbench.analysis.statistics.levels import ALPHA
from cnnbench.analysis.statistics.paired import Difference, outlying_place
from cnnbench.analysis.statistics.sign_flips import gone_on, step_down_maximum
from cnnbench.analysis.statistics.unpaired import welch_p_beyond
from cnnbench.analysis.statistics.verdict import Verdict, can_decide, verdict

Method = Literal["one comparison", "step-down maximum", "Holm"]


@dataclass(frozen=True)
class Judgement:
    """What one comparison of a family shows.

    Attributes:
        p_holm: adjusted for the family by Holm's method.
        p_family: adjusted by `method`, by which the verdict goes.
        family: how many comparisons were judged together; one that has too few runs to decide anything is none.
        outlying_seed: whose difference lies too far from the others to be one of them.
    """

    difference: Difference | None
    p_holm: float | None
    p_family: float | None
    family: int
    method: Method
    verdict: Verdict
    outlying_seed: int | None = None


NOTHING = Judgement(None, None, None, 0, "one comparison", "undecided")


def judge(
    pairings: Sequence[Pairing], margin: float, *, higher_is_better: bool, counted: int = 0, level: float | None = None
) -> list[Judgement]:
    """All of them together, in their order; as a part of a family in which so many others are `counted` only. Where no
    technique changes anything, one is said to in 5 % of families at the most; at a planned look, in `level`."""
    alpha = ALPHA if level is None else level
    differences = [difference_of(pairing, alpha) for pairing in pairings]
    deciding = [i for i, difference in enumerate(differences) if difference and can_decide(difference, alpha)]
    of_holm = dict(zip(deciding, holm([differences[i].p_value for i in deciding]), strict=True))  # type: ignore[union-attr]
    method, of_family = _adjust(
        [pairings[i] for i in deciding], list(of_holm.values()), counted, at_look=level is not None
    )
    outlying = {i: _outlying_seed(pairings[i]) for i in deciding}
    beyond = [1.0 if outlying[i] is not None else _p_beyond(pairings[i], margin) for i in deciding]
    adjusted = dict(zip(deciding, zip(of_family, holm(beyond), strict=True), strict=True))
    judged = []
    for i, difference in enumerate(differences):
        if difference is None:
            judged.append(NOTHING)
        elif i not in adjusted:
            judged.append(Judgement(difference, difference.p_value, difference.p_value, 0, method, "undecided"))
        else:
            p_family, p_outside = adjusted[i]
            word = verdict(
                difference,
                p_family,
                1.0 if p_outside is None else p_outside,
                higher_is_better=higher_is_better,
                alpha=alpha,
            )
            family = len(deciding) + counted
            judged.append(Judgement(difference, of_holm[i], p_family, family, method, word, outlying[i]))
    return judged


def _adjust(
    pairings: Sequence[Pairing], of_holm: Sequence[float | None], counted: int, *, at_look: bool
) -> tuple[Method, list[float]]:
    """How the p-values of these comparisons, each of which can decide, are adjusted, and what comes out."""
    by_holm = [1.0 if p is None else p for p in of_holm]
    if counted and pairings:
        return "Holm", [min(1.0, p * (1 + counted / len(pairings))) for p in by_holm]
    if len(pairings) < 2:
        return "one comparison", by_holm
    if not all(pairing.is_paired for pairing in pairings):
        return "Holm", by_holm  # groups with seeds of their own have no signs to flip together
    rows = [pairing.differences for pairing in pairings]
    return "step-down maximum", step_down_maximum(gone_on(rows) if at_look else rows)


def _p_beyond(pairing: Pairing, margin: float) -> float:
    """p of a difference beyond the margin."""
    ours, theirs = (np.array(list(each.values())) for each in (pairing.baseline, pairing.candidate))
    if pairing.is_paired:
        row = np.array(list(pairing.differences.values()))
        return p_beyond(row, margin) if np.isfinite(row).all() else 1.0
    return welch_p_beyond(ours, theirs, margin) if np.isfinite((*ours, *theirs)).all() else 1.0


def _outlying_seed(pairing: Pairing) -> int | None:
    """The seed of a difference that lies far outside the others."""
    differences = pairing.differences if pairing.is_paired else {}
    if not differences or not all(map(math.isfinite, differences.values())):
        return None
    place = outlying_place(np.array(list(differences.values())))
    return None if place is None else list(differences)[place]
