"""Memory: kept by the process instead of given back between steps; and running out of it, said as what to change."""

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from cnnbench.errors import OutOfMemoryError

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # glibc's malloc.h
NEVER = 2**31 - 1


def keep_freed_memory() -> bool:
    """Has the C library reuse the memory of freed tensors; says whether it could (glibc on Linux).

    By default glibc returns large blocks to the system and fetches them anew at every step, page by page: up to 10,000
    page faults a step of `deep`, 3 to 16 % of its time. The price: what the process once had it keeps until it ends.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    return mallopt is not None and bool(mallopt(M_MMAP_MAX, 0)) and bool(mallopt(M_TRIM_THRESHOLD, NEVER))


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
