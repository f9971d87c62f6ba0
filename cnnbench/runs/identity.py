"""What counts as the same: the one place that hashes and compares."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any


def config_hash(config: Mapping[str, Any]) -> str:
    """16 hex digits that two configs share exactly when they are equal."""
    canonical = json.dumps(config, sort_keys=True, allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def group_hash(config: Mapping[str, Any]) -> str:
    """`config_hash` of everything but the seed: runs that repeat one another share it."""
    return config_hash({key: value for key, value in config.items() if key != "seed"})
