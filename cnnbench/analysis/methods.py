"""How verdicts were found, in words: a line below a table, a paragraph for a paper."""

from cnnbench.analysis.comparison import Compared


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
