"""safetensors: the weights alone, for who has the network, with what they need of the run to use them."""

import json
from collections.abc import Mapping

import torch
from torch import Tensor

from cnnbench.errors import DataError
from cnnbench.extras import imported
from cnnbench.trained.load import TrainedModel

FLAG = "export --format safetensors"


def to_safetensors(trained: TrainedModel, facts: Mapping[str, str]) -> bytes:
    """The content of the file: the weights as they are, and the facts with mean, std and config of the model."""
    normalize = trained.normalize
    numbers = {"mean": normalize.mean.tolist(), "std": normalize.std.tolist(), "model": trained.config.model}
    metadata = dict(facts) | {key: json.dumps(value) for key, value in numbers.items()}
    content: bytes = imported("safetensors.torch", FLAG).save(weights(trained), metadata)
    return content


def weights(trained: TrainedModel) -> dict[str, Tensor]:
    """A copy of the run's weights by name, on the processor, each with memory of its own."""
    return {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in trained.model.state_dict().items()
    }


def refuse_other_weights(content: bytes, trained: TrainedModel) -> int:
    """The number of tensors in the content of a file, each of which is the run's, bit for bit.

    Raises:
        DataError: naming those that are not.
    """
    ours, theirs = weights(trained), imported("safetensors.torch", FLAG).load(content)
    changed = [name for name in ours.keys() | theirs.keys() if not _are_same(ours.get(name), theirs.get(name))]
    if changed:
        raise DataError(f"export: {len(changed)} tensors are not the run's ({min(changed)}, ...); nothing was written")
    return len(ours)


def _are_same(first: Tensor | None, second: Tensor | None) -> bool:
    if first is None or second is None or first.dtype != second.dtype:
        return False
    return torch.equal(first, second)
