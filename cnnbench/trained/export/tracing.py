"""A network as a graph of torch's operators, and libraries kept from talking about it."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from cnnbench.data.images import ImageShape
from cnnbench.errors import UnavailableError


def traced(network: nn.Module, image_shape: ImageShape, what: str) -> torch.export.ExportedProgram:
    """The graph of `network` for any number of uint8 images; `what` was asked for begins the error.

    Raises:
        UnavailableError: torch cannot follow what the network computes.
    """
    images = torch.zeros(2, *image_shape, dtype=torch.uint8)
    sizes = ({0: torch.export.Dim("batch")},)
    with quietly(), _flags_that_agree():
        try:
            return torch.export.export(network, (images,), dynamic_shapes=sizes)
        except (RuntimeError, ValueError, TypeError) as error:
            raise untranslatable(what, error) from error


def untranslatable(what: str, error: Exception) -> UnavailableError:
    """The error that says why there is no such file of this network."""
    why = next(iter(str(error).splitlines()), type(error).__name__)
    return UnavailableError(f"{what}: torch cannot translate this network ({why}); use --format safetensors")


@contextmanager
def quietly() -> Iterator[None]:
    """Shows no warning and writes no log of the libraries meanwhile: what matters here is checked or raised."""
    level = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)


@contextmanager
def _flags_that_agree() -> Iterator[None]:
    """Leaves the precision of float32 to torch meanwhile: once it was set, torch 2.14 finds its older flags to differ
    when a trace asks for them, and ends. A trace computes nothing."""
    precision = torch.backends.fp32_precision  # type: ignore[attr-defined]
    torch.backends.fp32_precision = "none"  # type: ignore[attr-defined]
    try:
        yield
    finally:
        torch.backends.fp32_precision = precision  # type: ignore[attr-defined]
