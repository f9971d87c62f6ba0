"""What a run's summary says of the images it was made on: whether two runs can repeat one another."""

from collections.abc import Mapping
from typing import Any

PARTS = ("train", "val", "test")
WHOLE = "whole"


def images_of(summary: Mapping[str, Any]) -> tuple[str | None, ...]:
    """The fingerprints of the training, validation and test images, as far as the run knows them."""
    return tuple(fingerprint_of(summary, part) for part in PARTS)


def fingerprint_of(summary: Mapping[str, Any], part: str) -> str | None:
    """That of one of PARTS, or of WHOLE: training and validation together, which every split leaves as it is."""
    known = summary.get("data_fingerprints")
    found = known.get(part) if isinstance(known, Mapping) else None
    return found if isinstance(found, str) else None


def splits_by_seed(config: Mapping[str, Any] | None) -> bool:
    """Whether each run of a config has the split that its own seed draws."""
    node = config.get("data") if config else None
    return isinstance(node, Mapping) and node.get("split_seed", 0) is None


def shared_images(summary: Mapping[str, Any], *, by_seed: bool) -> dict[str, Any]:
    """What the run notes that is the same in every run that repeats it, by what it is of; what is not known is left
    out: a run that diverged has read no test images. `by_seed`: the split is the same for runs of the same seed only.
    """
    train, val, test = images_of(summary)
    parts = f"parts of seed {summary.get('seed')}" if by_seed else "parts"
    noted = {parts: (train, val), "test": test, WHOLE: fingerprint_of(summary, WHOLE) if by_seed else None}
    return {name: images for name, images in noted.items() if images is not None}
