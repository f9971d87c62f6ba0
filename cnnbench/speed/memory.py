"""How much memory an action takes."""

from collections.abc import Callable

import torch

from cnnbench.results import memory_bytes, peak_memory_bytes, reset_peak_memory


def memory_of(action: Callable[[], object], device: torch.device) -> int | None:
    """The most bytes that `action` takes beyond what is held before it; None where the system does not tell.

    On CUDA those of torch's tensors; elsewhere, on Linux, those of the process.
    """
    if not reset_peak_memory(device):
        return None
    before = memory_bytes(device)
    action()
    return max(peak_memory_bytes(device) - before, 0)
