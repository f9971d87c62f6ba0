"""How often a verdict may be wrong, and what follows from it for few pairs."""

ALPHA = 0.05
POWER = 0.8
TIE = 1e-9  # relative: 0.92 - 0.91 and 0.93 - 0.92 are the same difference, 1e-14 apart
FEWEST_PAIRS = 6  # 2 / 2**6 is the first floor of the sign-flip test below ALPHA
FEW_PAIRS = 7  # up to here a skew of the differences cannot be seen in them, and intervals are those of 97 %
FEW_ALPHA = 0.03


def interval_alpha(n: int) -> float:
    """The share that an interval from n differences leaves out, at the most, for it to cover 95 % of skewed ones too.

    t and Hall intervals of 95 % cover 91 to 93 % of exponential differences with up to seven pairs, those of 97 %
    cover 94 to 95 % (tests/benchmarks/error_rates.py).
    """
    return FEW_ALPHA if n <= FEW_PAIRS else ALPHA
