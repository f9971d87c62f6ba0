"""How verdicts were found, in words: a line below a table, and a paragraph with its sources for a paper."""

from collections.abc import Callable
from typing import TypeAlias

from cnnbench import __version__
from cnnbench.analysis.comparison import Compared
from cnnbench.analysis.metrics import metric_of
from cnnbench.analysis.wording import plural


def how_judged(compared: Compared) -> str:
    """What the intervals and p-values are, and which question they answer."""
    decided = [comparison for comparison in compared.comparisons if comparison.family]
    words = f"95 % intervals over seeds, on these test images; p by {_test(compared)}"
    if decided and decided[0].family > 1:
        words += f", for {decided[0].family} comparisons together ({decided[0].method})"
    if compared.chosen_afterwards:
        words += ": the baseline was chosen afterwards, and could have been any"
    if compared.asks_population:
        words += "; verdicts only where they hold for other seeds and other test images too"
    return words


def _test(compared: Compared) -> str:
    paired = {comparison.is_paired for comparison in compared.comparisons}
    if paired == {False}:
        return "permutations of the runs"
    return "exact sign flips" + (", where seeds do not match by permutations of the runs" if False in paired else "")


Cite: TypeAlias = Callable[[str], str]
SOURCES = {
    "sign flips": "R. A. Fisher, The Design of Experiments, 1935",
    "step-down maximum": "P. H. Westfall and S. S. Young, Resampling-Based Multiple Testing, 1993; J. P. Romano and "
    "M. Wolf, JASA 100, 2005",
    "Holm": "S. Holm, Scandinavian Journal of Statistics 6, 1979",
    "interval": "P. Hall, JRSS B 54, 1992",
    "equivalence": "D. J. Schuirmann, Journal of Pharmacokinetics and Biopharmaceutics 15, 1987",
    "permutations": "A. Janssen, Statistics and Probability Letters 36, 1997",
    "failures": "C. J. Clopper and E. S. Pearson, Biometrika 26, 1934",
    "population": "S. L. Hillis, Statistics in Medicine 26, 2007",
    "seeds": "X. Bouthillier et al., Accounting for Variance in Machine Learning Benchmarks, MLSys 2021",
}


def methods_paragraph(compared: Compared) -> list[str]:
    """What was done, for the methods section of a paper: a line of text, and one for each source that it names."""
    used: list[str] = []

    def cite(key: str) -> str:
        if key not in used:
            used.append(key)
        return f"[{used.index(key) + 1}]"

    sentences = [_runs(compared, cite), *_judgement(compared, cite), *_limits(compared, cite)]
    references = [f"[{number}] {SOURCES[key]}" for number, key in enumerate(used, start=1)]
    return [" ".join(sentences), "", *references]


def _runs(compared: Compared, cite: Cite) -> str:
    groups = compared.collection.groups
    seeds = sorted({len(group.runs) + len(group.diverged) for group in groups})
    counts = f"{seeds[0]}" if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
    data = " and ".join(sorted({str(group.runs[0].summary.get("data")) for group in groups}))
    return (
        f"Each of {plural(len(groups), 'configuration')} was trained on {data} with {counts} random seeds "
        f"{cite('seeds')}, and compared by {metric_of(compared.metric).name} with cnnbench {__version__}."
    )


def _judgement(compared: Compared, cite: Cite) -> list[str]:
    scale, methods = metric_of(compared.metric), {comparison.method for comparison in compared.comparisons}
    paired = {comparison.is_paired for comparison in compared.comparisons}
    sentences = []
    if True in paired:
        sentences.append(
            "Runs of equal seeds were paired, and the mean difference tested by the exact two-sided sign-flip test "
            f"{cite('sign flips')}."
        )
    if False in paired:
        sentences.append(
            f"Groups whose seeds do not match were compared by a permutation test of Welch's t {cite('permutations')}."
        )
    family = max((comparison.family for comparison in compared.comparisons), default=0)
    if "step-down maximum" in methods:
        sentences.append(
            f"The {family} comparisons were adjusted together by a step-down maximum over signs flipped jointly by "
            f"seed {cite('step-down maximum')}: where techniques without effect can be swapped with the baseline, "
            "a false verdict among them has a probability of at most 5 %."
        )
    elif "Holm" in methods:
        sentences.append(f"The p-values of {family} comparisons were adjusted by Holm's method {cite('Holm')}.")
    sentences.append(
        "Intervals are 95 % t intervals of the mean difference, extended on the side of a long tail by Hall's "
        f"correction for skewness {cite('interval')}."
    )
    margin = f"{compared.margin * scale.factor:g} {scale.difference_unit}".rstrip()
    sentences.append(
        "A technique is said to help or hurt at an adjusted p of at most 0.05, and to have no practical effect where "
        f"two one-sided tests, adjusted by Holm's method, place the difference within ± {margin} {cite('equivalence')}."
    )
    return sentences


def _limits(compared: Compared, cite: Cite) -> list[str]:
    sentences = []
    if any(group.diverged for group in compared.collection.groups):
        sentences.append(
            "Runs that diverged count as outcomes: their rates are given with exact intervals "
            f"{cite('failures')}, and a verdict stands only if it stands with them as the worst of all runs."
        )
    if compared.asks_population:
        sentences.append(
            "Verdicts hold for other seeds and other test images alike, by a two-way random-effects model of both "
            f"{cite('population')}."
        )
    else:
        sentences.append("Verdicts are about the test images at hand.")
    if compared.chosen_afterwards:
        sentences.append("The baseline was chosen after the results were known; all pairs are the family.")
    return sentences
