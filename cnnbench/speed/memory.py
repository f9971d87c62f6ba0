"""How much memory an action takes."""

import ctypes
from collections.abc import Callable
from pathlib import Path

import torch


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
