"""Whether a difference over paired seeds is one of the techniques, or of the test images at hand.

A mean difference over seeds has an error from the seeds and one from the images, which more seeds do not make smaller:
of techniques that do not differ on all images of their kind one is a little better on any few hundred of them.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cnnbench.analysis.statistics import skewness
from cnnbench.analysis.statistics.intervals import Interval
from cnnbench.analysis.statistics.levels import ALPHA

Right = NDArray[np.bool_]
Counts = NDArray[np.int64]


@dataclass(frozen=True)
class PopulationDifference:
    """Candidate minus baseline in accuracy, over all seeds and all images that these are drawn from.

    Attributes:
        ci95: of the mean, for other seeds and other images.
        p_value: two-sided, of no difference; at most 0.05 exactly where `ci95` leaves out 0.
        seed_sd: of the difference between seeds, on all images.
        image_sd: of the difference between images, over all seeds.
        residual_sd: of what is neither: chance, image by image and run by run.
        standard_error: of the mean.
        se_of_more_seeds: the standard error that is to be expected of twice as many seeds, and of all.
        se_of_more_images: the same of images.
    """

    n_seeds: int
    n_images: int
    mean: float
    ci95: Interval
    p_value: float
    seed_sd: float
    image_sd: float
    residual_sd: float
    standard_error: float
    se_of_more_seeds: tuple[float, float]
    se_of_more_images: tuple[float, float]


@dataclass(frozen=True)
class MeanSquares:
    """The analysis of variance of a table (seeds, images) of differences, without replication.

    `skew` is the third central moment of the images' means, by which the mean of all is skewed.
    """

    n_seeds: int
    n_images: int
    mean: float
    of_seeds: float
    of_images: float
    of_residuals: float
    skew: float


def population_difference(baseline: Right, candidate: Right) -> PopulationDifference | None:
    """What `baseline` and `candidate`, (seeds, images) of the same seeds and images in the same order, show beyond
    these seeds and images by whether they are right; None below two seeds or two images.

    Raises:
        ValueError: they differ in shape.
    """
    if baseline.shape != candidate.shape:
        raise ValueError(f"tables {baseline.shape} and {candidate.shape} of whether runs are right are no pairs")
    if min(baseline.shape) < 2:
        return None
    differences = candidate.astype(np.int8) - baseline.astype(np.int8)
    of_seeds = differences.sum(axis=1, dtype=np.int64)
    of_images = differences.sum(axis=0, dtype=np.int64)
    return difference_of(mean_squares(of_seeds, of_images, int(np.count_nonzero(differences))))


def mean_squares(seed_totals: Counts, image_totals: Counts, nonzero: int) -> MeanSquares:
    """Of differences -1, 0 and 1 with these sums over images (seeds,) and over seeds (images,); `nonzero` are not 0."""
    n_seeds, n_images = len(seed_totals), len(image_totals)
    mean = int(seed_totals.sum()) / (n_seeds * n_images)
    corrected = mean**2 * n_seeds * n_images
    of_seeds = max(float(seed_totals @ seed_totals) / n_images - corrected, 0.0)  # by rounding it may be less
    of_images = max(float(image_totals @ image_totals) / n_seeds - corrected, 0.0)
    centred = image_totals / n_seeds - mean
    of_residuals = max(nonzero - corrected - of_seeds - of_images, 0.0)
    return MeanSquares(
        n_seeds,
        n_images,
        mean,
        of_seeds / (n_seeds - 1),
        of_images / (n_images - 1),
        of_residuals / ((n_seeds - 1) * (n_images - 1)),
        float(centred @ (centred * centred)) / n_images,  # ** 3 takes seventy times as long
    )


def difference_of(squares: MeanSquares) -> PopulationDifference:
    """By a model of random seeds and random images, as readers and cases are in studies of diagnoses (Obuchowski &
    Rockette 1995; Hillis 2007, Statistics in Medicine 26).

    Each component of variance is the usual difference of mean squares, or 0 where that is negative: two seeds may
    agree by luck, and plain differences would then cover 80 %. Degrees of freedom by Satterthwaite (1946). The few
    images on which two good models differ are skewed where one is better, and the interval is drawn out to their side
    by the transformation of Hall (1992). How often that errs, and what else was tried: tests/benchmarks/population.py.
    Why seeds alone are not enough: Bouthillier et al. (2021, arXiv 2103.03098), Jordan (2023, arXiv 2304.01910).
    """
    n_seeds, n_images, mean = squares.n_seeds, squares.n_images, squares.mean
    residual = squares.of_residuals
    seed = max(squares.of_seeds - residual, 0.0) / n_images
    image = max(squares.of_images - residual, 0.0) / n_seeds

    def error(seeds: float, images: float) -> float:
        return math.sqrt(seed / seeds + image / images + residual / (seeds * images))

    standard_error = error(n_seeds, n_images)
    interval, p_value = _interval_and_p(squares, standard_error)
    return PopulationDifference(
        n_seeds=n_seeds,
        n_images=n_images,
        mean=mean,
        ci95=interval,
        p_value=p_value,
        seed_sd=math.sqrt(seed),
        image_sd=math.sqrt(image),
        residual_sd=math.sqrt(residual),
        standard_error=standard_error,
        se_of_more_seeds=(error(2 * n_seeds, n_images), error(math.inf, n_images)),
        se_of_more_images=(error(n_seeds, 2 * n_images), error(n_seeds, math.inf)),
    )


def _interval_and_p(squares: MeanSquares, standard_error: float) -> tuple[Interval, float]:
    from scipy.special import stdtr, stdtrit  # scipy.stats takes a second to import

    mean = squares.mean
    if not standard_error:
        return (mean, mean), float(mean == 0)
    freedom = degrees_of_freedom(squares)
    skew = squares.skew / squares.n_images**2 / standard_error**3
    quantile = float(stdtrit(freedom, 1 - ALPHA / 2))
    low = mean - max(quantile, skewness.undo(quantile, skew)) * standard_error
    high = mean - min(-quantile, skewness.undo(-quantile, skew)) * standard_error
    t, towards = abs(mean) / standard_error, math.copysign(skew, skew * mean)
    return (low, high), min(1.0, 2 * float(stdtr(freedom, -min(t, skewness.transform(t, towards)))))


def degrees_of_freedom(squares: MeanSquares) -> float:
    """Of the variance of the mean, a sum of mean squares (Satterthwaite 1946, Biometrics Bulletin 2)."""
    seeds, images = squares.n_seeds - 1, squares.n_images - 1
    residual = squares.of_residuals
    of_seeds = max(squares.of_seeds, residual)
    if squares.of_images <= residual:
        return seeds
    total = of_seeds + squares.of_images - residual
    below = of_seeds**2 / seeds + squares.of_images**2 / images + residual**2 / (seeds * images)
    return total**2 / below
