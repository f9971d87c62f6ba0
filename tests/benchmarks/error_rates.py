"""How often the verdicts err, and what they find, on simulated differences of test accuracy.

False helps or hurts: families of 1 and of 8 techniques that change nothing (Holm in each family). The differences
are normal, heavy-tailed (t with 3 degrees of freedom), of runs that are skewed alike (exponential), or skewed
themselves, with a standard deviation drawn between 0.2 and 1 point for each technique, and rounded to 1/10,000, as
with 10,000 test images. The last breaks what the sign-flip test assumes: a technique that does nothing leaves d as
likely as -d, one that keeps the mean but changes the shape does not. Power: the share of `helps` at a true
difference. At the margin: the share of `no practical effect` where the true difference is the margin itself, by the
BCa interval alone and as cnnbench decides.

    python tests/benchmarks/error_rates.py [--experiments 2000] [--sd 0.005] [--seed 0] [--json FILE]
"""

import argparse
import json
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from cnnbench.analysis.statistics import PairedDifference, holm, paired_differences, verdict

IMAGES = 10_000
MARGIN = 0.002
FAMILIES = (1, 8)
NULL_PAIRS = (8, 12)
NULL_SD = (0.002, 0.01)
POWER_PAIRS = (5, 8, 12, 20)
POINTS = (0.25, 0.5, 1, 2)
MARGIN_PAIRS = (6, 8, 12, 20)
MARGIN_SD = MARGIN / 2
NULL_SHAPES = ("normal", "t3", "skewed runs", "long tail up")
MARGIN_SHAPES = ("normal", "t3", "long tail up", "long tail down")
SHAPES = {  # each with mean 0 and standard deviation 1
    "normal": lambda generator, size: generator.standard_normal(size),
    "t3": lambda generator, size: generator.standard_t(3, size) / math.sqrt(3),
    "skewed runs": lambda generator, size: generator.laplace(0.0, math.sqrt(0.5), size),  # exponential - exponential
    "long tail up": lambda generator, size: generator.standard_exponential(size) - 1,
    "long tail down": lambda generator, size: 1 - generator.standard_exponential(size),
}


def simulate(generator, shape: str, size: tuple[int, int], mean: float, sd) -> list[PairedDifference]:
    """What is measured in (rows, pairs) differences of that distribution."""
    differences = mean + sd * SHAPES[shape](generator, size)
    return paired_differences(np.round(differences * IMAGES) / IMAGES)


def share(hits: list[bool]) -> dict:
    """The share with its 95 % Wilson interval."""
    n, p, z = len(hits), sum(hits) / len(hits), 1.96
    middle, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + (z / (2 * n)) ** 2)
    return {"share": p, "low": (middle - half) / (1 + z * z / n), "high": (middle + half) / (1 + z * z / n), "of": n}


def false_verdicts(generator, experiments: int) -> Iterator[dict]:
    """Share of families without an effect in which anything helps or hurts."""
    for shape in NULL_SHAPES:
        for pairs in NULL_PAIRS:
            rows = experiments * max(FAMILIES)
            found = simulate(generator, shape, (rows, pairs), 0.0, generator.uniform(*NULL_SD, (rows, 1)))
            for size in FAMILIES:
                families = [found[first : first + size] for first in range(0, experiments * size, size)]
                yield {"shape": shape, "pairs": pairs, "family": size} | share([errs(family) for family in families])


def errs(family: list[PairedDifference]) -> bool:
    adjusted = holm([difference.p_value for difference in family])
    verdicts = [verdict(difference, p, MARGIN) for difference, p in zip(family, adjusted, strict=True)]
    return "helps" in verdicts or "hurts" in verdicts


def power(generator, experiments: int, sd: float) -> Iterator[dict]:
    """Share of `helps` at true differences, each test alone."""
    for pairs in POWER_PAIRS:
        for points in POINTS:
            found = simulate(generator, "normal", (experiments, pairs), points / 100, sd)
            helps = [verdict(difference, difference.p_value, MARGIN) == "helps" for difference in found]
            yield {"pairs": pairs, "points": points} | share(helps)


def at_the_margin(generator, experiments: int) -> Iterator[dict]:
    """Share of `no practical effect` at a true difference of the margin."""
    for shape in MARGIN_SHAPES:
        for pairs in MARGIN_PAIRS:
            found = simulate(generator, shape, (experiments, pairs), MARGIN, MARGIN_SD)
            of_bca = sum(max(map(abs, difference.ci95)) <= MARGIN for difference in found) / experiments
            said = [verdict(difference, None, MARGIN) == "no practical effect" for difference in found]
            yield {"shape": shape, "pairs": pairs, "bca_alone": of_bca} | share(said)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--experiments", type=int, default=2000)
    parser.add_argument("--sd", type=float, default=0.005, help="of the differences in the power table")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write every figure here")
    options = parser.parse_args()
    generator = np.random.default_rng(options.seed)
    report = {
        "false_verdicts": list(false_verdicts(generator, options.experiments)),
        "power": list(power(generator, options.experiments, options.sd)),
        "at_the_margin": list(at_the_margin(generator, options.experiments)),
    }
    show(report, options.sd)
    if options.json:
        options.json.write_text(json.dumps(report | {"sd": options.sd, "seed": options.seed}, indent=2) + "\n")


def show(report: dict, sd: float) -> None:
    print("helps or hurts where nothing does, per family")
    for row in report["false_verdicts"]:
        print(f"  {row['shape']:<15}{row['pairs']:>3} pairs, family of {row['family']}: {percent(row)}")
    print(f"helps, at a standard deviation of {100 * sd:g} points")
    for row in report["power"]:
        print(f"  {row['pairs']:>3} pairs, {row['points']:g} points: {percent(row)}")
    print(f"no practical effect at the margin, standard deviation {100 * MARGIN_SD:g} points")
    for row in report["at_the_margin"]:
        print(f"  {row['shape']:<15}{row['pairs']:>3} pairs: {percent(row)}; BCa alone {row['bca_alone']:.1%}")


def percent(row: dict) -> str:
    return f"{row['share']:.1%} ({row['low']:.1%} to {row['high']:.1%} of {row['of']:,})"


if __name__ == "__main__":
    main()
