"""The sign-flip test (Fisher 1935), of one row of differences and of a family of rows that share their seeds.

Where a technique does nothing the two runs of a pair could be swapped, so each pattern of signs is as likely.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from cnnbench.analysis.statistics.levels import TIE

Row = NDArray[np.float64]
Table = NDArray[np.float64]

EXACT_PAIRS = 30  # up to here every sign pattern counts; beyond, RANDOM_PATTERNS of them
RANDOM_PATTERNS = 99_999
EXACT_SEEDS = 14  # the same for families, in which every pattern costs a statistic of every row
RANDOM_JOINT_PATTERNS = 9_999
CHUNK = 1_024


def p_floor_of(n_pairs: int) -> float:
    """The smallest two-sided sign-flip p of so many pairs."""
    return 2.0 ** (1 - n_pairs)


def sign_flip_p(row: Row) -> float:
    """Two-sided: the share of sign patterns whose |sum| is at least that of the values as they are."""
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


def signed_ranks(row: Row) -> Row:
    """Of values some of which may be infinite: the ranks of their sizes with their signs (Wilcoxon 1945)."""
    sizes = np.abs(row)
    ranks = np.array([np.count_nonzero(sizes < size) + (np.count_nonzero(sizes == size) + 1) / 2 for size in sizes])
    return np.asarray(np.sign(row) * ranks, dtype=np.float64)


def step_down_maximum(rows: Sequence[Mapping[int, float]]) -> list[float]:
    """Adjusted p of each row of differences by seed, for all of them together (Westfall & Young 1993; Romano & Wolf
    2005): what the rows have in common, their seeds and their baseline, is kept, for the signs of a seed are flipped
    in all of them at once.

    Beside a row only those count that are less clear; its p is the share of patterns in which any of them is as clear
    as it is. Infinite values count by their signed ranks. With six seeds p can be as small as 1 / 32, however
    many rows there are.
    """
    if not rows:
        return []
    values, counts = _table(rows)
    observed = _moderated(np.ones((1, values.shape[1])), values, counts)[0]
    order = np.argsort(-observed)
    least = observed[order] * (1 - TIE)
    reaching, patterns = np.zeros(len(rows), dtype=np.int64), 0
    for signs in _patterns(values.shape[1]):
        statistics = _moderated(signs, values, counts)[:, order]
        largest = np.maximum.accumulate(statistics[:, ::-1], axis=1)[:, ::-1]
        reaching += (largest >= least).sum(axis=0)
        patterns += len(signs)
    adjusted = np.empty(len(rows))
    adjusted[order] = np.maximum.accumulate(reaching / patterns)
    return [float(p) for p in adjusted]


def gone_on(rows: Sequence[Mapping[int, float]]) -> list[dict[int, float]]:
    """The rows as if those that stopped early had gone on to the last seed, with differences like those they had, of
    random signs: what stopped, for it promised little, would else be no match for what went on, for it promised much.
    """
    generator, seeds = np.random.default_rng(0), sorted({seed for row in rows for seed in row})
    filled = []
    for row in rows:
        missing = [seed for seed in seeds if seed not in row]
        drawn = generator.choice(np.array(list(row.values())), len(missing)) * generator.choice(
            (-1.0, 1.0), len(missing)
        )
        filled.append({**row, **dict(zip(missing, map(float, drawn), strict=True))})
    return filled


def _table(rows: Sequence[Mapping[int, float]]) -> tuple[Table, Row]:
    """The values (rows, seeds), 0 where a row lacks a seed, in one scale; and how many each row has, (rows,)."""
    seeds = sorted({seed for row in rows for seed in row})
    place = {seed: column for column, seed in enumerate(seeds)}
    values = np.zeros((len(rows), len(seeds)))
    for line, row in zip(values, rows, strict=True):
        found = np.array(list(row.values()))
        ranked = np.isinf(found).any()
        line[[place[seed] for seed in row]] = signed_ranks(found) if ranked else found
        if ranked:
            line /= np.sqrt((line**2).mean()) or 1.0
    counts = np.array([float(len(row)) for row in rows])
    of_ranks = np.array([any(map(np.isinf, row.values())) for row in rows])
    if of_ranks.any() and not of_ranks.all():
        values[of_ranks] *= np.sqrt(_typical_square((values**2).sum(axis=1)[~of_ranks] / counts[~of_ranks]))
    return values, counts


def _typical_square(squares: Row) -> float:
    """The median of the rows' mean squares, of those that are not zero; 1 where all are."""
    positive = squares[squares > 0]
    return float(np.median(positive)) if len(positive) else 1.0


def _moderated(signs: Table, values: Table, counts: Row) -> Table:
    """|statistic| of each row under each pattern of signs, (patterns, rows).

    The mean, corrected for skewness as Johnson (1978, JASA 73) corrects it, over a spread: the root of the row's own
    mean square and the median one of all rows, as Tusher et al. (2001, PNAS 98) moderate theirs. Of six to twelve
    values the own spread alone is a matter of luck, and that of all rows alone drowns the calm ones beside a noisy one.
    By the root of its pairs, for a row of few is large by luck more easily.
    It is the same whatever the signs, and stands in the correction too, which a variance would let grow without bounds.
    """
    means = signs @ values.T / counts
    squares = (values**2).sum(axis=1) / counts
    typical = _typical_square(squares)
    moderated = squares + typical
    thirds = signs @ (values**3).T / counts - 3 * means * squares + 2 * means**3
    variances = np.maximum(squares - means**2, 0.0) * counts / np.maximum(counts - 1, 1) + typical
    corrected = means + thirds / variances * (1 / (6 * counts) + means**2 / (3 * moderated))
    return np.asarray(np.abs(corrected) * np.sqrt(counts / moderated), dtype=np.float64)


def _patterns(n: int) -> Iterator[Table]:
    """Signs (some, n) in chunks, the first pattern the one that changes nothing: all 2**(n-1) that are not mirrors of
    one another, beyond EXACT_SEEDS random ones."""
    if n <= EXACT_SEEDS:
        for first in range(0, 2 ** (n - 1), CHUNK):
            numbers = np.arange(first, min(first + CHUNK, 2 ** (n - 1)))[:, None]
            yield np.asarray(1.0 - 2.0 * ((numbers >> np.arange(n)) & 1), dtype=np.float64)
        return
    generator = np.random.default_rng(0)
    yield np.ones((1, n))
    for first in range(0, RANDOM_JOINT_PATTERNS, CHUNK):
        size = min(CHUNK, RANDOM_JOINT_PATTERNS - first)
        yield np.asarray(2 * generator.integers(0, 2, (size, n)) - 1, dtype=np.float64)
