"""The parts all networks are built of: convolution units, residual and separable blocks, heads, initial weights."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from cnnbench.errors import ConfigError
from cnnbench.models.describe import CURE, output_shape
from cnnbench.models.dropout import Dropout

ImageShape = tuple[int, int, int]
Activation = Literal["relu", "leaky_relu", "elu", "gelu", "silu", "sigmoid", "tanh"]
Norm = Literal["batch", "group", "layer", "none"]
Pool = Literal["max", "avg", "sum", "stride", "none"]
Head = Literal["fc", "gap"]
Stem = Literal["small", "large"]

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,  # piecewise linear; a unit whose input stays negative gets no gradient and is dead
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
}
CHANNELS_PER_GROUP = 16  # Wu & He, Group Normalization, 2018, table 3


class SumPool2d(nn.AvgPool2d):
    """The sum over each window (L1 pooling of non-negative maps)."""

    def __init__(self, kernel_size: int, stride: int, ceil_mode: bool = False) -> None:
        super().__init__(kernel_size, stride, ceil_mode=ceil_mode, divisor_override=1)


POOLS: dict[str, type[nn.Module]] = {"max": nn.MaxPool2d, "avg": nn.AvgPool2d, "sum": SumPool2d}


def activation_layer(name: Activation) -> nn.Module:
    """A new activation; never in place, so that hooks see what a convolution gave."""
    return ACTIVATIONS[name]()


def norm_layer(name: Norm, channels: int) -> nn.Module:
    """A normalisation of maps (N, channels, H, W), each with a scale gamma and a shift beta per channel.

    batch: over the batch and positions; at eval with running statistics; eps keeps it from dividing by zero
    (Ioffe & Szegedy, 2015). group: over groups of 16 channels, all in one where 16 does not divide them.
    layer: over all channels and positions of an image (Ba et al., 2016), that is group norm with one group.
    """
    match name:
        case "batch":
            return nn.BatchNorm2d(channels)
        case "group":
            return nn.GroupNorm(1 if channels % CHANNELS_PER_GROUP else channels // CHANNELS_PER_GROUP, channels)
        case "layer":
            return nn.GroupNorm(1, channels)
    return nn.Identity()


@dataclass(frozen=True)
class Style:
    """What the convolutions of one net have in common."""

    norm: Norm
    activation: Activation
    kernel_size: int = 3
    padding: int | Literal["same"] = "same"
    separable: bool = False

    def __post_init__(self) -> None:
        if self.padding == "same" and self.kernel_size % 2 == 0:
            raise ConfigError(
                f"model.kernel_size={self.kernel_size}: padding=same needs an odd kernel; use 3, 5 or 7, "
                f"or give model.padding in pixels"
            )


def conv_unit(
    in_channels: int,
    out_channels: int,
    style: Style,
    *,
    kernel_size: int | None = None,
    stride: int = 1,
    groups: int = 1,
    activate: bool = True,
) -> nn.Sequential:
    """Convolution, normalisation, activation, as children `conv`, `norm` and `activation` where present.

    Conv2d is a cross-correlation: the kernel is not flipped. Before a norm it has no bias, for the norm's mean
    would subtract it again. `kernel_size`, where given, replaces the style's, with padding that keeps the size.
    """
    size = kernel_size or style.kernel_size
    padding = size // 2 if kernel_size or style.padding == "same" else int(style.padding)
    has_norm = style.norm != "none"
    unit = nn.Sequential()
    unit.conv = nn.Conv2d(in_channels, out_channels, size, stride, padding, groups=groups, bias=not has_norm)
    if has_norm:
        unit.norm = norm_layer(style.norm, out_channels)
    if activate:
        unit.activation = activation_layer(style.activation)
    return unit


def separable_unit(
    in_channels: int, out_channels: int, style: Style, *, stride: int = 1, activate: bool = True
) -> nn.Sequential:
    """A depthwise convolution (one kernel per channel), then a pointwise one (1x1), each with norm and activation.

    Costs 1/out_channels + 1/kernel_size² of the full convolution (Howard et al., MobileNets, 2017, section 3.1).
    """
    return nn.Sequential(
        OrderedDict(
            depthwise=conv_unit(in_channels, in_channels, style, stride=stride, groups=in_channels),
            pointwise=conv_unit(in_channels, out_channels, style, kernel_size=1, activate=activate),
        )
    )


class Residual(nn.Module):
    """activation(shortcut(x) + branch(x)) (He et al., Deep Residual Learning, 2016, equations 1 and 2).

    While training, the branch of each image is left out with probability `drop_probability` and else scaled by
    1/(1 - drop_probability), so that eval needs no change (Huang et al., Stochastic Depth, 2016, section 3).
    """

    drop_probability: float = 0.0

    def __init__(self, branch: nn.Module, shortcut: nn.Module, activation: nn.Module) -> None:
        super().__init__()
        self.branch = branch
        self.shortcut = shortcut
        self.activation = activation

    def forward(self, images: Tensor) -> Tensor:
        return self.activation(self.shortcut(images) + self.drop(self.branch(images)))

    def drop(self, branch: Tensor) -> Tensor:
        """`branch` with whole images set to zero at random."""
        if not self.training or self.drop_probability == 0:
            return branch
        keep = 1 - self.drop_probability
        return branch * branch.new_empty(branch.shape[0], 1, 1, 1).bernoulli_(keep).div_(keep)


def with_shortcut(
    branch: nn.Sequential, in_channels: int, out_channels: int, stride: int, style: Style, *, residual: bool
) -> nn.Module:
    """`branch` (which ends without activation) as a residual block, or with `residual` false without the skip.

    The skip is the identity, or a 1x1 projection where width or resolution change (He et al., option B).
    The last gamma of the branch starts at 1 as in the paper; starting it at 0 pays for batches of thousands
    (Goyal et al., 2017, section 5.1), not for the sizes used here.
    """
    if not residual:
        return nn.Sequential(OrderedDict(branch=branch, activation=activation_layer(style.activation)))
    shortcut: nn.Module = nn.Identity()
    if stride != 1 or in_channels != out_channels:
        shortcut = conv_unit(in_channels, out_channels, style, kernel_size=1, stride=stride, activate=False)
    return Residual(branch, shortcut, activation_layer(style.activation))


class ConvNet(nn.Module):
    """Images (N, C, H, W) to logits (N, K): `stages` makes the feature maps, `head` classifies them.

    There is no softmax: the loss applies it while training, and only a prediction needs it after.
    """

    def __init__(self, stages: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.stages = stages
        self.head = head

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.stages(images))


def classifier(
    stages: nn.Module,
    image_shape: ImageShape,
    num_classes: int,
    *,
    head: Head,
    hidden: Sequence[int],
    dropout: float,
    activation: Activation,
    cure: str = CURE,
) -> ConvNet:
    """`stages` with a head on top and He's initial weights.

    fc: flatten, the hidden layers, logits. gap: the average of each channel, logits (Lin et al., Network in Network,
    2014). The size of the flattened map is inferred from `image_shape`. Dropout acts on what the logits are computed
    from, never on the logits; it scales by 1/(1 - p) and is the identity at eval.

    Raises:
        ConfigError: a kernel or pooling window is larger than its map.
    """
    channels, height, width = output_shape(stages, image_shape, name="stages", cure=cure)
    layers = nn.Sequential()
    if head == "gap":
        layers.pool = nn.AdaptiveAvgPool2d(1)
    layers.flatten = nn.Flatten()
    features = channels if head == "gap" else channels * height * width
    for number, units in enumerate(hidden if head == "fc" else (), start=1):
        layers.add_module(f"hidden{number}", nn.Linear(features, units))
        layers.add_module(f"activation{number}", activation_layer(activation))
        if dropout:
            layers.add_module(f"dropout{number}", Dropout(dropout))
        features = units
    if dropout and head == "gap":
        layers.dropout = Dropout(dropout)
    layers.logits = nn.Linear(features, num_classes)
    net = ConvNet(stages, layers)
    initialize(net, activation)
    return net


def initialize(model: nn.Module, activation: Activation) -> None:
    """Draws the weights of all convolution and linear layers but the last from N(0, gain²/fan_in), in place.

    So the activations keep their scale whatever the depth, where PyTorch's own start shrinks the signal by about
    √6 per ReLU layer (He et al., Delving Deep into Rectifiers, 2015, equation 10). fan_in, because PyTorch's fan_out
    ignores groups. Biases start at 0. The last layer keeps PyTorch's smaller weights: a first loss little above ln K.
    """
    gain = activation if activation in ("leaky_relu", "sigmoid", "tanh") else "relu"  # the others are near ReLU
    layers = [m for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    for layer in layers[:-1]:
        nn.init.kaiming_normal_(layer.weight, a=0.01, nonlinearity=gain)  # a: the slope of leaky_relu
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


def scaled(widths: Sequence[int], multiplier: float) -> list[int]:
    """`widths` times `multiplier`, rounded, at least 1 each."""
    return [max(1, round(width * multiplier)) for width in widths]
