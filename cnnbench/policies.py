"""The policies a device can be asked for; which of them work, and which are fast, only trying them tells."""

from typing import NamedTuple, get_args

from cnnbench.device import MemoryFormat, Precision


class Policy(NamedTuple):
    """In which numbers and in which order of them a model computes."""

    precision: Precision
    memory_format: MemoryFormat


def candidate_policies(kind: str) -> list[Policy]:
    """Every precision in each memory format for a device of this kind (cpu, cuda, mps); only CUDA has tf32."""
    precisions = [precision for precision in get_args(Precision) if precision != "tf32" or kind == "cuda"]
    return [Policy(precision, format) for precision in precisions for format in get_args(MemoryFormat)]
