"""What a processor computes in which numbers, and how fast: found by trying it, for flags do not say how fast.

AVX512-BF16 doubles the speed on a Zen 4 and gains nothing on an Intel core without AMX, which has one unit for bf16 and
two for fp32; fp16 may multiply matrices quickly and fall back to reference code in the gradient of a convolution.
"""

import functools
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress

import torch
from torch import Tensor
from torch.nn import functional

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16, "int8": torch.int8}
SIDE, REPEATS = 256, 8
ENOUGH_SECONDS = 0.02  # of repeating what is slow anyway
EMULATED = 0.5
"""What reaches less than this share of the speed of fp32 is computed in other numbers."""
FASTER = 1.2
"""What reaches this many times the speed of fp32 is worth its casts."""


def computes_in(precision: str, kind: str) -> bool:
    """Whether a device of this kind (cpu, cuda, mps) trains in this precision itself rather than by an emulation."""
    if precision == "fp32":
        return True
    if kind == "cpu":
        return precision in ("bf16", "fp16") and core_rate(precision) > 0 and trains_in(precision)
    if kind == "cuda" and precision == "bf16":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if kind == "cuda" and precision == "tf32":
        return torch.cuda.get_device_capability() >= (8, 0)
    return precision == "fp16"


def is_faster(precision: str, kind: str) -> bool:
    """Whether it computes in this precision, and more in a second than in fp32."""
    if not computes_in(precision, kind):
        return False
    return kind != "cpu" or core_rate(precision) > FASTER * core_rate("fp32")


@functools.cache
def core_rate(numbers: str) -> float:
    """Operations (two for a multiply-add) that one core does in a second in fp32, bf16, fp16 or int8; 0 without any.

    The best of a few products of two matrices of 256x256: milliseconds, once per process. Being the best it hardly
    depends on who else uses the machine.
    """
    with one_thread(), suppress(RuntimeError):
        return 2 * SIDE**3 / best_seconds(matrix_product(numbers, SIDE, torch.device("cpu")))
    return 0.0


def core_gflops(numbers: Iterable[str] = ("fp32", "bf16", "fp16", "int8")) -> dict[str, float]:
    """`core_rate` of each in thousand millions."""
    return {name: round(core_rate(name) / 1e9, 1) for name in numbers}


def matrix_product(numbers: str, side: int, device: torch.device) -> Callable[[], object]:
    """The product of two square matrices of random numbers, to be called again and again."""
    if numbers == "int8":
        small = torch.randint(-128, 128, (2, side, side), dtype=torch.int8, device=device)
        sums = torch.empty(side, side, dtype=torch.int32, device=device)
        return functools.partial(torch._int_mm, *small, out=sums)  # torch has no public name for it
    left, right = torch.rand(2, side, side, device=device).to(DTYPES.get(numbers, torch.float32))
    return functools.partial(torch.mm, left, right, out=torch.empty_like(left))


@functools.cache
def trains_in(precision: str) -> bool:
    """Whether matrix products and a small convolution's training step take about as long as in fp32, or less."""
    if core_rate(precision) < EMULATED * core_rate("fp32"):
        return False
    with one_thread(), suppress(RuntimeError):
        return EMULATED * best_seconds(convolution_step(precision)) < best_seconds(convolution_step("fp32"))
    return False


def convolution_step(precision: str) -> Callable[[], object]:
    """Forward and backward of a 3x3 convolution of 32 maps of 8x8 pixels."""
    images = torch.rand(2, 32, 8, 8).to(memory_format=torch.channels_last).requires_grad_()
    weight = torch.rand(32, 32, 3, 3, requires_grad=True)

    def step() -> tuple[Tensor, ...]:
        with torch.autocast("cpu", DTYPES[precision], enabled=precision != "fp32"):
            maps = functional.conv2d(images, weight, padding=1)
        return torch.autograd.grad(maps.float().sum(), (images, weight))

    return step


def best_seconds(action: Callable[[], object]) -> float:
    """The shortest of a few calls after a first one; of what is slow it takes fewer."""
    action()
    started, times = time.perf_counter(), list[float]()
    while len(times) < REPEATS and (not times or time.perf_counter() - started < ENOUGH_SECONDS):
        began = time.perf_counter()
        action()
        times.append(time.perf_counter() - began)
    return min(times)


@contextmanager
def one_thread() -> Iterator[None]:
    """Threads wait for each other where another process is busy; one does not, and draws no random numbers of a run."""
    threads = torch.get_num_threads()
    with torch.random.fork_rng(devices=[]):
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(threads)
