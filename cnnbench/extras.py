"""Packages that come with an extra: imported when they are used, and named with their cure where they are missing."""

import importlib
import warnings
from typing import Any

from cnnbench.errors import UnavailableError

EXTRAS = {
    "torch_pruning": ("torch-pruning", "compress"),
    "torchao": ("torchao", "compress"),
    "safetensors": ("safetensors", "compress"),
    "onnx": ("onnx", "compress"),
    "onnxscript": ("onnxscript", "compress"),
    "onnxruntime": ("onnxruntime", "compress"),
}
"""By the name it is imported by: what pip calls a package, and the extra of ours that has it."""


def imported(module: str, what: str) -> Any:
    """The module, of a package in EXTRAS; `what` it is needed for, as the user wrote it, begins the error.

    Raises:
        UnavailableError: the package is not installed, or broken.
    """
    name, extra = EXTRAS[module.partition(".")[0]]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of their own making; nothing that the user could change
            return importlib.import_module(module)
    except ImportError as error:
        why = "is not installed" if isinstance(error, ModuleNotFoundError) else f"cannot be imported ({error})"
        raise UnavailableError(f"{what}: {name} {why}; pip install 'cnnbench[{extra}]'") from None
