"""Several images as one, for tools that show one at a time."""

import numpy as np
from numpy.typing import NDArray

COLUMNS, GAP, SMALLEST = 8, 2, 64


def contact_sheet(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Images (N, H, W, C), uint8, in rows on white: (rows, columns, 3). Small ones are enlarged by a whole factor.

    Those of neither 1 nor 3 channels show the first one.
    """
    if images.shape[3] != 3:
        images = np.repeat(images[..., :1], 3, axis=3)
    factor = -(-SMALLEST // max(images.shape[1:3]))
    images = images.repeat(factor, axis=1).repeat(factor, axis=2)
    count, height, width, _ = images.shape
    columns = min(COLUMNS, count)
    rows = -(-count // columns)
    sheet = np.full((rows * (height + GAP) + GAP, columns * (width + GAP) + GAP, 3), 255, np.uint8)
    for number, image in enumerate(images):
        row, column = divmod(number, columns)
        top, left = GAP + row * (height + GAP), GAP + column * (width + GAP)
        sheet[top : top + height, left : left + width] = image
    return sheet
