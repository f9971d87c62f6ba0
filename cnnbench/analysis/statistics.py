"""Whether runs paired by seed differ: interval, exact test, verdict, and how many seeds a verdict needs.

Fewer than six pairs decide nothing: the smallest two-sided p of n pairs is 2 / 2**n.
"""

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Verdict = Literal["helps", "hurts", "no practical effect", "undecided"]
Row = NDArray[np.float64]

ALPHA = 0.05
POWER = 0.8
MOST_SEEDS = 1000
RESAMPLES = 9999
EXACT_PAIRS = 30  # up to here every sign pattern counts; beyond, RANDOM_PATTERNS of them
RANDOM_PATTERNS = 99_999
TIE = 1e-9  # relative: 0.92 - 0.91 and 0.93 - 0.92 are the same difference, 1e-14 apart


@dataclass(frozen=True)
class PairedDifference:
    """Candidate minus baseline over runs paired by seed.

    Attributes:
        mean: not a number without pairs; infinite where runs missed their target, with the sign of most of the ranks.
        ci95: BCa bootstrap interval of the mean; (d, d) where all differences are d; None below two pairs.
        p_value: exact two-sided sign-flip p; None without pairs. Beyond 30 pairs from 99,999 random patterns.
        p_floor: the smallest p that so many pairs can give.
        effect_size: Cohen's dz, mean / sd; None where sd is 0 or unknown.
        sd: of the differences, over n - 1; None below two pairs.
    """

    n_pairs: int
    mean: float
    ci95: tuple[float, float] | None
    p_value: float | None
    p_floor: float | None
    effect_size: float | None
    sd: float | None = None


def paired_differences(differences: Sequence[Sequence[float]]) -> list[PairedDifference]:
    """One for each row. Rows of a length share their resamples: what a row gives depends on no other row.

    Raises:
        ValueError: A difference is no number. A pair with a run that has no value is to be left out.
    """
    rows = [np.asarray(row, dtype=np.float64) for row in differences]
    if any(np.isnan(row).any() for row in rows):
        raise ValueError("paired differences have to be numbers")
    counts = {length: resample_counts(length) for length in {len(row) for row in rows} if length > 1}
    return [_paired_difference(row, counts.get(len(row))) for row in rows]


def _paired_difference(row: Row, counts: Row | None) -> PairedDifference:
    n = len(row)
    if n == 0:
        return PairedDifference(0, math.nan, None, None, None, None)
    if np.isinf(row).any():
        return _difference_with_misses(row)
    mean = float(row.mean())
    if counts is None:
        return PairedDifference(1, mean, None, 1.0, 1.0, None)
    p_value, p_floor = sign_flip_p(row), p_floor_of(n)
    if np.ptp(row) <= TIE * np.abs(row).max():
        return PairedDifference(n, mean, (mean, mean), p_value, p_floor, None, 0.0)
    sd = float(row.std(ddof=1))
    return PairedDifference(n, mean, bca_interval(row, counts), p_value, p_floor, mean / sd, sd)


def _difference_with_misses(row: Row) -> PairedDifference:
    """Where a run of a pair missed its target the difference is infinite: the test is that of the signed ranks of the
    differences (Wilcoxon 1945), which knows larger and smaller only, and there is no mean but its direction."""
    sizes = np.abs(row)
    ranks = np.array([np.count_nonzero(sizes < size) + (np.count_nonzero(sizes == size) + 1) / 2 for size in sizes])
    signed = np.sign(row) * ranks
    total = float(signed.sum())
    return PairedDifference(
        len(row), total * math.inf if total else math.nan, None, sign_flip_p(signed), p_floor_of(len(row)), None
    )


def p_floor_of(n_pairs: int) -> float:
    """The smallest two-sided sign-flip p of so many pairs."""
    return 2.0 ** (1 - n_pairs)


def resample_counts(n: int) -> Row:
    """How often each of n values is in each resample, (RESAMPLES, n): a product with the values sums the resamples."""
    drawn = np.random.default_rng(0).integers(0, n, (RESAMPLES, n))
    drawn += n * np.arange(RESAMPLES)[:, None]
    return np.bincount(drawn.ravel(), minlength=RESAMPLES * n).reshape(RESAMPLES, n).astype(np.float64)


def bca_interval(row: Row, counts: Row) -> tuple[float, float]:
    """95 % bias-corrected and accelerated bootstrap interval of the mean (Efron 1987) of values not all equal."""
    from scipy.special import ndtr, ndtri

    mean = row.mean()
    means = counts @ row / len(row)
    tie = TIE * np.abs(row).max()
    below = np.count_nonzero(means < mean - tie) + np.count_nonzero(means <= mean + tie)  # those equal count half
    bias = ndtri(below / 2 / RESAMPLES)
    deviations = row - mean
    acceleration = (deviations**3).sum() / (6 * (deviations**2).sum() ** 1.5)
    z = bias + ndtri((ALPHA / 2, 1 - ALPHA / 2))
    low, high = np.quantile(means, ndtr(bias + z / (1 - acceleration * z)))
    return float(low), float(high)


def sign_flip_p(row: Row) -> float:
    """Two-sided: the share of sign patterns whose |sum| is at least that of the values as they are.

    Where a technique does nothing the two runs of a pair could be swapped, so each pattern is as likely.
    """
    total = abs(row.sum())
    least = total - TIE * np.abs(row).sum()
    if least <= 0:
        return 1.0
    if len(row) > EXACT_PAIRS:
        return _random_sign_flip_p(row, least)
    half = len(row) // 2
    left, right = _signed_sums(row[:half]), np.sort(_signed_sums(row[half:]))
    too_small = np.searchsorted(right, least - left)  # each sum of the left half with all of the right
    reaching = len(left) * len(right) - int(too_small.sum())
    return 2 * reaching / 2 ** len(row)  # the other tail mirrors this one


def _signed_sums(values: Row) -> Row:
    sums = np.zeros(1)
    for value in values:
        sums = np.concatenate((sums - value, sums + value))
    return sums


def _random_sign_flip_p(row: Row, least: float) -> float:
    generator = np.random.default_rng(0)
    reaching = 0
    for size in [999] + [1_000] * (RANDOM_PATTERNS // 1_000):
        signs = 2.0 * generator.integers(0, 2, (size, len(row)), dtype=np.int8) - 1.0
        reaching += int((np.abs(signs @ row) >= least).sum())
    return (reaching + 1) / (RANDOM_PATTERNS + 1)


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Adjusted for the family (Holm 1979). None stays None and does not count."""
    ordered = sorted((p, place) for place, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for rank, (p, place) in enumerate(ordered):
        largest = max(largest, min(1.0, (len(ordered) - rank) * p))
        adjusted[place] = largest
    return adjusted


def verdict(
    difference: PairedDifference, p_holm: float | None, margin: float, *, higher_is_better: bool = True
) -> Verdict:
    """What the runs show. Fewer than six pairs show nothing.

    `no practical effect`: the BCa interval and the t interval lie within ± `margin`. BCa alone is too narrow for few
    pairs: at a true difference of the margin it lies within in 7 % of cases with 6 or 8 pairs, both in 3 %; where
    differences are as skewed as an exponential distribution, both in 8 to 11 % (tests/benchmarks/error_rates.py).
    """
    if difference.p_floor is None or difference.p_floor > ALPHA:
        return "undecided"
    if _furthest(difference) <= margin * (1 + TIE):
        return "no practical effect"
    if p_holm is None or p_holm > ALPHA:
        return "undecided"
    return "helps" if (difference.mean > 0) == higher_is_better else "hurts"


def _furthest(difference: PairedDifference) -> float:
    """The largest |difference| that the intervals allow."""
    of_bca = max(map(abs, difference.ci95)) if difference.ci95 else math.inf
    if difference.sd is None:
        return of_bca
    return max(of_bca, abs(difference.mean) + t_half_width(difference.n_pairs, difference.sd))


def t_half_width(n: int, sd: float) -> float:
    """Half of the 95 % t interval of a mean of n > 1 values."""
    from scipy.special import stdtrit

    return float(stdtrit(n - 1, 1 - ALPHA / 2) * sd / math.sqrt(n))


def seeds_needed(difference: PairedDifference, margin: float, family: int = 1) -> int | None:
    """Pairs after which a verdict is to be expected if mean and spread stay what they are.

    That is helps or hurts in a family of so many with 80 % power, or an expected t interval within ± `margin`,
    whichever comes first. None: more than MOST_SEEDS, or the spread is not known.
    """
    if difference.sd is None:
        return None
    counts = (
        pairs_for_difference(difference.sd, difference.mean, family=family),
        _pairs_for_equivalence(difference.sd, margin - abs(difference.mean)),
    )
    return min((count for count in counts if count is not None), default=None)


def _pairs_for_equivalence(sd: float, room: float) -> int | None:
    counts = range(fewest_pairs(1), MOST_SEEDS + 1)
    if room < t_half_width(MOST_SEEDS, sd):
        return None
    return counts[bisect_left(counts, -room, key=lambda n: -t_half_width(n, sd))]


def pairs_for_difference(sd: float, difference: float, *, power: float = POWER, family: int = 1) -> int | None:
    """The fewest pairs of which the test finds `difference` with this power; None: more than MOST_SEEDS."""
    counts = range(fewest_pairs(family), MOST_SEEDS + 1)
    place = bisect_left(counts, power, key=lambda n: power_of(n, sd, difference, family))
    return counts[place] if place < len(counts) else None


def fewest_pairs(family: int) -> int:
    """How many it takes for 2 / 2**n to reach 0.05 / `family`."""
    return math.ceil(1 + math.log2(family / ALPHA))


def power_of(n: int, sd: float, difference: float, family: int = 1) -> float:
    """Chance that n pairs show `difference`, with its sign, in a family of so many tests, where Holm is strictest.

    That of the paired t test (noncentral t) at the level the sign-flip test can attain: the largest multiple of
    2 / 2**n within 0.05 / `family`. Exact where that is 2 / 2**n itself, 0 where n is too small even for it.
    """
    from scipy.special import nctdtr, ndtr, stdtrit

    level = math.floor(ALPHA / family / p_floor_of(n)) * p_floor_of(n)
    if level == 0 or difference == 0 == sd:
        return 0.0
    if sd == 0:
        return 1.0
    shift = abs(difference) / sd
    if level == p_floor_of(n):
        return float(ndtr(shift) ** n)  # every pair has to go the same way
    noncentrality = min(shift * math.sqrt(n), 30.0)  # the chance is 1 from there on, and far beyond SciPy gives nan
    return float(1 - nctdtr(n - 1, noncentrality, stdtrit(n - 1, 1 - level / 2)))


def mean_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """95 % t interval of the mean; None for one value."""
    if len(values) < 2 or not math.isfinite(sum(values)):
        return None
    mean, half = float(np.mean(values)), t_half_width(len(values), float(np.std(values, ddof=1)))
    return mean - half, mean + half


def median_with_misses(times: Sequence[float]) -> tuple[float, tuple[float, float] | None]:
    """Median and distribution-free 95 % interval (two order statistics) where a miss is infinity.

    The interval is None below six times.
    """
    from scipy.special import bdtr  # scipy.stats takes a second to import

    ordered = sorted(times)
    n = len(ordered)
    median = (ordered[(n - 1) // 2] + ordered[n // 2]) / 2
    # fewer than `rank` of n lie below the median in under 2.5 % of cases
    rank = next(count for count in range(n) if bdtr(count, n, 0.5) >= ALPHA / 2)
    return median, (ordered[rank - 1], ordered[n - rank]) if rank else None


def mcnemar(only_first: int, only_second: int) -> float:
    """Exact two-sided p that two models, each right where the other errs on so many images, are equally accurate."""
    from scipy.special import bdtr

    smaller, n = min(only_first, only_second), only_first + only_second
    return min(1.0, 2 * float(bdtr(smaller, n, 0.5)))
