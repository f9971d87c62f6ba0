"""What counts as the same config, group, model, data and weights, from content and never from spelling or place.

The one place that hashes.
"""

import ctypes
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.config.tables import GROUPS, OF_COMPRESSION

if TYPE_CHECKING:
    from torch import Tensor, nn

DIGEST_BYTES = 32
Digests = NDArray[np.uint8]
"""The SHA-256 of the pixels of each image, (N, 32)."""

ORDERED_GROUPS = (*(name for name, group in GROUPS.items() if group.is_ordered), *OF_COMPRESSION)
COMPUTES_NOTHING = ("checkpoint", "logging")
"""Parts of a config on which no result depends: when a run is saved, and to what it is logged."""
SEPARATES_NO_GROUPS = (
    "seed", "data.root", "data.train", "data.val", "data.test", "data.download", "data.resident", "data.pack",
    "data.workers", "loss.teacher",
)  # fmt: skip
"""Settings that are recorded, but do not tell one group of runs from another: which of the repetitions a run is, where
its images lie, and how they are read, where its teacher lies. What the images are is told by their content, what the
teacher is by its own group (`with_teacher`)."""


def config_hash(config: Mapping[str, Any]) -> str:
    """16 hex digits that two checked configs share exactly when they are equal, in the order too where it matters; but
    for COMPUTES_NOTHING."""
    ordered = {
        key: list(value.items()) if key in ORDERED_GROUPS and isinstance(value, Mapping) else value
        for key, value in config.items()
        if key not in COMPUTES_NOTHING
    }
    text = json.dumps(ordered, sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def group_hash(config: Mapping[str, Any]) -> str:
    """`config_hash` without what SEPARATES_NO_GROUPS: runs that repeat one another share it."""
    kept = {
        key: {k: v for k, v in value.items() if f"{key}.{k}" not in SEPARATES_NO_GROUPS}
        if isinstance(value, Mapping)
        else value
        for key, value in config.items()
        if key not in SEPARATES_NO_GROUPS
    }
    return config_hash(kept)


def data_fingerprint(
    digests: Digests, labels: Sequence[int], class_names: Sequence[str], image_shape: Sequence[int]
) -> str:
    """64 hex digits of a set of labelled images: equal for the same pixels under the same class names, in any order,
    wherever they come from and however they are read."""
    names = [hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest() for name in class_names]
    rows = sorted(digest.tobytes() + names[label] for digest, label in zip(digests, labels, strict=True))
    whole = hashlib.sha256(repr(tuple(image_shape)).encode())
    for row in rows:
        whole.update(row)
    return whole.hexdigest()


def content_hash(fingerprints: Mapping[str, str]) -> str:
    """16 hex digits of a data set, by the fingerprints of its parts."""
    return hashlib.sha256(json.dumps(fingerprints, sort_keys=True).encode()).hexdigest()[:16]


def order_fingerprint(digests: Digests) -> str:
    """64 hex digits of images in their order, on which the batches of a run and its saved answers depend."""
    return hashlib.sha256(np.ascontiguousarray(digests).tobytes()).hexdigest()


def architecture_hash(model: "nn.Module") -> str:
    """16 hex digits of a network: the classes and settings of its modules, and the names, shapes and types of its
    weights. What a `forward` computes from them is not seen."""
    lines = [f"{name} {type(module).__module__}.{type(module).__qualname__} {module.extra_repr()}"
             for name, module in model.named_modules()]  # fmt: skip
    lines += [f"{name} {tuple(tensor.shape)} {tensor.dtype}" for name, tensor in model.state_dict().items()]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def weights_sha256(state: Mapping[str, "Tensor"]) -> str:
    """SHA-256 over a state dict by sorted key: name, dtype, shape, raw bytes."""
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)} ".encode())
        digest.update(ctypes.string_at(tensor.data_ptr(), tensor.nbytes))  # NumPy does not know every dtype of torch
    return digest.hexdigest()
