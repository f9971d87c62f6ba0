"""A network as a graph of torch's operations, and libraries kept from talking about it."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from cnnbench.extras import silenced


def traced(network: nn.Module, images: Tensor) -> torch.export.ExportedProgram:
    """The graph of `network` for batches of any size of such `images` (N, C, H, W), N at least 2.

    Raises:
        Exception: of any class; torch cannot follow what the network computes.
    """
    with silenced(), _flags_that_agree():
        return torch.export.export(network, (images,), dynamic_shapes=({0: torch.export.Dim("batch")},))


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
