"""Where and in which numbers a model is trained: device, precision, memory format, compilation, threads."""

import contextlib
import ctypes
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn

from cnnbench.arithmetic import computes_in, core_gflops, is_faster
from cnnbench.config.settings import Range
from cnnbench.errors import OutOfMemoryError, UnavailableError
from cnnbench.machine import cpu_name

Threads = Annotated[int, Range(at_least=1, at_most=1024)]  # of more the system may refuse to start some, or hang
Precision = Literal["fp32", "tf32", "bf16", "fp16"]
MemoryFormat = Literal["contiguous", "channels_last"]
Compile = bool | Literal["reduce-overhead"]  # torch's word for replaying kernels as a CUDA graph
Backward = Callable[[Tensor], None]
INSTRUCTION_SETS = ("avx2", "avx512_f", "avx512_bf16", "avx512_vnni", "amx_bf16", "amx_int8", "asimd", "sve")
TORCH_THREADS = torch.get_num_threads()  # before a run of this process has set another number


@dataclass
class Device:
    """A device and the policy to use it with. Owns the order backward, unscale, clip, step, update."""

    torch_device: torch.device
    precision: Precision
    memory_format: MemoryFormat
    compile: Compile
    threads: int

    def __post_init__(self) -> None:
        self._scaler = torch.amp.GradScaler(self.torch_device.type, enabled=self.precision == "fp16")

    def activate(self) -> None:
        """Makes this policy the process's: before the device is used, and again where policies take turns."""
        if self.torch_device.type == "cpu":
            keep_freed_memory()
        self.take_turn()
        torch.set_deterministic_debug_mode("warn")  # use_deterministic_algorithms would import the compiler: 1 s
        # a debugging aid that costs a write per tensor
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]

    def take_turn(self) -> None:
        """Makes what differs between policies the process's, in less than a microsecond."""
        torch.set_num_threads(self.threads)
        torch.backends.fp32_precision = "tf32" if self.precision == "tf32" else "ieee"  # type: ignore[attr-defined]

    @property
    def torch_memory_format(self) -> torch.memory_format:
        """The memory format as torch names it."""
        return torch.channels_last if self.memory_format == "channels_last" else torch.contiguous_format

    def place(self, model: nn.Module) -> nn.Module:
        """`model` itself, moved to the device in the memory format."""
        return model.to(self.torch_device).to(memory_format=self.torch_memory_format)

    def compiled(self, model: nn.Module) -> Callable[[Tensor], Tensor]:
        """What to call in place of `model` for a forward pass; its weights stay in `model`."""
        if not self.compile:
            return model
        return torch.compile(model, mode=None if self.compile is True else self.compile)

    def policy(self) -> dict[str, Any]:
        """The settings of `make_device`, as summary.json names them."""
        return {
            "precision": self.precision,
            "memory_format": self.memory_format,
            "compile": self.compile,
            "threads": self.threads,
        }

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """The context of a forward pass: lower precision where the policy asks for it."""
        if self.autocast_dtype is None:
            return contextlib.nullcontext()
        return torch.autocast(self.torch_device.type, self.autocast_dtype)

    @property
    def autocast_dtype(self) -> torch.dtype | None:
        """What the inputs and weights of convolution and linear layers are cast to; None: they stay float32."""
        return {"bf16": torch.bfloat16, "fp16": torch.float16}.get(self.precision)

    def backward_and_step(
        self, loss: Tensor, optimizer: torch.optim.Optimizer, on_gradients: Callable[[Backward], None]
    ) -> bool:
        """Backward, unscale, `on_gradients`, step, update; says whether the optimizer stepped.

        `on_gradients` sees gradients in true units; it is given a function that replaces them by those of
        another loss. A step is skipped only where fp16 gradients overflowed; the scale is then lowered, and the
        optimizer is not asked at all. `GradScaler.step` would ask a fused one, to skip by itself, and of a first
        step that is skipped torch's SGD keeps a momentum that nothing was ever written to.
        """
        self._backward(loss, optimizer)
        on_gradients(lambda other: self._replace_gradients(other, optimizer))
        scale = self._scaler.get_scale()
        self._scaler.update()
        is_finite = self._scaler.get_scale() >= scale
        if is_finite:
            optimizer.step()
        return is_finite

    def _backward(self, loss: Tensor, optimizer: torch.optim.Optimizer) -> None:
        optimizer.zero_grad(set_to_none=True)
        self._scaler.scale(loss).backward()
        self._scaler.unscale_(optimizer)

    def _replace_gradients(self, loss: Tensor, optimizer: torch.optim.Optimizer) -> None:
        self._scaler.update()  # closes the first pass: a scaler unscales only once between updates
        self._backward(loss, optimizer)

    def synchronize(self) -> None:
        """Waits until the device has done all it was given; needed before a clock is read."""
        if self.torch_device.type == "cuda":
            torch.cuda.synchronize(self.torch_device)
        elif self.torch_device.type == "mps":
            torch.mps.synchronize()

    def state_dict(self) -> dict[str, Any]:
        """The loss scale; empty without fp16."""
        return self._scaler.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes back what `state_dict` gave."""
        if state:
            self._scaler.load_state_dict(state)


def auto(
    *,
    precision: Precision | Literal["auto"],
    memory_format: MemoryFormat | Literal["auto"],
    compile: Compile | Literal["auto"],
    threads: Threads | Literal["auto"] | None,
) -> Device:
    """The GPU if there is one, else the CPU. What is `auto` follows a rule here, which a run then puts to the test."""
    kind = "cuda" if torch.cuda.is_available() else "mps" if torch.mps.is_available() else "cpu"
    if precision == "auto":
        precision = "bf16" if is_faster("bf16", kind) else "fp16" if kind == "cuda" else "fp32"
    if memory_format == "auto":
        memory_format = "contiguous" if kind == "mps" else "channels_last"
    compiled = False if compile == "auto" else compile
    return make_device(kind, precision, memory_format, compiled, None if threads == "auto" else threads)


def cpu(*, precision: Precision, memory_format: MemoryFormat, compile: Compile, threads: Threads | None) -> Device:
    """The processor, with `threads` threads (null: one per core)."""
    return make_device("cpu", precision, memory_format, compile, threads)


def cuda(*, precision: Precision, memory_format: MemoryFormat, compile: Compile, threads: Threads | None) -> Device:
    """An NVIDIA or AMD GPU."""
    if not torch.cuda.is_available():
        raise UnavailableError("device=cuda: this machine has no CUDA device that torch can use; use device=auto")
    return make_device("cuda", precision, memory_format, compile, threads)


def mps(*, precision: Precision, memory_format: MemoryFormat, compile: Compile, threads: Threads | None) -> Device:
    """The GPU of an Apple computer."""
    if not torch.mps.is_available():
        raise UnavailableError("device=mps: this machine has no Apple GPU that torch can use; use device=auto")
    return make_device("mps", precision, memory_format, compile, threads)


def describe_compute() -> dict[str, Any]:
    """torch, its threads, the processor's instruction sets and what a core computes, and the GPU."""
    capabilities = torch.cpu.get_capabilities()
    return {
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "instruction_sets": [name for name in INSTRUCTION_SETS if capabilities.get(name)],
        "core_gflops": core_gflops(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "mps": torch.mps.is_available(),
    }


def describe_processor(device: torch.device) -> str:
    """What two processors of one name differ in is in it too: `AMD EPYC, fast bf16`; of a GPU its name."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{cpu_name()}, {'fast' if is_faster('bf16', 'cpu') else 'no fast'} bf16"


def make_device(
    kind: str, precision: Precision, memory_format: MemoryFormat, compile: Compile = False, threads: int | None = None
) -> Device:
    """The device of this `kind` (cpu, cuda, mps) with a policy; `threads` null means torch's own number.

    Raises:
        UnavailableError: it has no such precision.
    """
    if precision == "tf32" and not computes_in("tf32", kind):
        raise UnavailableError(f"device.precision=tf32: this {kind} has no TF32; use fp32 or bf16")
    return Device(torch.device(kind), precision, memory_format, compile, threads or TORCH_THREADS)


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


class Policy(NamedTuple):
    """In which numbers and in which order of them a model computes."""

    precision: Precision
    memory_format: MemoryFormat


def candidate_policies(kind: str) -> list[Policy]:
    """Every precision in each memory format for a device of this kind (cpu, cuda, mps); only CUDA has tf32."""
    precisions = [precision for precision in get_args(Precision) if precision != "tf32" or kind == "cuda"]
    return [Policy(precision, format) for precision in precisions for format in get_args(MemoryFormat)]


DEVICES = {"auto": auto, "cpu": cpu, "cuda": cuda, "mps": mps}
