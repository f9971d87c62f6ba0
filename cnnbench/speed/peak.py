"""The most arithmetic a machine does in a second: the roof that a model's speed is a share of."""

from collections.abc import Callable, Iterable, Mapping

import torch

from cnnbench.device import TORCH_THREADS, Device, Precision, make_device
from cnnbench.errors import CnnbenchError
from cnnbench.speed.stopwatch import seconds_of, take_turns

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}
ROUNDS = 20
SMALL, SIZES = 256, {"cpu": 1024}
GPU_SIZE = 4096
EMULATED = 0.5
"""A precision whose products reach less than this share of the FLOP/s of fp32 is computed in others."""


def measure_peaks(kind: str, precisions: Iterable[Precision]) -> dict[Precision, float]:
    """The FLOP/s of a product of two large square matrices in each precision: the best of many, taken in turn.

    Where a small product already shows that a precision is emulated, that one counts: large ones would take
    seconds. A precision that does not work has no entry. On one thread as well as on all: those would wait for each
    other wherever another process is busy.
    """
    tried: list[Precision] = ["fp32", *(precision for precision in precisions if precision != "fp32")]
    small = {precision: rate for precision in tried if (rate := _small_rate(kind, precision)) is not None}
    fast = [precision for precision in small if not is_emulated(precision, small)]
    size = SIZES.get(kind, GPU_SIZE)
    products = {
        f"{precision} {threads}": _product(make_device(kind, precision, "contiguous", threads=threads), size)
        for precision in fast
        for threads in (1, TORCH_THREADS)
    }
    times = take_turns(products, ROUNDS)
    best = {
        precision: min(min(times[f"{precision} {threads}"]) for threads in (1, TORCH_THREADS)) for precision in fast
    }
    return small | {precision: 2 * size**3 / seconds for precision, seconds in best.items()}


def is_emulated(precision: Precision, peaks: Mapping[Precision, float]) -> bool:
    """Whether products in `precision` are far slower than in fp32, which is in `peaks` too."""
    return precision in peaks and peaks[precision] < EMULATED * peaks["fp32"]


def _small_rate(kind: str, precision: Precision) -> float | None:
    try:
        product = _product(make_device(kind, precision, "contiguous", threads=1), SMALL)
        product()
        return 2 * SMALL**3 / min(seconds_of(product) for _ in range(ROUNDS))
    except (CnnbenchError, RuntimeError):  # whoever trains in it reports what is missing
        return None


def _product(device: Device, size: int) -> Callable[[], None]:
    dtype = DTYPES.get(device.precision, torch.float32)
    left, right = torch.rand(2, size, size).to(device.torch_device, dtype)
    result = torch.empty_like(left)

    def multiply() -> None:
        device.activate()
        torch.mm(left, right, out=result)
        device.synchronize()

    return multiply
