"""Sweeps whose jobs meet faults, as `faults/sitecustomize.py` brings them about."""

import json
import os
from pathlib import Path

FAULTS = str(Path(__file__).parent / "faults")


def broken(**faults):
    """The variables with which jobs of these seeds meet these faults: `s1="kill"`."""
    path = os.pathsep.join([FAULTS, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))])
    return {"PYTHONPATH": path, "FAULTS": json.dumps({seed[1:]: fault for seed, fault in faults.items()})}
