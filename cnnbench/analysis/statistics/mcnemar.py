"""McNemar's test of two classifiers on the same images."""


def mcnemar(only_first: int, only_second: int) -> float:
    """Exact two-sided p that two models, each right where the other errs on so many images, are equally accurate."""
    from scipy.special import bdtr

    smaller, n = min(only_first, only_second), only_first + only_second
    return min(1.0, 2 * float(bdtr(smaller, n, 0.5)))
