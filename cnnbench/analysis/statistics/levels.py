"""How often a verdict may be wrong, and what follows from it for few pairs."""

ALPHA = 0.05
POWER = 0.8
TIE = 1e-9  # relative: 0.92 - 0.91 and 0.93 - 0.92 are the same difference, 1e-14 apart
FEWEST_PAIRS = 6  # 2 / 2**6 is the first floor of the sign-flip test below ALPHA
FEW_PAIRS, SOME_PAIRS = 7, 9  # up to which a skew of the differences can hardly be seen in them


def interval_alpha(n: int, alpha: float = ALPHA) -> float:
    """What an interval from n differences may leave out for it to leave out no more than `alpha` of skewed ones either.

    At 0.05 intervals of exponential differences cover 91 to 93 % with up to seven pairs and 93 % with eight; at 0.03
    and 0.04 they cover 94 (tests/benchmarks/error_rates.py).
    """
    return alpha * (0.6 if n <= FEW_PAIRS else 0.8 if n <= SOME_PAIRS else 1.0)
