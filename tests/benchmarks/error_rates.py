"""How often verdicts and intervals err, and what they find, on simulated accuracies through cnnbench's own code.

    python tests/benchmarks/error_rates.py [--experiments 2000] [--seed 0] [--only coverage,families] [--json FILE]

The tables: `coverage` of the interval, its median width, how often it contradicts its verdict; `one`: false helps or
hurts of one comparison without an effect; `families`: of any of sixteen techniques without one; `mixed`: of sixteen,
eight of which have an effect of 0.3 to 3 points, how many are found and how often one of the others; `power` of one
comparison and in a family of sixteen, beside what cnnbench expects; `margin`: "no practical effect" of techniques whose
true difference is the margin; `rare`: the same of one that collapses in one seed of twenty; `failures`: "helps" of a
technique without an effect, the worst 40 % of whose runs diverge; `selection`: of eight equal groups, the worst of
which is the baseline, or all pairs of which are compared; `unpaired`: of groups whose seeds do not match; `plan`: how
often the power is below a half when it was planned for 80 % from a pilot, by its upper bound and by the estimate.
"""

import math

import numpy as np
from simulated import DIFFERENCES, EXCHANGEABLE, SKEWED, SPREAD, families
from tables import run_tables, share

from cnnbench.analysis.judging import Judgement, judge
from cnnbench.analysis.pairing import Pairing
from cnnbench.analysis.statistics.intervals import difference_interval
from cnnbench.analysis.statistics.power import pairs_for_difference, power_of
from cnnbench.analysis.statistics.spread import sd_bound
from cnnbench.analysis.statistics.verdict import shown_interval

MARGIN = 0.2  # points
TECHNIQUES = 16
REAL = np.geomspace(0.3, 3, 8) * np.array([1, -1] * 4)
SURE = ("helps", "hurts")


def judged(differences, margin: float = MARGIN) -> list[Judgement]:
    """A family of rows of differences, judged as `compare` and `ablate` judge it."""
    seeds = range(len(differences[0]))
    zeros = dict.fromkeys(seeds, 0.0)
    pairings = [Pairing(zeros, dict(enumerate(map(float, row))), True, ()) for row in differences]
    return judge(pairings, margin, higher_is_better=True)


def coverage(rng, experiments: int):
    """Of intervals of differences whose mean is not zero, and whether any interval contradicts its verdict."""
    for shape, draw in DIFFERENCES.items():
        for pairs in (2, 3, 4, 5, 6, 7, 8, 10, 12, 20):
            rows = 0.5 * draw(rng, (experiments, pairs)) + 0.25
            intervals = [difference_interval(row) for row in rows]
            covers = [found[0] <= 0.25 <= found[1] for found in intervals if found]
            widths = [found[1] - found[0] for found in intervals if found]
            against = [contradicts(judged([row])[0]) for row in rows[:500]]
            yield {"shape": shape, "pairs": pairs, "width": float(np.median(widths)), "against": sum(against)} | share(
                covers
            )


def contradicts(judgement: Judgement) -> bool:
    """Whether the interval that is shown excludes zero where nothing is decided, or includes it where something is."""
    interval = shown_interval(judgement.difference, judgement.verdict)
    if interval is None or judgement.verdict == "no practical effect":
        return False
    return (interval[0] > 0 or interval[1] < 0) != (judgement.verdict in SURE)


def one(rng, experiments: int):
    for shape, draw in DIFFERENCES.items():
        for pairs in (6, 8, 10, 12, 20):
            rows = 0.5 * draw(rng, (experiments, pairs))
            yield {"shape": shape, "pairs": pairs} | share([judged([row])[0].verdict in SURE for row in rows])


def of_families(rng, experiments: int):
    for shape in (*EXCHANGEABLE, *SKEWED):
        for pairs in (6, 8, 10, 12):
            found = [judged(families(shape, rng, TECHNIQUES, pairs)) for _ in range(experiments)]
            holm = share([any(each.p_holm <= 0.05 for each in family) for family in found])["share"]
            wrong = [any(each.verdict in SURE for each in family) for family in found]
            yield {"shape": shape, "pairs": pairs, "holm": holm} | share(wrong)


def mixed(rng, experiments: int):
    shapes = ("normal", "t with 3 degrees of freedom", "runs skewed alike", "skewed runs of unequal spreads")
    for shape in (*shapes, "one noisy", "spread grows with effect"):
        for pairs in (6, 8, 10, 12):
            found, holms, wrong = [], [], []
            for _ in range(experiments):
                family = judged(with_effects(shape, rng, pairs))
                found.append(sum(each.verdict in SURE for each in family[:8]))
                holms.append(sum(each.p_holm <= 0.05 for each in family[:8]))
                wrong.append(any(each.verdict in SURE for each in family[8:]))
            means = {"found": float(np.mean(found)), "holm": float(np.mean(holms))}
            yield {"shape": shape, "pairs": pairs} | means | share(wrong)


def with_effects(shape: str, rng, pairs: int):
    """Sixteen techniques, the first eight of which have effects of 0.3 to 3 points."""
    effects = np.concatenate((REAL, np.zeros(8)))[:, None]
    if shape == "one noisy":
        rows = families("normal", rng, TECHNIQUES, pairs)
        rows[-1] = 3 * rng.standard_normal(pairs)
    elif shape == "spread grows with effect":
        spreads = 0.25 + 0.3 * np.abs(effects)
        rows = spreads * rng.standard_normal((TECHNIQUES, pairs)) - SPREAD * rng.standard_normal(pairs)
    else:
        rows = families(shape, rng, TECHNIQUES, pairs)
    return rows + effects


def power(rng, experiments: int):
    for family in (1, TECHNIQUES):
        for pairs in (5, 6, 8, 10, 12, 20):
            for points in (0.25, 0.5, 1.0, 2.0):
                hits = []
                for _ in range(experiments):
                    rows = families("normal", rng, family, pairs)
                    rows[0] += points
                    hits.append(judged(rows)[0].verdict == "helps")
                expected = power_of(pairs, math.sqrt(2) * SPREAD, points, family)
                yield {"family": family, "pairs": pairs, "points": points, "expected": expected} | share(hits)


def margin(rng, experiments: int):
    shapes = ("normal", "t with 3 degrees of freedom", "exponential (skewness 2)")
    for shape in shapes:
        for family in (1, TECHNIQUES):
            for pairs in (6, 8, 12, 20):
                wrong = []
                for _ in range(experiments):
                    rows = MARGIN + 0.1 * DIFFERENCES[shape](rng, (family, pairs))
                    wrong.append(any(each.verdict == "no practical effect" for each in judged(rows)))
                yield {"shape": shape, "family": family, "pairs": pairs} | share(wrong)


def rare(rng, experiments: int):
    """A technique that changes nothing in 19 seeds of 20 and costs 10 points in the other."""
    for pairs in (6, 8, 12, 20):
        rows = 0.1 * rng.standard_normal((experiments, pairs)) - 10 * (rng.random((experiments, pairs)) < 0.05)
        calm = [not (row < -5).any() for row in rows]
        said = [judged([row])[0].verdict == "no practical effect" for row in rows]
        unseen = {
            "unseen": sum(calm) / len(calm),
            "although_seen": sum(s for s, c in zip(said, calm, strict=True) if not c),
        }
        yield {"pairs": pairs} | unseen | share(said)


def failures(rng, experiments: int):
    """As `compare` judges: by the runs that finished, and only where those that diverged as the worst of all agree."""
    for pairs in (10, 15, 20):
        said, survivors = [], []
        for _ in range(experiments):
            baseline, candidate = (90 + SPREAD * rng.standard_normal(pairs) for _ in range(2))
            lost = set(np.argsort(candidate)[: round(0.4 * pairs)].tolist())
            ours = dict(enumerate(map(float, baseline)))
            theirs = {seed: -math.inf if seed in lost else float(value) for seed, value in enumerate(candidate)}
            kept = {seed: value for seed, value in theirs.items() if seed not in lost}
            alone, worst = (
                judge([Pairing(ours, values, True, ())], MARGIN, higher_is_better=True)[0].verdict
                for values in (kept, theirs)
            )
            survivors.append(alone == "helps")
            said.append(alone == worst == "helps")
        yield {"pairs": pairs, "survivors": share(survivors)["share"]} | share(said)


def selection(rng, experiments: int):
    """Eight equal groups: the worst of them as the baseline, with and without the right family; all pairs."""
    for pairs in (8, 12):
        naive, right, all_pairs = [], [], []
        for _ in range(experiments):
            runs = SPREAD * rng.standard_normal((8, pairs))
            worst = int(runs.mean(axis=1).argmin())
            rows = [runs[i] - runs[worst] for i in range(8) if i != worst]
            others = [runs[j] - runs[i] for i in range(8) for j in range(i + 1, 8) if worst not in (i, j)]
            naive.append(any(each.verdict in SURE for each in judged(rows)))
            family = judged([*rows, *others])
            right.append(any(each.verdict in SURE for each in family[:7]))
            all_pairs.append(any(each.verdict in SURE for each in family))
        yield {"pairs": pairs, "naive": share(naive)["share"], "all_pairs": share(all_pairs)["share"]} | share(right)


def unpaired(rng, experiments: int):
    for ours, theirs, ratio in ((4, 4, 1), (6, 6, 1), (6, 6, 3), (8, 5, 1), (5, 12, 3), (12, 5, 3), (10, 10, 3)):
        wrong, covers = [], []
        for _ in range(experiments):
            baseline, candidate = SPREAD * rng.standard_normal(ours), ratio * SPREAD * rng.standard_normal(theirs)
            pairing = Pairing(dict(enumerate(baseline)), dict(enumerate(candidate, 100)), False, ())
            found = judge([pairing], MARGIN, higher_is_better=True)[0]
            wrong.append(found.verdict in SURE)
            covers.append(found.difference.ci95[0] <= 0 <= found.difference.ci95[1])
        covered = share(covers)["share"]
        yield {"runs": f"{ours} and {theirs}", "spreads": f"1 : {ratio}", "coverage": covered} | share(wrong)


def plan(rng, experiments: int):
    """Plans for half a point from pilots of a few pairs: how often the true power is below a half."""
    sd, points = 0.5, 0.5
    needed = pairs_for_difference(sd, points)
    for pilot in (3, 5, 8, 12):
        estimates = (sd * rng.standard_normal((experiments, pilot))).std(axis=1, ddof=1)
        at_estimate = [pairs_for_difference(estimate, points) for estimate in estimates]
        planned = [pairs_for_difference(sd_bound(estimate, pilot - 1), points) for estimate in estimates]
        naive = share([power_of(n, sd, points) < 0.5 for n in at_estimate])["share"]
        medians = {"seeds": float(np.median(planned)), "seeds_needed": needed}
        yield {"pilot": pilot, "by_estimate": naive} | medians | share([power_of(n, sd, points) < 0.5 for n in planned])


TABLES = {
    "coverage": coverage, "one": one, "families": of_families, "mixed": mixed, "power": power, "margin": margin,
    "rare": rare, "failures": failures, "selection": selection, "unpaired": unpaired, "plan": plan,
}  # fmt: skip


if __name__ == "__main__":
    run_tables(__doc__, TABLES, "for each line of a table")
