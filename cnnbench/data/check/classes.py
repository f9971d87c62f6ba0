"""How many images each class has in each part, and what size the images are."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from cnnbench.data.check.findings import Finding, Place
from cnnbench.data.check.scan import Facts
from cnnbench.data.source import Part

FEW = {"train": 20, "val": 1, "test": 5}
LOPSIDED = 10
STEP, SMALLEST, LARGEST = 32, 32, 224


def count_classes(
    places: Sequence[Place], class_names: Sequence[str], parts: Sequence[Part]
) -> dict[Part, dict[str, int]]:
    """Images by part and class."""
    counts = Counter((place.part, place.label) for place in places)
    return {part: {name: counts[part, name] for name in class_names} for part in parts}


def of_classes(counts: Mapping[Part, Mapping[str, int]], folders: Mapping[Part, str]) -> Iterator[Finding]:
    """Classes with few images in a part, and parts in which one class has many times the images of another."""
    for part, by_class in counts.items():
        for name, count in by_class.items():
            if count < FEW[part] and (count or part != "train"):  # an empty folder of training has its own finding
                images = f"{count} image{'' if count == 1 else 's'}"
                yield Finding("few images", folders[part], part, name, detail=f"{images} of {name} in {part}")
        there = sorted(filter(by_class.__getitem__, by_class), key=by_class.__getitem__)
        if not there:
            continue
        smallest, largest = there[0], there[-1]
        if by_class[largest] >= LOPSIDED * by_class[smallest]:
            detail = f"{by_class[largest]:,} of {largest}, {by_class[smallest]:,} of {smallest}"
            yield Finding("imbalance", folders[part], part, detail=detail)


def describe_sizes(facts: Sequence[Facts]) -> dict[str, Any]:
    """The sizes of the images that can be read: how many there are, the least, middle and largest of each side, and
    `image_size`, a setting that suits them; null where all are of one size."""
    sizes = np.array([(each.height, each.width) for each in facts if each.problem is None])
    if not len(sizes):
        return {"distinct": 0, "height": None, "width": None, "image_size": None}
    sides = [[int(side.min()), int(np.median(side)), int(side.max())] for side in sizes.T]
    distinct = len(np.unique(sizes, axis=0))
    side = int(min(max(round(float(np.median(sizes.min(axis=1))) / STEP) * STEP, SMALLEST), LARGEST))
    return {
        "distinct": distinct,
        "height": sides[0],
        "width": sides[1],
        "image_size": [side, side] if distinct > 1 else None,
    }
