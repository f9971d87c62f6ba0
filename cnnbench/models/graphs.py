"""A network as a list of its operations, and back: how one is kept that no class can build, such as an int8 one.

The list is plain text and comes from a folder that may be anybody's: an operation that does not stand in OPERATIONS is
refused, and none of these does more than compute.
"""

import copy
import math
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn

from cnnbench.errors import first_line

Nodes = list[dict[str, Any]]

ATEN = (
    "adaptive_avg_pool2d.default", "adaptive_max_pool2d.default", "add.Scalar", "add.Tensor", "add_.Tensor",
    "amax.default", "avg_pool2d.default", "batch_norm.default", "cat.default", "chunk.default", "clamp.default",
    "conv2d.default", "conv2d.padding", "contiguous.default", "div.Scalar", "div.Tensor", "dropout.default",
    "dropout_.default",
    "elu.default", "elu_.default", "flatten.using_ints", "flip.default", "gelu.default",
    "group_norm.default", "hardsigmoid.default", "hardsigmoid_.default", "hardswish.default", "hardswish_.default",
    "hardtanh.default", "hardtanh_.default", "layer_norm.default", "leaky_relu.default", "leaky_relu_.default",
    "linear.default", "max_pool2d.default", "mean.dim", "mul.Scalar", "mul.Tensor", "mul_.Tensor", "pad.default",
    "permute.default", "pow.Tensor_Scalar", "relu.default", "relu_.default", "relu6.default", "relu6_.default",
    "reshape.default", "rsub.Scalar", "select.int", "sigmoid.default", "sigmoid_.default", "sign.default",
    "silu.default", "silu_.default", "slice.Tensor", "split.Tensor", "squeeze.dim", "sub.Scalar", "sub.Tensor",
    "sum.dim_IntList", "sym_size.int", "tanh.default", "tanh_.default", "transpose.int", "unsqueeze.default",
    "view.default",
)  # fmt: skip
QUANTIZED = ("quantize_per_tensor.default", "dequantize_per_tensor.default", "dequantize_per_channel.default")
NAMES = (*(f"aten.{name}" for name in ATEN), *(f"quantized_decomposed.{name}" for name in QUANTIZED))
OF_PYTHON: dict[str, Callable[..., Any]] = {
    f"python.{function.__name__}": function for function in (operator.getitem, operator.mul, operator.floordiv)
}
DTYPES = {str(each).removeprefix("torch."): each for each in (torch.uint8, torch.int8, torch.int64, torch.float32)}
MOST_NODES = 100_000
MOST_VALUES = 2**28  # of a map, for a batch of two


def nodes_of(graph: fx.Graph) -> Nodes:
    """A graph of one input and one output as plain values: `name`, `op` and what it is of, `args` and `kwargs`.

    Raises:
        ValueError: naming an operation that cannot be kept.
    """
    names = {_operation(name): name for name in NAMES} | {function: name for name, function in OF_PYTHON.items()}
    found: Nodes = []
    for node in graph.nodes:
        match node.op:
            case "placeholder":
                found.append({"name": node.name, "op": "images"})
            case "get_attr":
                found.append({"name": node.name, "op": "tensor", "of": str(node.target)})
            case "output":
                (result,) = node.args
                logits = result[0] if isinstance(result, tuple | list) else result
                found.append({"name": "logits", "op": "output", "args": [_to_plain(logits)]})
            case "call_function" if node.target in names:
                called = {"args": _to_plain(list(node.args)), "kwargs": _to_plain(dict(node.kwargs))}
                found.append({"name": node.name, "op": "call", "of": names[node.target], **called})
            case _:
                raise ValueError(f"the operation {node.target} has no int8 form that can be kept")
    return found


class GraphNet(nn.Module):
    """A network from images (N, C, H, W) to logits that is a list of operations on its tensors.

    Args:
        nodes: as `nodes_of` gives them.
        tensors: by the names that the nodes use.

    Raises:
        ValueError: the nodes are no such list.
    """

    def __init__(self, nodes: Sequence[Any], tensors: Mapping[str, Tensor]) -> None:
        super().__init__()
        root = nn.Module()
        for name, tensor in tensors.items():
            root.register_buffer(_attribute(name), tensor)
        self.nodes = list(nodes)
        self.graph = fx.GraphModule(root, _graph(self.nodes, tensors))

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.graph(images)
        return logits

    def tensors(self) -> dict[str, Tensor]:
        """The tensors by the names that the nodes use."""
        names = {node["of"] for node in self.nodes if node["op"] == "tensor"}
        return {name: self.graph.get_buffer(_attribute(name)) for name in sorted(names)}


class _Sizes(fx.Interpreter):
    """Goes through a graph without memory, and refuses maps that would take too much."""

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        if isinstance(value, Tensor) and value.numel() > MOST_VALUES:
            raise ValueError(f"a map would have {value.numel():,} values")
        return value


def refuse_unfit(network: GraphNet, image_shape: Sequence[int], num_classes: int) -> None:
    """Looks, without computing anything, whether a network takes such images (C, H, W) and gives so many logits.

    Raises:
        ValueError: it does not, or would take more memory than any network that is kept.
    """
    try:
        sizes = _Sizes(copy.deepcopy(network.graph).to("meta"))
        logits = sizes.run(torch.empty(2, *image_shape, device="meta"))
    except (RuntimeError, TypeError, ValueError, IndexError) as error:
        raise ValueError(f"it does not take such images ({first_line(error)})") from None
    if not isinstance(logits, Tensor) or tuple(logits.shape) != (2, num_classes):
        raise ValueError(f"it gives no logit for each of {num_classes} classes")


def is_quantized(model: nn.Module) -> bool:
    """Whether it computes in int8."""
    return isinstance(model, GraphNet) and any(
        str(node.get("of", "")).startswith("quantized_decomposed.") for node in model.nodes
    )


def _attribute(name: str) -> str:
    """A name without dots, which would be modules within modules."""
    return "t_" + name.replace(".", "__")


def _operation(name: str) -> Any:
    space, operation, overload = name.split(".")
    if space == "quantized_decomposed":
        from torch.ao.quantization.fx import _decomposed  # noqa: F401, which registers them
    return getattr(getattr(getattr(torch.ops, space), operation), overload, None)


def _graph(nodes: Sequence[Any], tensors: Mapping[str, Tensor]) -> fx.Graph:
    graph, made = fx.Graph(), dict[str, fx.Node]()
    if not 2 <= len(nodes) <= MOST_NODES:
        raise ValueError("it is no list of operations")
    for node in nodes:
        match node:
            case {"name": "logits", "op": "output", "args": [result]}:
                graph.output(_from_plain(result, made))
                break
            case {"name": str(name), "op": "images"} if all(each.op != "placeholder" for each in made.values()):
                made[name] = graph.placeholder("images")
            case {"name": str(name), "op": "tensor", "of": str(of)} if of in tensors:
                made[name] = graph.get_attr(_attribute(of))
            case {"name": str(name), "op": "call", "of": str(of), "args": list(args), "kwargs": dict(kwargs)}:
                if of not in NAMES and of not in OF_PYTHON:
                    raise ValueError(f"it wants to call {of[:100]!r}")
                function = OF_PYTHON.get(of) or _operation(of)
                called = tuple(_from_plain(arg, made) for arg in args)
                named = {str(key): _from_plain(value, made) for key, value in kwargs.items()}
                made[name] = graph.call_function(function, called, named)
            case _:
                raise ValueError(f"{str(node)[:100]} is no operation")
    if node.get("op") != "output" or node is not nodes[-1]:
        raise ValueError("it does not end in logits")
    return graph


def _to_plain(value: Any) -> Any:
    match value:
        case fx.Node():
            return {"node": value.name}
        case list() | tuple():
            return [_to_plain(item) for item in value]
        case dict():
            return {key: _to_plain(item) for key, item in value.items()}
        case torch.dtype():
            return {"dtype": str(value).removeprefix("torch.")}
        case slice():
            return {"slice": [_to_plain(part) for part in (value.start, value.stop, value.step)]}
        case float() if math.isinf(value):
            return {"float": str(value)}
        case None | bool() | int() | float() | str():
            return value
    raise ValueError(f"a {type(value).__name__} cannot be kept")


def _from_plain(value: Any, made: Mapping[str, fx.Node]) -> Any:
    match value:
        case {"node": str(name)} if name in made:
            return made[name]
        case {"dtype": str(name)} if name in DTYPES:
            return DTYPES[name]
        case {"slice": [start, stop, step]}:
            return slice(*(_from_plain(part, made) for part in (start, stop, step)))
        case {"float": "inf" | "-inf"}:
            return float(value["float"])
        case list():
            return [_from_plain(item, made) for item in value]
        case None | bool() | int() | float() | str():
            return value
    raise ValueError(f"{str(value)[:100]} is no argument")
