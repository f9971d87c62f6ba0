"""Running out of memory, said as what to change."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from cnnbench.errors import OutOfMemoryError


@contextmanager
def out_of_memory_named(batch_size: int) -> Iterator[None]:
    """Turns torch's out-of-memory errors, of a GPU or the CPU, into one that names a smaller batch."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        smaller = max(batch_size // 2, 1)
        raise OutOfMemoryError(f"batch_size: out of memory at {batch_size}; try {smaller}") from error


def is_out_of_memory(error: BaseException) -> bool:
    """Whether torch or Python could not get the memory they asked for."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "DefaultCPUAllocator" in str(error)
