"""The network that leaves as a graph of torch's operators."""

import torch
from torch import nn

from cnnbench.data.images import ImageShape
from cnnbench.errors import UnavailableError, first_line
from cnnbench.models.tracing import traced


def graph_of(network: nn.Module, image_shape: ImageShape, what: str) -> torch.export.ExportedProgram:
    """The graph of `network` for any number of uint8 images; `what` was asked for begins the error.

    Raises:
        UnavailableError: torch cannot follow what the network computes.
    """
    try:
        return traced(network, torch.zeros(2, *image_shape, dtype=torch.uint8))
    except Exception as error:  # of any class: it follows what anybody may have written
        raise untranslatable(what, error) from error


def untranslatable(what: str, error: BaseException) -> UnavailableError:
    """The error that says why there is no such file of this network."""
    why = first_line(error)
    return UnavailableError(f"{what}: torch cannot translate this network ({why}); use --format safetensors")
