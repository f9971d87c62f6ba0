"""The bytes of a checkpoint as what they hold: plain values and tensors, and nothing larger than the file."""

import io
import pickletools
import zipfile
from typing import Any

import torch

from cnnbench.errors import first_line

BUILDERS = ("collections OrderedDict", "torch._utils _rebuild_tensor_v2", "torch._utils _rebuild_tensor_v3")


def pack(state: Any) -> bytes:
    """The bytes of `state`; `unpack` gives it back."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


def unpack(content: bytes) -> Any:
    """What `pack` was given, on the CPU.

    Raises:
        ValueError: it is something else, could run code or would take more memory than the file.
    """
    try:
        _refuse_bombs(content)
        return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # zipfile and torch raise many kinds; none may lead to unsafe loading
        raise ValueError(first_line(error)[:120]) from None


def _refuse_bombs(content: bytes) -> None:
    """torch's own list of what may be called has `bytearray`, which takes any number of bytes from a few."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = archive.infolist()
        packed = any(member.compress_type != zipfile.ZIP_STORED for member in members)
        if packed or sum(member.file_size for member in members) > len(content):
            raise ValueError("it unpacks to more than the file")
        pickles = [member for member in members if member.filename.endswith(".pkl")]
        for opcode, argument, _ in (op for member in pickles for op in pickletools.genops(archive.read(member))):
            if opcode.name in ("STACK_GLOBAL", "INST", "EXT1", "EXT2", "EXT4"):
                raise ValueError(f"it holds {opcode.name}")
            if opcode.name == "GLOBAL" and not _is_harmless(str(argument)):
                raise ValueError(f"it wants to call {argument}")


def _is_harmless(name: str) -> bool:
    module, _, attribute = name.partition(" ")
    is_type = attribute.endswith("Storage") or isinstance(getattr(torch, attribute, None), torch.dtype)
    return name in BUILDERS or (module == "torch" and is_type)
