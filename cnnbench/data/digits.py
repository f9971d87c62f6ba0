"""The 1,797 handwritten digits that come with scikit-learn: real images without a download.

Optical Recognition of Handwritten Digits, E. Alpaydin and C. Kaynak, UCI Machine Learning Repository, 1998,
https://doi.org/10.24432/C50P49 (CC BY 4.0): 8x8, sixteen levels of ink.
"""

import importlib.util
from pathlib import Path

import numpy as np
import torch

from cnnbench.data.images import ResidentImages
from cnnbench.data.source import Part, Source, checked_labels
from cnnbench.data.splits import TEST_SEED, stratified_order
from cnnbench.errors import DataError, UnavailableError
from cnnbench.seeds import generator

TEST_FRACTION = 0.2
FULL_INK = 16


def digits() -> Source:
    """Handwritten digits, 1x8x8, 1,438 + 359; the test part is the same for every seed."""
    path = _path()

    def read(part: Part) -> ResidentImages:
        images = read_digits(path)
        order = stratified_order(images.labels, generator(TEST_SEED, "digits"))
        test = round(TEST_FRACTION * len(order))
        return images.subset((order[-test:] if part == "test" else order[:-test]).sort().values)

    return Source("digits", str(path), (1, 8, 8), tuple("0123456789"), read)


def read_digits(path: Path) -> ResidentImages:
    """All images of the csv file: a row is 64 levels of ink in 0..16, then the digit. Ink 16 becomes 255."""
    try:
        rows = torch.from_numpy(np.loadtxt(path, delimiter=",")).round().to(torch.int64)
    except (OSError, EOFError, ValueError) as error:
        raise DataError(f"{path}: damaged ({error}); reinstall scikit-learn") from error
    ink = rows[:, :-1].reshape(-1, 1, 8, 8)
    images = (ink * 255 / FULL_INK).round().to(torch.uint8)
    return ResidentImages(images, checked_labels(rows[:, -1], 10, path))


def _path() -> Path:
    spec = importlib.util.find_spec("sklearn")  # its file is enough: importing scikit-learn takes 2 s
    if spec is None or spec.origin is None:
        raise UnavailableError("data=digits: comes with scikit-learn, which is missing; pip install scikit-learn")
    return Path(spec.origin).parent / "datasets" / "data" / "digits.csv.gz"
