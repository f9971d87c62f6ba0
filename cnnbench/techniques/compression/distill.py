"""A network of another kind, trained to say what the one that is compressed says."""

from cnnbench.config.settings import Fraction, Positive, ProperFraction
from cnnbench.techniques.compression.compression import Compression


def distill(*, temperature: Positive, weight: Fraction, label_smoothing: ProperFraction) -> Compression:
    """Nothing is done to the network itself: `loss=distillation` with these settings trains another one."""
    return Compression()
