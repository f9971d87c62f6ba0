"""Packages that come with an extra: imported when they are used, and named with their cure where they are missing."""

import importlib
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
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


@contextmanager
def silenced() -> Iterator[None]:
    """Shows no warning and writes no log of libraries meanwhile: of their own making, nothing the user could change."""
    level = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)


def imported(module: str, what: str) -> Any:
    """The module, of a package in EXTRAS; `what` it is needed for, as the user wrote it, begins the error.

    Raises:
        UnavailableError: the package is not installed, or broken.
    """
    name, extra = EXTRAS[module.partition(".")[0]]
    try:
        with silenced():
            return importlib.import_module(module)
    except ImportError as error:
        why = "is not installed" if isinstance(error, ModuleNotFoundError) else f"cannot be imported ({error})"
        raise UnavailableError(f"{what}: {name} {why}; pip install 'cnnbench[{extra}]'") from None
