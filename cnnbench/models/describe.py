"""What a model is before it has seen an image: sizes, cost and receptive field, from one black image."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry
from torch.utils.weak import WeakTensorKeyDictionary

from cnnbench.errors import ConfigError

CURE = "use larger images, or a model made for small ones"
# What sees the whole map at once ends the receptive field instead of widening it.
GLOBAL_POOLING = {"adaptive_avg_pool2d", "adaptive_max_pool2d", "mean", "flatten"}

Shape = tuple[int, ...]
Pair = tuple[int, int]


@dataclass(frozen=True)
class Layer:
    """One call of a layer. `output_shape` leaves the batch out; `macs` are those of one image, forward."""

    name: str
    kind: str
    output_shape: Shape
    parameters: int
    macs: int


@dataclass(frozen=True)
class Description:
    """A model in numbers.

    `macs`: multiply-accumulates of convolutions and matrix products, one image, forward (half the FLOPs).
    `receptive_field`: height and width in pixels of what one position of the last feature map sees; global
    pooling and the layers after it are left out, and so is the border of the image.
    `output_shape`: of what it gives for one image.
    """

    parameters: int
    macs: int
    receptive_field: Pair
    layers: tuple[Layer, ...]
    output_shape: Shape


@dataclass(frozen=True)
class Window:
    """What a convolution or a pooling layer looks at, as (height, width)."""

    kernel: Pair
    stride: Pair
    padding: Pair
    dilation: Pair = (1, 1)
    ceil_mode: bool = False

    def exceeds(self, axis: int, size: int) -> bool:
        """Whether not even one output fits on a padded map of `size`; ceil_mode lets a window hang over."""
        overhang = self.dilation[axis] * (self.kernel[axis] - 1) + 1 - size - 2 * self.padding[axis]
        return overhang >= self.stride[axis] if self.ceil_mode else overhang > 0


@dataclass(frozen=True)
class Span:
    """Along one axis, the position i of a map sees the pixels from first + i * jump to last + i * jump."""

    first: int = 0
    last: int = 0
    jump: int = 1

    def through(self, window: Window, axis: int) -> "Span":
        reach = window.dilation[axis] * (window.kernel[axis] - 1)
        return Span(
            self.first - window.padding[axis] * self.jump,
            self.last + (reach - window.padding[axis]) * self.jump,
            self.jump * window.stride[axis],
        )

    def union(self, other: "Span") -> "Span":
        return Span(min(self.first, other.first), max(self.last, other.last), max(self.jump, other.jump))


View = tuple[Span, Span]


def walk(model: nn.Module, image_shape: tuple[int, int, int]) -> Description:
    """The description of `model` for images (C, H, W), without data.

    One forward pass in eval mode on the model's device, which may be meta; weights, buffers, training flags and
    random state stay as they are.

    Raises:
        ConfigError: a kernel or pooling window is larger than its padded map.
    """
    trace = _trace(model, image_shape)
    height, width = (span.last - span.first + 1 for span in trace.view)
    return Description(
        parameters=sum(p.numel() for p in model.parameters()),
        macs=trace.macs.get("", 0),
        receptive_field=(height, width),
        layers=tuple(
            Layer(name, type(m).__name__, shape, _own_parameters(m), trace.macs.get(name, 0))
            for name, m, shape in trace.calls
        ),
        output_shape=trace.output_shape,
    )


def output_shape(module: nn.Module, image_shape: tuple[int, int, int], *, name: str, cure: str = CURE) -> Shape:
    """The shape, batch left out, that `module` makes of images (C, H, W); errors call it `name`.

    Raises:
        ConfigError: a kernel or pooling window is larger than its padded map; `cure` ends the message.
    """
    return _trace(module, image_shape, name, cure).output_shape


@dataclass
class _Trace:
    """What one forward pass leaves behind; `macs` and `calls` go by the layer's name, "" is the whole model."""

    image_shape: tuple[int, int, int]
    cure: str
    names: list[str] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)
    calls: list[tuple[str, nn.Module, Shape]] = field(default_factory=list)
    macs: dict[str, int] = field(default_factory=dict)
    view: View = (Span(), Span())
    output_shape: Shape = ()

    def enter(self, name: str) -> Callable[..., None]:
        def hook(module: nn.Module, _inputs: Any) -> None:
            self.names.append(name)
            self.kinds.append(type(module).__name__)

        return hook

    def leave(self, module: nn.Module, _inputs: Any, output: Any) -> None:
        name = self.names.pop()
        self.kinds.pop()
        is_layer = not any(module.children()) or _own_parameters(module) > 0
        if is_layer and isinstance(output, Tensor):
            self.calls.append((name, module, tuple(output.shape[1:])))

    def check(self, function: str, window: Window, map_shape: Shape) -> None:
        if not any(window.exceeds(axis, size) for axis, size in enumerate(map_shape)):
            return
        word = "kernel" if function == "conv2d" else "window"
        height, width = window.kernel
        extent = f"{height}" if height == width else f"{height}x{width}"
        raise ConfigError(
            f"model: {self.names[-1]} {self.kinds[-1]} {word} {extent} is larger than its {_by(map_shape)} map "
            f"for {_by(self.image_shape)} images; {self.cure}"
        )


class _Products(TorchDispatchMode):
    """Counts the multiply-adds of convolutions and matrix products, by torch's formulas, in all layers they are in."""

    def __init__(self, trace: _Trace) -> None:
        super().__init__()
        self.trace = trace

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """False: the wrapper that torch would put around the method below imports its compiler, which takes 1 s."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        count_flops = flop_registry.get(func._overloadpacket)
        if count_flops is not None:
            macs = count_flops(*args, **(kwargs or {}), out_val=output) // 2
            for name in set(self.trace.names):
                self.trace.macs[name] = self.trace.macs.get(name, 0) + macs
        return output


class _Views(TorchFunctionMode):
    """Carries the view of each feature map through every function called: windows widen it, joins unite it."""

    def __init__(self, trace: _Trace, images: Tensor) -> None:
        super().__init__()
        self.trace = trace
        self.views = WeakTensorKeyDictionary({images: trace.view})

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        inputs = [self.views[t] for t in _tensors((args, kwargs)) if t in self.views]
        if name in WINDOWS:
            window = WINDOWS[name](*args, **kwargs)
            self.trace.check(name, window, tuple(args[0].shape[-2:]))
            inputs = [(v[0].through(window, 0), v[1].through(window, 1)) for v in inputs]
        output = func(*args, **kwargs)
        if not inputs or name in GLOBAL_POOLING:
            return output
        view = inputs[0]
        for other in inputs[1:]:
            view = (view[0].union(other[0]), view[1].union(other[1]))
        for tensor in _tensors(output):
            self.views[tensor] = view
            if tensor.ndim == 4:
                self.trace.view = view
        return output


def _trace(model: nn.Module, image_shape: tuple[int, int, int], name: str = "", cure: str = CURE) -> _Trace:
    trace = _Trace(image_shape, cure)
    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    images = torch.zeros(1, *image_shape, device=device)
    buffers = {key: buffer.clone() for key, buffer in model.named_buffers()}
    forked = torch.random.fork_rng([device] if device.type == "cuda" else [])  # a network of the user's may draw
    with _hooked(model, trace, name), torch.no_grad(), forked, _Products(trace), _Views(trace, images):
        trace.output_shape = tuple(functional_call(model, buffers, (images,)).shape[1:])
    return trace


@contextmanager
def _hooked(model: nn.Module, trace: _Trace, name: str) -> Iterator[None]:
    """Every module of `model` in eval mode (batch norm takes a single image) and reporting to `trace`."""
    training = [(module, module.training) for module in model.modules()]
    handles = []
    for path, module in model.named_modules(prefix=name):
        handles += [module.register_forward_pre_hook(trace.enter(path)), module.register_forward_hook(trace.leave)]
    model.eval()
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
        for module, was_training in training:
            module.training = was_training


def _conv_window(
    _images: Tensor, weight: Tensor, _bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1, *_: Any
) -> Window:
    kernel, dilation = _pair(weight.shape[-2:]), _pair(dilation)
    if padding == "same":  # an odd total puts the extra row or column behind
        padding = (dilation[0] * (kernel[0] - 1) // 2, dilation[1] * (kernel[1] - 1) // 2)
    return Window(kernel, _pair(stride), _pair(0 if padding == "valid" else padding), dilation)


def _max_window(
    _images: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Window:
    return Window(_pair(kernel_size), _pair(stride or kernel_size), _pair(padding), _pair(dilation), ceil_mode)


def _average_window(
    _images: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False, *_: Any
) -> Window:
    return Window(_pair(kernel_size), _pair(stride or kernel_size), _pair(padding), ceil_mode=ceil_mode)


WINDOWS: dict[str, Callable[..., Window]] = {
    "conv2d": _conv_window,
    "max_pool2d": _max_window,
    "avg_pool2d": _average_window,
}


def _pair(value: Any) -> Pair:
    values = (value,) if isinstance(value, int) else tuple(value)
    return int(values[0]), int(values[-1])


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def _own_parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters(recurse=False))


def _by(shape: Shape) -> str:
    return "x".join(map(str, shape))
