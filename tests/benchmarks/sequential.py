"""What looking at the results while seeds are added costs in errors, and saves in seeds.

    python tests/benchmarks/sequential.py [--experiments 2000] [--seed 0] [--json FILE]

`null`: false helps or hurts of any of the techniques, none of which has an effect, by looks at 8, 14 and 20 seeds as
`ablate seeds=auto` takes them, and by a look at every seed from 6 to 20 at 0.05, which is what adding seeds until it
helps amounts to. `one`: power for one technique at an effect of 0 to 2 standard deviations, and the seeds it takes on
average, by these looks, by the fixed design of 20 seeds, and by an e-process that bets on the signs and looks at every
seed (Shafer 2021; Ramdas et al. 2023). `families`: of sixteen techniques, eight of which have an effect of 0.3 to 3
points, how many are found, how often one of the others is, and the runs it takes, baseline and all.
"""

import math

import numpy as np
from error_rates import MARGIN, REAL, SURE, TECHNIQUES
from simulated import SPREAD, families
from tables import run_tables, share

from cnnbench.analysis.judging import judge
from cnnbench.analysis.pairing import Pairing
from cnnbench.analysis.sequential import follow
from cnnbench.analysis.statistics.looks import looks_up_to

MOST = 20
LOOKS = looks_up_to(MOST)
SHAPES = ("normal", "t with 3 degrees of freedom", "runs skewed alike", "unequal spreads", "359 test images")
RATES = (0.2, 0.4, 0.6, 0.8)  # of a stake, bet on the next sign


def pairing_of(row) -> Pairing:
    return Pairing(dict.fromkeys(range(len(row)), 0.0), dict(enumerate(map(float, row))), True, ())


def by_looks(rows, looks=LOOKS):
    """As `ablate seeds=auto` stops."""

    def judge_at(seeds, level):
        pairings = [pairing_of(rows[i][:n]) for i, n in seeds.items()]
        return dict(zip(seeds, judge(pairings, MARGIN, higher_is_better=True, level=level), strict=True))

    return follow([looks[-1]] * len(rows), looks, len(looks), MARGIN, judge_at)


def at_every_seed(rows, fewest=6) -> bool:
    """Whether any look at 0.05, one for each seed, shows anything."""
    return any(
        each.verdict in SURE
        for n in range(fewest, MOST + 1)
        for each in judge([pairing_of(row[:n]) for row in rows], MARGIN, higher_is_better=True)
    )


def by_betting(row) -> tuple[bool, int]:
    """Whether capital bet on the signs of the differences, up or down, grows twentyfold, and after how many seeds."""
    stakes = np.array([rate * way for rate in RATES for way in (1, -1)])
    capital = np.ones(len(stakes))
    for n, value in enumerate(row, start=1):
        capital *= 1 + stakes * np.sign(value)
        if capital.mean() >= 20:
            return True, n
    return False, len(row)


def null(rng, experiments: int):
    for shape in SHAPES:
        for family in (1, TECHNIQUES):
            wrong, seeds, naive = [], [], []
            for number in range(experiments):
                rows = families(shape, rng, family, MOST)
                found = by_looks(rows)
                wrong.append(any(each.judged.verdict in SURE for each in found))
                seeds.append(np.mean([each.seeds for each in found]))
                if number < experiments // (4 if family == 1 else 10):  # fifteen looks take long
                    naive.append(at_every_seed(rows))
            more = {"every_seed": share(naive)["share"], "seeds": float(np.mean(seeds))}
            yield {"shape": shape, "family": family} | more | share(wrong)


def one(rng, experiments: int):
    for size in (0.0, 0.5, 0.75, 1.0, 1.5, 2.0):
        looked, fixed, bets, seeds, bet_seeds = [], [], [], [], []
        for _ in range(experiments):
            row = math.sqrt(2) * SPREAD * (rng.standard_normal(MOST) + size)
            (found,) = by_looks([row])
            looked.append(found.judged.verdict in SURE)
            seeds.append(found.seeds)
            fixed.append(judge([pairing_of(row)], MARGIN, higher_is_better=True)[0].verdict in SURE)
            won, n = by_betting(row)
            bets.append(won)
            bet_seeds.append(n)
        more = {"seeds": float(np.mean(seeds)), "fixed_20": float(np.mean(fixed))}
        betting = {"betting": float(np.mean(bets)), "betting_seeds": float(np.mean(bet_seeds))}
        yield {"deviations": size} | more | betting | share(looked)


def of_families(rng, experiments: int):
    effects = np.concatenate((REAL, np.zeros(8)))[:, None]
    for shape in SHAPES:
        found, fixed, wrong, runs = [], {8: [], 12: [], MOST: []}, [], []
        for _ in range(experiments // 4):
            rows = families(shape, rng, TECHNIQUES, MOST) + effects
            followed = by_looks(rows)
            found.append(sum(each.judged.verdict in SURE for each in followed[:8]))
            wrong.append(any(each.judged.verdict in SURE for each in followed[8:]))
            runs.append(sum(each.seeds for each in followed) + max(each.seeds for each in followed))
            for n, hits in fixed.items():
                judged = judge([pairing_of(row[:n]) for row in rows], MARGIN, higher_is_better=True)
                hits.append(sum(each.verdict in SURE for each in judged[:8]))
        more = {f"found_{n}": float(np.mean(hits)) for n, hits in fixed.items()}
        more |= {f"runs_{n}": 17 * n for n in fixed}
        yield {"shape": shape, "found": float(np.mean(found)), "runs": float(np.mean(runs))} | more | share(wrong)


TABLES = {"null": null, "one": one, "families": of_families}


if __name__ == "__main__":
    run_tables(__doc__, TABLES, "for each line; a quarter of it for families", looks=LOOKS)
