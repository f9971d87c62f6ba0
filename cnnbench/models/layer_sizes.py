"""What size each layer of a network has, and a network built anew with other sizes: what filters were removed from."""

from collections.abc import Mapping
from typing import Any

from torch import nn

Sizes = dict[str, dict[str, Any]]

SIZES: dict[type[nn.Module], tuple[str, ...]] = {
    nn.Conv2d: ("in_channels", "out_channels", "groups"),
    nn.Linear: ("in_features", "out_features"),
    nn.BatchNorm2d: ("num_features",),
    nn.GroupNorm: ("num_groups", "num_channels"),
    nn.LayerNorm: ("normalized_shape",),
    nn.PReLU: ("num_parameters",),
}
"""By a kind of layer the settings that its weights' shapes follow from, with those that never change."""


def layer_sizes(model: nn.Module) -> Sizes:
    """By the name of each layer in SIZES its settings there, and as `shape` that of each parameter outside of them."""
    found: Sizes = {}
    for name, layer in model.named_modules():
        kind = _kind_of(layer)
        if kind is not None:
            found[name] = {key: _plain(getattr(layer, key)) for key in SIZES[kind]}
            continue
        for own, parameter in layer.named_parameters(recurse=False):
            found[f"{name}.{own}".lstrip(".")] = {"shape": list(parameter.shape)}
    return found


def resize(model: nn.Module, sizes: Mapping[str, Any]) -> None:
    """Gives the layers of `model` these sizes, in place; of what changes size the numbers are lost.

    Raises:
        ValueError: naming the first layer of which they are none: filters are only ever removed.
    """
    own = layer_sizes(model)
    if set(own) != set(sizes):
        odd = sorted(set(own) ^ set(sizes))[0]
        raise ValueError(f"{odd} is a layer of one of them only")
    for name, size in own.items():
        wanted = sizes[name]
        if wanted == size:
            continue
        if (
            not isinstance(wanted, Mapping)
            or set(wanted) != set(size)
            or not all(map(_fits, wanted.values(), size.values()))
        ):
            raise ValueError(f"{name} cannot have the sizes {str(wanted)[:100]}")
        _resize(model, name, wanted)


def _kind_of(layer: nn.Module) -> type[nn.Module] | None:
    return next((kind for kind in SIZES if isinstance(layer, kind)), None)


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _fits(wanted: Any, own: Any) -> bool:
    """Whether it is a whole number from 1 to that of the layer as it was built, or a list of such."""
    if isinstance(own, list):
        return isinstance(wanted, list) and len(wanted) == len(own) and all(map(_fits, wanted, own))
    return type(wanted) is int and 1 <= wanted <= own


def _resize(model: nn.Module, name: str, size: Mapping[str, Any]) -> None:
    if "shape" in size:
        parent, _, own = name.rpartition(".")
        parameter = model.get_parameter(name)
        setattr(model.get_submodule(parent), own, nn.Parameter(parameter.new_zeros(size["shape"])))
        return
    layer = model.get_submodule(name)
    for key, value in size.items():
        setattr(layer, key, tuple(value) if isinstance(value, list) else value)
    for own, shape in _shapes(layer).items():
        tensor = getattr(layer, own)
        if isinstance(tensor, nn.Parameter):
            setattr(layer, own, nn.Parameter(tensor.new_zeros(shape), tensor.requires_grad))
        elif tensor is not None:
            setattr(layer, own, tensor.new_zeros(shape))


def _shapes(layer: Any) -> dict[str, tuple[int, ...]]:
    """The shapes of a layer's own parameters and buffers by its settings."""
    match layer:
        case nn.Conv2d():
            if layer.in_channels % layer.groups or layer.out_channels % layer.groups:
                raise ValueError(f"{layer.groups} groups do not divide its channels")
            weight = (layer.out_channels, layer.in_channels // layer.groups, *layer.kernel_size)
            return {"weight": weight, "bias": (layer.out_channels,)}
        case nn.Linear():
            return {"weight": (layer.out_features, layer.in_features), "bias": (layer.out_features,)}
        case nn.BatchNorm2d():
            of_channels = ("weight", "bias", "running_mean", "running_var")
            return dict.fromkeys(of_channels, (layer.num_features,))
        case nn.GroupNorm():
            return dict.fromkeys(("weight", "bias"), (layer.num_channels,))
        case nn.LayerNorm():
            return dict.fromkeys(("weight", "bias"), layer.normalized_shape)
        case nn.PReLU():
            return {"weight": (layer.num_parameters,)}
    raise TypeError(type(layer).__name__)
