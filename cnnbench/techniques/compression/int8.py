"""Weights and activations in eight bits: computed so by a processor's int8 instructions, through torch's compiler.

Quantisation speeds up inference; training computes in floats. Weights have a scale for each filter and are symmetric,
activations have one scale and a zero point for all of a map (Jacob et al., Quantization and Training of Neural Networks
for Efficient Integer-Arithmetic-Only Inference, 2018). Where to quantise torchao's quantizer for x86 says.
"""

import copy
from typing import Any

import torch
from torch import Tensor, fx, nn

from cnnbench.config.settings import Positive, PositiveInt
from cnnbench.errors import ConfigError, first_line
from cnnbench.extras import imported, silenced
from cnnbench.models.fold import fold
from cnnbench.models.graphs import GraphNet, nodes_of
from cnnbench.models.tracing import traced
from cnnbench.progress import waiting
from cnnbench.techniques.compression.compression import Compression, Examples, FineTuning

PT2E = "torchao.quantization.pt2e"
QUANTIZER = f"{PT2E}.quantizer.x86_inductor_quantizer"
MAX_POOL = torch.ops.aten.max_pool2d.default
CEIL_MODE = 5  # the place of this argument of MAX_POOL
ATEN = torch.ops.aten
IS_TRAINING = {ATEN.batch_norm.default: 5, ATEN.dropout.default: 2, ATEN.dropout_.default: 2}
"""By operation the place of the argument that says whether it is for training."""


class Quantize(Compression):
    """Quantises after training, by what the activations are on so many training images."""

    precision = "fp32"  # of what is not quantised
    is_compiled = True

    def __init__(self, calibration_images: int) -> None:
        self.examples_wanted = calibration_images

    def require(self, kind: str) -> None:
        imported(QUANTIZER, "compression=int8")

    def finish(self, model: nn.Module, examples: Examples) -> nn.Module:
        model = model.eval()
        fold(model)
        with torch.no_grad(), silenced():
            observed = prepared_for(exported(model, examples), is_qat=False)
            with waiting("calibrating", len(examples)) as wait:
                for images, _ in examples:
                    observed(images)
                    wait.advance()
            return converted(observed)


class QuantizeAware(Compression):
    """Quantises while training: the network learns with its weights and activations rounded."""

    precision = "fp32"
    is_compiled = True
    trains_a_graph = True

    def __init__(self, calibration_images: int, fine_tuning: FineTuning) -> None:
        self.examples_wanted, self.fine_tuning = calibration_images, fine_tuning

    def require(self, kind: str) -> None:
        imported(QUANTIZER, "compression=int8_qat")

    def for_training(self, model: nn.Module, examples: Examples) -> nn.Module:
        without_random_depth(model)
        with silenced():
            aware = QuantizationAware(prepared_for(exported(model.train(), examples), is_qat=True))
            aware.eval().watch(True)
            with torch.no_grad():
                for images, _ in examples:
                    aware(images)  # so that every range is known, and has its shape, before the first step
        return aware.train()

    def finish(self, model: nn.Module, examples: Examples) -> nn.Module:
        assert isinstance(model, QuantizationAware)
        with torch.no_grad(), silenced():
            return converted(copy.deepcopy(model).eval().graph)


class QuantizationAware(nn.Module):
    """A network with its roundings in it, which torch's export has turned into a graph.

    In such a graph an argument of dropout and batch norm says whether it is for training, which `train` and `eval` set:
    what torchao has for that searches the graph for patterns, 2 s each time.
    """

    def __init__(self, graph: fx.GraphModule) -> None:
        super().__init__()
        self.graph = graph

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.graph(images)
        return logits

    def train(self, mode: bool = True) -> "QuantizationAware":
        self.training = mode
        for node in self.graph.graph.nodes:
            if node.target in IS_TRAINING:
                node.update_arg(IS_TRAINING[node.target], mode)
        self.graph.recompile()
        self.watch(mode)
        return self

    def watch(self, on: bool) -> None:
        """Whether the ranges of the roundings follow what passes through: of images that are not trained on, no."""
        for module in self.graph.modules():
            switch = getattr(module, "enable_observer", None)
            if callable(switch):
                switch(on)


def int8(*, calibration_images: PositiveInt) -> Compression:
    """Quantises weights and activations to eight bits after training; ranges from so many training images."""
    return Quantize(calibration_images)


def int8_qat(*, calibration_images: PositiveInt, epochs: PositiveInt, lr_factor: Positive) -> Compression:
    """Trains on with weights and activations rounded to eight bits, gradients passing straight through, then quantises.

    The ranges start from those of so many training images.
    """
    return QuantizeAware(calibration_images, FineTuning(epochs, lr_factor))


def exported(model: nn.Module, examples: Examples) -> fx.GraphModule:
    """The network, in its mode of training or evaluation, as a graph of operations for batches of any size.

    Raises:
        ConfigError: torch cannot export it.
    """
    images = examples[0][0]
    images = images if len(images) > 1 else images.repeat(2, 1, 1, 1)  # of a batch of one, one would be a constant
    try:
        graph: Any = traced(model, images).module()
    except Exception as error:  # of any class: it follows what anybody may have written
        raise ConfigError(
            f"compression=int8: torch cannot export this network ({first_line(error)}); use compression=bf16"
        ) from error
    for node in list(graph.graph.nodes):
        if node.op == "call_module" and node.target == "_guards_fn":  # which would refuse images of another size
            graph.graph.erase_node(node)
    without_ceil_mode(graph.graph)
    graph.recompile()
    return graph


def without_random_depth(model: nn.Module) -> None:
    """Has every block of a network of torchvision's always run, in place: its drawing has no form for evaluation."""
    for module in model.modules():
        if type(module).__name__ == "StochasticDepth":
            module.p = 0.0  # type: ignore[assignment]


def without_ceil_mode(graph: fx.Graph) -> None:
    """Has every max pooling round down, in place, on a padded map where that makes a difference: the quantised one of
    torch's compiler takes no ceil_mode."""
    for node in list(graph.nodes):
        if node.target is not MAX_POOL or len(node.args) <= CEIL_MODE or not node.args[CEIL_MODE]:
            continue
        maps, kernel, stride, padding, dilation, _ = node.args
        missing = [
            -(size + 2 * p - d * (k - 1) - 1) % s
            for size, k, s, p, d in zip(maps.meta["val"].shape[-2:], kernel, stride, padding, dilation, strict=True)
        ]
        if any(missing):
            with graph.inserting_before(node):
                borders = ([0, missing[1], 0, missing[0]], "constant", -float("inf"))
                padded = graph.call_function(torch.ops.aten.pad.default, (maps, *borders))
            padded.meta["val"] = maps.meta["val"]
            maps = padded
        node.args = (maps, kernel, stride, padding, dilation, False)


def prepared_for(graph: fx.GraphModule, *, is_qat: bool) -> Any:
    """The graph with what watches its ranges, or rounds as they say, where int8 is to be."""
    quantize = imported(f"{PT2E}.quantize_pt2e", "compression=int8")
    x86 = imported(QUANTIZER, "compression=int8")
    quantizer = x86.X86InductorQuantizer()
    quantizer.set_global(x86.get_default_x86_inductor_quantization_config(is_qat=is_qat))
    return (quantize.prepare_qat_pt2e if is_qat else quantize.prepare_pt2e)(graph, quantizer)


def converted(observed: Any) -> GraphNet:
    """The quantised network, as a list of its operations.

    Raises:
        ConfigError: it has an operation that cannot be kept.
    """
    graph = imported(f"{PT2E}.quantize_pt2e", "compression=int8").convert_pt2e(observed)
    graph.graph.eliminate_dead_code()
    try:
        nodes = nodes_of(graph.graph)
    except ValueError as error:
        raise ConfigError(f"compression=int8: {error}; use compression=bf16") from None
    names = {node["of"] for node in nodes if node["op"] == "tensor"}
    return GraphNet(nodes, {name: attribute(graph, name).detach() for name in names})


def attribute(module: Any, name: str) -> Any:
    """What is at the end of a dotted name."""
    for part in name.split("."):
        module = getattr(module, part)
    return module
