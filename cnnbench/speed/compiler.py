"""Networks through torch's compiler, as they are served: weights as constants, one program for each size of a batch."""

import os
import shutil
import sys
from collections.abc import Callable

import torch
from torch import Tensor, nn

from cnnbench.errors import UnavailableError, first_line
from cnnbench.extras import imported, silenced
from cnnbench.models.graphs import is_quantized
from cnnbench.techniques.compression.int8 import QUANTIZER

COMPILERS = ("g++", "clang++")
MOST = 200  # networks side by side; torch allows one code 256 programs


def require_compiler(what: str) -> None:
    """Looks for the C++ compiler that torch's compiler calls; `what` needs it.

    Raises:
        UnavailableError: there is none.
    """
    named = os.environ.get("CXX")
    if not any(map(shutil.which, [named] if named else COMPILERS)):
        raise UnavailableError(f"{what}: needs a C++ compiler, and finds no {named or 'g++'}; apt-get install g++")


def forget_compiled() -> None:
    """Drops all that was compiled so far: called again it would be compiled again, and not as it was."""
    if "torch._dynamo" in sys.modules:  # whose import takes a second
        torch._dynamo.reset()


def compiled(model: nn.Module, images: Tensor) -> Callable[[Tensor], Tensor]:
    """The compiled forward pass of a network in eval mode, for batches of the size of `images` (N, C, H, W).

    Raises:
        UnavailableError: it cannot be compiled, or torchao is missing, which a network in int8 needs.
    """
    from torch._inductor import config

    if is_quantized(model):
        imported(QUANTIZER, "int8")  # teaches the compiler to compute in integers, which is three times as fast
    limit = torch._dynamo.config.patch(recompile_limit=MOST)  # several networks of one class are so many of one code
    forward = torch.compile(model, dynamic=False)
    try:
        with limit, config.patch(freezing=True), torch.no_grad(), silenced():
            forward(images)
    except Exception as error:  # of any class: the compiler's own
        raise UnavailableError(f"torch's compiler: cannot compile this network ({first_line(error)})") from error
    return forward
