"""Why a verdict is what it is, and what would change it: five lines for a comparison."""

from cnnbench.analysis.metrics import Metric, metric_of
from cnnbench.analysis.pairing import pair_by_seed
from cnnbench.analysis.statistics.intervals import largest_unseen_share
from cnnbench.analysis.statistics.levels import ALPHA, FEWEST_PAIRS
from cnnbench.analysis.statistics.power import MOST_SEEDS
from cnnbench.analysis.verdicts import Comparison
from cnnbench.analysis.wording import write_p

WORTH_SAYING = 0.1  # of a correlation


def explain(comparison: Comparison, metric: str, margin: float) -> list[str]:
    """What was measured, chance, the margin, failures, and what would change the verdict."""
    scale = metric_of(metric)
    return [
        f"measured: {_measured(comparison, scale)}",
        f"chance: {_chance(comparison)}",
        f"margin: {_margin(comparison, scale, margin)}",
        f"failures: {_failures(comparison, scale, metric)}",
        f"verdict: {comparison.verdict}{_what_would_change_it(comparison)}",
    ]


def _measured(comparison: Comparison, scale: Metric) -> str:
    difference = comparison.difference
    if difference is None:
        return "nothing, for no seed has both"
    mean = f"{scale.write_difference(difference.mean)} {scale.difference_unit}".rstrip()
    interval = f", 95 % interval {' to '.join(map(scale.write_difference, difference.ci95))}" if difference.ci95 else ""
    if not comparison.is_paired:
        return f"{mean}{interval}, group against group, for their seeds do not match"
    over = f" over {difference.n_pairs} pairs of equal seeds{interval}"
    correlation = comparison.correlation
    if correlation is None or correlation >= 1:
        return mean + over
    worth = f"; runs of equal seeds correlate by {correlation:.2f}"
    return (
        mean + over + worth + (f", by which pairing saves {correlation:.0%} of the runs" if correlation >= 0.1 else "")
    )


def _chance(comparison: Comparison) -> str:
    difference = comparison.difference
    if difference is None or difference.p_value is None:
        return "unknown"
    test = "sign flips" if comparison.is_paired else "permutations"
    alone = f"p by {test} is {write_p(difference.p_value)}"
    if difference.p_floor is not None and difference.p_floor > ALPHA:
        return f"{alone}, and cannot be below {difference.p_floor:.2g} with so few runs"
    if comparison.family < 2:
        return alone
    others = f"{write_p(comparison.p_family)} among {comparison.family} comparisons ({comparison.method})"
    return f"{alone} by itself, {others}"


def _margin(comparison: Comparison, scale: Metric, margin: float) -> str:
    difference = comparison.difference
    shown = f"± {margin * scale.factor:g} {scale.difference_unit}".rstrip()
    if difference is None or difference.ci95 is None:
        return f"{shown}; without an interval nothing is known to lie within"
    furthest = max(difference.ci95, key=abs)
    if comparison.verdict == "no practical effect":
        return f"the interval lies within {shown}"
    if abs(furthest) <= margin:
        return f"the interval alone lies within {shown}, but not as one of several, or a seed lies far outside"
    return f"not within {shown}: the interval reaches to {scale.write_difference(furthest)}"


def _failures(comparison: Comparison, scale: Metric, metric: str) -> str:
    ours, theirs = comparison.failures
    count = min(ours.runs, theirs.runs)
    if ours.diverged or theirs.diverged:
        seen = f"{theirs.diverged} of {theirs.runs} runs diverged, of the baseline {ours.diverged} of {ours.runs}"
    else:
        seen = (
            f"no run diverged; what fails in up to {largest_unseen_share(count):.0%} of seeds can go unseen in {count}"
        )
    differences = pair_by_seed(comparison.baseline, comparison.candidate, metric).differences
    if not comparison.is_paired or not differences:
        return seen
    worst = min(differences, key=lambda seed: scale.sign * differences[seed])
    return f"{seen}; the worst is seed {worst} with {scale.write_difference(differences[worst])}"


def _what_would_change_it(comparison: Comparison) -> str:
    if comparison.held:
        return f"; {comparison.held}"
    if comparison.verdict != "undecided":
        return f"; beside it: {', '.join(comparison.notes)}" if comparison.notes else ""
    difference = comparison.difference
    pairs = difference.n_pairs if difference else 0
    if difference is None or difference.sd is None:
        return f"; it takes {FEWEST_PAIRS} pairs of equal seeds at the least"
    if comparison.seeds_needed is None:
        return f"; at this spread more than {MOST_SEEDS:,} seeds"
    if comparison.seeds_needed <= pairs:
        return "; so many seeds decide it in four of five cases, and this is none: add some by `ablate seeds=auto`"
    needed = comparison.seeds_needed
    return f"; {needed} seeds would decide it in four of five cases, if mean and spread stay what they are"
