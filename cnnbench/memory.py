"""Memory: kept by the process between steps, how much an action takes, and running out of it said as what to change."""

import ctypes
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

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


def memory_of(action: Callable[[], object], device: torch.device) -> int | None:
    """The most bytes that `action` takes beyond what is held before it; None where the system does not tell.

    On CUDA those of torch's tensors; elsewhere, on Linux, those of the process.
    """
    if device.type == "cuda":
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        action()
        return torch.cuda.max_memory_allocated(device) - before
    try:
        ctypes.CDLL(None).malloc_trim(0)  # what the process has freed but kept would hide what the action takes
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    except (AttributeError, OSError):
        return None
    before = _status_bytes("VmRSS")
    action()
    return max(_status_bytes("VmHWM") - before, 0)


def _status_bytes(key: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{key}:"))
