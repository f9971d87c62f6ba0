"""torch.export: a graph that torch computes with, without cnnbench or the code of the network."""

import io
import json
from collections.abc import Mapping

import torch
from torch import nn

from cnnbench.data.images import ImageShape
from cnnbench.extras import silenced
from cnnbench.trained.export.check import Answer
from cnnbench.trained.export.tracing import graph_of

FACTS = "facts.json"


def to_torch_export(network: nn.Module, image_shape: ImageShape, facts: Mapping[str, str]) -> bytes:
    """The content of the file, with the facts as its extra file FACTS.

    Raises:
        UnavailableError: torch cannot follow what the network computes.
    """
    program, buffer = graph_of(network, image_shape, "export --format torch_export"), io.BytesIO()
    with silenced():
        torch.export.save(program, buffer, extra_files={FACTS: json.dumps(dict(facts))})
    return buffer.getvalue()


def open_torch_export(content: bytes, threads: int) -> Answer:
    """What the graph in the content of a file answers."""
    with silenced():
        module: Answer = torch.export.load(io.BytesIO(content)).module()
    return module
