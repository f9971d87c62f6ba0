"""The network of a compressed run: model.json says what it is built of, model.safetensors holds its numbers.

Neither can run code. Both are compared with the hashes in summary.json before anything in them is used.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnnbench.disk import read_regular, write_atomically
from cnnbench.errors import CheckpointError
from cnnbench.extras import imported
from cnnbench.runs.folder import RunFolder
from cnnbench.runs.format import MODEL, WEIGHTS, to_json

if TYPE_CHECKING:
    from torch import Tensor

FORMAT = 1


def write_model(run: RunFolder, description: Mapping[str, Any], tensors: "Mapping[str, Tensor] | None") -> None:
    """Writes model.json and, where there are `tensors` already, model.safetensors; their hashes go into the summary."""
    files = {MODEL: (to_json({"format": FORMAT, **description}) + "\n").encode()}
    if tensors is not None:
        files[WEIGHTS] = packed(tensors)
    for name, content in files.items():
        write_atomically(run.path / name, content)
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    run.update_summary(files=(run.summary["files"] or {}) | hashes)


def packed(tensors: "Mapping[str, Tensor]") -> bytes:
    """The bytes of model.safetensors with these tensors."""
    save = imported("safetensors.torch", "model.safetensors").save
    content: bytes = save({name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()})
    return content


def read_description(run: Path, summary: Mapping[str, Any]) -> dict[str, Any]:
    """What model.json says: the sizes of `layers` or a graph's `nodes`, and the facts of the `data`.

    Raises:
        CheckpointError: it is missing or not as it was written.
    """
    content = _whole(run, MODEL, summary)
    try:
        description = json.loads(content)
        if not isinstance(description, dict) or type(description.get("format")) is not int:
            raise ValueError("it is no description of a network")
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{run / MODEL}: cannot be read ({error}); compress the run's parent again") from None
    if description["format"] > FORMAT:
        raise CheckpointError(
            f"{run / MODEL}: has format {description['format']}, this cnnbench reads up to {FORMAT}; update cnnbench"
        )
    return description


def read_weights(run: Path, summary: Mapping[str, Any]) -> "dict[str, Tensor]":
    """What model.safetensors holds.

    Raises:
        CheckpointError: it is missing or not as it was written.
    """
    load = imported("safetensors.torch", str(run / WEIGHTS)).load
    content = _whole(run, WEIGHTS, summary)
    try:
        tensors: dict[str, Tensor] = load(content)
    except Exception as error:  # safetensors raises a class of its own
        raise CheckpointError(f"{run / WEIGHTS}: cannot be read ({error}); compress the run's parent again") from None
    return tensors


def _whole(run: Path, name: str, summary: Mapping[str, Any]) -> bytes:
    files = summary.get("files")
    expected = files.get(name) if isinstance(files, dict) else None
    if expected is None:
        raise CheckpointError(f"{run}: has no {name} yet; go on with `cnnbench resume {run}`")
    try:
        content = read_regular(run / name)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise CheckpointError(f"{run / name}: cannot be read ({why}); compress the run's parent again") from None
    if hashlib.sha256(content).hexdigest() != expected:
        raise CheckpointError(f"{run / name}: is damaged (its SHA-256 is not the one written)")
    return content
