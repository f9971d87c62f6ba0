"""The smallest run that has everything, and how tests read what it leaves."""

import json
import re

import numpy as np
from PIL import Image

from cnnbench.runs.format import summary_sha256

TINY = [
    "device=cpu",
    "device.threads=1",
    "data=synthetic",
    "data.image_shape=[1,8,8]",
    "data.num_classes=3",
    "data.train_images=120",
    "data.test_images=30",
    "model.widths=[4]",
    "model.hidden=8",
    "batch_size=16",
    "epochs=3",
]
"""A run of a fraction of a second: 108 training images, 6 batches an epoch."""

FOLDER = {"train": None, "val": None, "test": None, "grey_range": [0, 65535]}
"""The settings of an image folder that only tests of them change."""


def summary(path):
    return json.loads((path / "summary.json").read_text())


def set_summary(path, **values):
    """Changes summary.json, and its own hash with it."""
    document = summary(path) | values
    document["files"]["summary.json"] = summary_sha256(document)
    (path / "summary.json").write_text(json.dumps(document))


def metrics(path):
    """The lines of metrics.jsonl without what the clock decides."""
    lines = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k not in ("seconds", "images_per_second")} for line in lines]


def write_image(path, shape=(8, 8), dtype=np.uint8, seed=0):
    """Writes random pixels as PNG or JPEG: (H, W) grey, (H, W, 3) RGB, (H, W, 4) RGBA; uint16 grey has 16 bits."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, shape, dtype)
    Image.fromarray(pixels).save(path)
    return path


def without_waits(text):
    """What a process said on stderr, less the lines that a busy machine adds: what is being waited for."""
    return re.sub(r"^\.\.\. .*\n", "", text, flags=re.MULTILINE)
