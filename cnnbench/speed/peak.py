"""The most arithmetic a machine does in a second: the roof that a model's speed is a share of."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress

from cnnbench.arithmetic import EMULATED, SIDE, best_seconds, matrix_product, one_thread
from cnnbench.device import TORCH_THREADS, Precision, make_device
from cnnbench.errors import CnnbenchError
from cnnbench.speed.stopwatch import take_turns

SIZES, GPU_SIZE = {"cpu": 1024}, 4096
ROUNDS = 20

Peaks = dict[str, float]  # operations per second by kind of numbers


def measure_peaks(kind: str, numbers: Iterable[str]) -> Peaks:
    """The operations in a second, two for a multiply-add, of a product of two large square matrices of each kind of
    numbers (fp32, tf32, bf16, fp16, int8): the best of many, taken in turn.

    Where a small product already shows that a kind is emulated, that one counts: large ones would take seconds. What
    does not work has no entry. On one thread as well as on all: those would wait for each other wherever another
    process is busy.
    """
    tried = dict.fromkeys(("fp32", *numbers))
    small = {name: rate for name in tried if (rate := _small_rate(kind, name)) is not None}
    size = SIZES.get(kind, GPU_SIZE)
    products = {
        f"{name} {threads}": _product(kind, name, size, threads)
        for name in small
        if not is_emulated(name, small)
        for threads in sorted({1, TORCH_THREADS})
    }
    best: Peaks = {}
    for name, seconds in take_turns(products, ROUNDS).items():
        kept = name.partition(" ")[0]
        best[kept] = max(best.get(kept, 0.0), 2 * size**3 / min(seconds))
    return small | best


def is_emulated(numbers: str, peaks: Mapping[str, float]) -> bool:
    """Whether products in such numbers are far slower than in fp32, which is in `peaks` too."""
    return numbers in peaks and peaks[numbers] < EMULATED * peaks["fp32"]


def _small_rate(kind: str, numbers: str) -> float | None:
    with suppress(CnnbenchError, RuntimeError), one_thread():  # whoever trains in it reports what is missing
        return 2 * SIDE**3 / best_seconds(_product(kind, numbers, SIDE, 1))
    return None


def _product(kind: str, numbers: str, size: int, threads: int) -> Callable[[], None]:
    precision: Precision = (
        "tf32" if numbers == "tf32" else "fp32"
    )  # of torch's setting: the other kinds are those of the matrices
    device = make_device(kind, precision, "contiguous", threads=threads)
    product = matrix_product(numbers, size, device.torch_device)

    def multiply() -> None:
        device.activate()
        product()
        device.synchronize()

    return multiply
