"""Single layers rounded to eight bits, all others in float: what int8 would cost if they alone were computed so.

The sums are still added up in float, of the same whole numbers as a processor's int8 instructions would multiply.
"""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from cnnbench.techniques.compression.compression import Examples

KINDS = (nn.Conv2d, nn.Linear)
SMALLEST_SCALE = 2.0**-12  # as torchao's observers have it, of what is always zero
Ranges = Mapping[str, tuple[float, float]]
"""By the name of a layer the lowest and the highest value of its inputs, zero between them."""


@torch.no_grad()
def input_ranges(model: nn.Module, examples: Examples) -> Ranges:
    """Those of every convolution and linear layer on the examples."""
    found: dict[str, tuple[float, float]] = {}

    def see(name: str, _layer: nn.Module, inputs: tuple[Any, ...]) -> None:
        low, high = found.get(name, (0.0, 0.0))
        found[name] = min(low, float(inputs[0].min())), max(high, float(inputs[0].max()))

    with _seeing(model, see):
        for images, _ in examples:
            model(images)
    return found


@contextmanager
def _seeing(model: nn.Module, see: Any) -> Iterator[None]:
    layers = [(name, layer) for name, layer in model.named_modules() if isinstance(layer, KINDS)]
    handles = [layer.register_forward_pre_hook(partial(see, name)) for name, layer in layers]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def round_layers(model: nn.Module, names: Collection[str], ranges: Ranges) -> None:
    """Has the layers of these names compute, in place, with weights and inputs rounded to eight bits."""
    for name in names:
        layer: Any = model.get_submodule(name)
        layer.weight = nn.Parameter(rounded_weight(layer.weight.detach()), requires_grad=False)
        layer.register_forward_pre_hook(partial(_with_rounded_inputs, *quantization_of(*ranges[name])))


def rounded_weight(weight: Tensor) -> Tensor:
    """A weight (out, ...) as int8 would have it: symmetric, with a scale of max |w| / 127.5 for each filter."""
    scale = (weight.flatten(1).abs().amax(1) / 127.5).clamp(min=torch.finfo(torch.float32).eps)
    zero = torch.zeros_like(scale, dtype=torch.int32)
    return torch.fake_quantize_per_channel_affine(weight, scale, zero, 0, -128, 127)


def quantization_of(low: float, high: float) -> tuple[float, int]:
    """The scale and the zero point with which this range takes up 0 to 255."""
    scale = max((high - low) / 255, SMALLEST_SCALE)
    return scale, min(max(round(-low / scale), 0), 255)


def _with_rounded_inputs(scale: float, zero: int, _layer: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    return torch.fake_quantize_per_tensor_affine(inputs[0], scale, zero, 0, 255), *inputs[1:]
