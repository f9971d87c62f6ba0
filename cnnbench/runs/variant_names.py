"""The names that an ablation gave to its configs, as ablation.json beside its runs has them."""

import json
from pathlib import Path

from cnnbench.disk import read_regular

PLAN = "ablation.json"
BASELINE, ALL = "baseline", "all"
REFERENCES = (BASELINE, ALL)
"""The variants of an ablation with which the others are compared."""


def variant_names(folder: Path) -> dict[str, str]:
    """By `group_hash`, the name of each variant of the ablation in this folder; empty where there is none to be read.

    The file may come from elsewhere: what is not text is left out.
    """
    try:
        variants = json.loads(read_regular(folder / PLAN))["variants"]
        return {
            variant["group_hash"]: name
            for name, variant in variants.items()
            if isinstance(variant.get("group_hash"), str) and name
        }
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return {}
