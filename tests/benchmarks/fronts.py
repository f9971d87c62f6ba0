"""How often equal groups are marked as dominated, and what is found, on simulated runs through cnnbench's own code.

    python tests/benchmarks/fronts.py [--experiments 2000] [--seed 0] [--only equal,power] [--json FILE]

The tables: `equal`: experiments in which any of so many equal groups of one known cost (multiply-adds) is marked, and
of a twentieth of them, in which the means alone, or a share of the front below 5 %, would mark one; `timed`: the same
where times vary too; `one_sided`: equal times of groups of very different quality; `unequal`: equal means, but spreads
from 0.3 to 6 times as large, or one group that collapses in one run of ten, which is outside of what is promised;
`power`: a group so many points worse and twice as slow among equal ones; `shares`: of two equal groups, how often the
first has a share of the front below 5 %.
"""

import numpy as np
from simulated import SPREAD
from tables import run_tables, share

from cnnbench.analysis.dominance import dominated_beyond_chance
from cnnbench.analysis.pareto import dominated, front_shares

TIME_SPREAD = 0.05  # of the logarithm of a time
DRAWS = {
    "normal": lambda rng, size: rng.standard_normal(size),
    "exponential downwards": lambda rng, size: 1 - rng.standard_exponential(size),
    "t with 3 degrees of freedom": lambda rng, size: rng.standard_t(3, size) / np.sqrt(3),
    "359 test images": lambda rng, size: np.round(rng.standard_normal(size) * SPREAD / 0.2786) * 0.2786 / SPREAD,
    "seeds in common": lambda rng, size: 0.5 * rng.standard_normal(size) + 0.87 * rng.standard_normal(size[1]),
}
SIZES = tuple((groups, seeds) for groups in (2, 3, 5, 10, 30) for seeds in (2, 3, 5, 8, 10, 20))
FEW_SIZES = tuple((groups, seeds) for groups in (2, 3, 10, 30) for seeds in (3, 5, 8, 20))  # of other shapes


def by_seed(rows) -> list[dict]:
    return [dict(enumerate(row)) for row in rows.tolist()]


def points_of(draw, rng, size):
    return 90 + SPREAD * draw(rng, size)


def seconds_of(draw, rng, size):
    """Times with a tail to the slow side where the draw has one."""
    return np.exp(2 - TIME_SPREAD * draw(rng, size))


def equal(rng, experiments: int):
    for shape, draw in DRAWS.items():
        for groups, seeds in SIZES if shape in ("normal", "exponential downwards") else FEW_SIZES:
            marked, of_means, of_shares = [], [], []
            costs = by_seed(np.ones((groups, seeds)))
            for number in range(experiments):
                rows = points_of(draw, rng, (groups, seeds))
                qualities = by_seed(rows)
                marked.append(any(dominated_beyond_chance(qualities, costs, timed=False)))
                if number < experiments // 20:
                    of_means.append(any(dominated([(mean, 1.0) for mean in rows.mean(axis=1)])))
                    of_shares.append(min(front_shares(qualities, costs)) < 0.05)
            others = {"means alone": float(np.mean(of_means)), "share below 5 %": float(np.mean(of_shares))}
            yield {"shape": shape, "groups": groups, "seeds": seeds} | others | share(marked)


def timed(rng, experiments: int):
    for shape in ("normal", "exponential downwards"):
        draw = DRAWS[shape]
        for groups, seeds in ((2, 3), (2, 8), (10, 3), (10, 8), (30, 8)):
            marked, of_means = [], []
            for _ in range(experiments):
                points, seconds = points_of(draw, rng, (groups, seeds)), seconds_of(draw, rng, (groups, seeds))
                marked.append(any(dominated_beyond_chance(by_seed(points), by_seed(seconds), timed=True)))
                middles = zip(points.mean(axis=1), np.median(seconds, axis=1), strict=True)
                of_means.append(any(dominated(list(middles))))
            line = {"shape": shape, "groups": groups, "seeds": seeds, "means alone": float(np.mean(of_means))}
            yield line | share(marked)


def one_sided(rng, experiments: int):
    """The hardest case of the test: the quality of each pair is sure, the times alone decide, and are equal."""
    for shape in ("normal", "exponential downwards"):
        draw = DRAWS[shape]
        for groups, seeds in ((2, 3), (2, 8), (10, 3), (10, 5), (10, 8), (30, 8)):
            marked = []
            for _ in range(experiments):
                points = points_of(draw, rng, (groups, seeds)) + 10 * np.arange(groups)[:, None]
                seconds = seconds_of(draw, rng, (groups, seeds))
                marked.append(any(dominated_beyond_chance(by_seed(points), by_seed(seconds), timed=True)))
            yield {"shape": shape, "groups": groups, "seeds": seeds} | share(marked)


def unequal(rng, experiments: int):
    for shape in ("normal", "exponential downwards", "one collapses"):
        for groups, seeds in ((2, 3), (2, 8), (3, 8), (10, 3), (10, 8), (10, 20), (30, 8), (30, 20)):
            marked, costs = [], by_seed(np.ones((groups, seeds)))
            for _ in range(experiments):
                if shape == "one collapses":
                    rows = points_of(DRAWS["normal"], rng, (groups, seeds))
                    rows[0] += 3.5 * (0.1 - (rng.random(seeds) < 0.1))
                else:
                    spreads = np.geomspace(0.3, 6, groups)[:, None]
                    rows = 90 + spreads * SPREAD * DRAWS[shape](rng, (groups, seeds))
                marked.append(any(dominated_beyond_chance(by_seed(rows), costs, timed=False)))
            yield {"shape": shape, "groups": groups, "seeds": seeds} | share(marked)


def power(rng, experiments: int):
    for points_worse in (0.5, 1.0, 3.0):
        for groups in (2, 10, 30):
            for seeds in (3, 5, 8, 12):
                found = []
                for _ in range(experiments // 4):
                    points = points_of(DRAWS["normal"], rng, (groups, seeds))
                    seconds = seconds_of(DRAWS["normal"], rng, (groups, seeds))
                    points[0] -= points_worse
                    seconds[0] *= 2
                    found.append(dominated_beyond_chance(by_seed(points), by_seed(seconds), timed=True)[0])
                yield {"points": points_worse, "groups": groups, "seeds": seeds} | share(found)


def shares(rng, experiments: int):
    for seeds in (2, 3, 5, 8, 20):
        small = []
        for _ in range(experiments):
            qualities = by_seed(points_of(DRAWS["normal"], rng, (2, seeds)))
            small.append(front_shares(qualities, by_seed(np.ones((2, seeds))))[0] < 0.05)
        yield {"share below": 0.05, "seeds": seeds} | share(small)


TABLES = {
    "equal": equal, "timed": timed, "one_sided": one_sided, "unequal": unequal, "power": power, "shares": shares,
}  # fmt: skip


if __name__ == "__main__":
    run_tables(__doc__, TABLES, "for each line of a table; of power a quarter")
