"""Whether a part of a checkpoint is built as what it will replace; asked before any of it is used.

A hash says that a file is as it was written, not who wrote it or what is in it: a tensor of another shape makes a fused
kernel read beyond its memory, a stride of 0 claims terabytes, a position of -10^6 never ends. What is compared is
walked along the template, so that nothing in the checkpoint decides how long it takes.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cnnbench.errors import CheckpointError

LARGEST_COUNT = 2**53  # larger whole numbers have no exact float
LONGEST_TEXT = 1000


def unlike(path: Path, name: str, what: str) -> CheckpointError:
    """The error of an entry `name` that is not what this run would have saved."""
    return CheckpointError(f"{path}: {name} {what}; this run did not save it")


def refuse_unlike(value: Any, template: Any, name: str, path: Path) -> None:
    """Compares `value`, part by part, with a `template` of the same meaning.

    Mappings have the same keys and sequences the same length; tensors are dense and of the same shape and dtype.
    Numbers are finite (where the template's are), counts not negative, and what is None may become a number.

    Raises:
        CheckpointError: naming the first part that differs.
    """
    match template:
        case dict():
            _refuse_unlike_mapping(value, template, name, path)
        case list() | tuple():
            _refuse_unlike_sequence(value, template, name, path)
        case Tensor():
            _refuse_unlike_tensor(value, template, name, path)
        case bool() | str():
            if type(value) is not type(template) or (isinstance(value, str) and len(value) > LONGEST_TEXT):
                raise unlike(path, name, f"is not {'true or false' if isinstance(template, bool) else 'a short text'}")
        case int():
            if type(value) is not int or not min(template, 0) <= value <= LARGEST_COUNT:
                raise unlike(path, name, f"is not a whole number from {min(template, 0)} to 2^53")
        case float() | None:
            if not (value is None and template is None) and not is_finite_number(value):
                raise unlike(path, name, "is not a finite number")
        case _:
            raise TypeError(f"{name}: a {type(template).__name__} cannot be part of a checkpoint")


def is_finite_number(value: Any) -> bool:
    """Whether it is an int or a float, no bool, and neither infinite nor too large for a float."""
    return type(value) in (int, float) and abs(value) <= torch.finfo(torch.float64).max


def is_dense(value: Any) -> bool:
    """Whether it is a plain tensor in memory every element of which has a place of its own."""
    if type(value) is not Tensor or value.layout != torch.strided or value.device.type == "meta":
        return False
    return all(stride > 0 or size <= 1 for stride, size in zip(value.stride(), value.shape, strict=True))


def _refuse_unlike_mapping(value: Any, template: dict[Any, Any], name: str, path: Path) -> None:
    if not isinstance(value, dict):
        raise unlike(path, name, "is not a mapping")
    prefix = f"{name}." if name else ""
    for key in template:
        if key not in value:
            raise unlike(path, f"{prefix}{key}", "is missing")
        refuse_unlike(value[key], template[key], f"{prefix}{key}", path)
    if len(value) > len(template):
        extra = next(key for key in value if key not in template)
        shown = extra[:60] if isinstance(extra, str) else f"a {type(extra).__name__}"
        raise unlike(path, f"{prefix}{shown}", "is unknown here")


def _refuse_unlike_sequence(value: Any, template: "list[Any] | tuple[Any, ...]", name: str, path: Path) -> None:
    if not isinstance(value, list | tuple):
        raise unlike(path, name, "is not a list")
    if len(value) != len(template):
        raise unlike(path, name, f"has {len(value)} entries against {len(template)} here")
    for index, (theirs, ours) in enumerate(zip(value, template, strict=True)):
        refuse_unlike(theirs, ours, f"{name}[{index}]", path)


def _refuse_unlike_tensor(value: Any, template: Tensor, name: str, path: Path) -> None:
    if not is_dense(value):
        raise unlike(path, name, "is not a dense tensor")
    if (value.shape, value.dtype) != (template.shape, template.dtype):
        sides = f"{tuple(value.shape)} {value.dtype} against {tuple(template.shape)} {template.dtype}"
        raise unlike(path, name, f"is {sides} here")
    if not (template.is_meta or torch.isfinite(value).all()) and torch.isfinite(template).all():
        raise unlike(path, name, "is not finite")
