"""How verdicts were found, in words: a line below a table, a paragraph for a paper."""

from collections.abc import Sequence

from cnnbench.analysis.verdicts import Comparison


def how_judged(comparisons: Sequence[Comparison], *, chosen_afterwards: bool) -> str:
    """What the intervals and p-values are, and which question they answer."""
    decided = [comparison for comparison in comparisons if comparison.family]
    words = f"95 % intervals over seeds, on these test images; p by {_test(comparisons)}"
    if decided and decided[0].family > 1:
        words += f", for {decided[0].family} comparisons together ({decided[0].method})"
    if chosen_afterwards:
        words += ": the baseline was chosen afterwards, and could have been any"
    return words


def _test(comparisons: Sequence[Comparison]) -> str:
    paired = {comparison.is_paired for comparison in comparisons}
    if paired == {False}:
        return "permutations of the runs"
    return "exact sign flips" + (", where seeds do not match by permutations of the runs" if False in paired else "")
