"""An ONNX model in integers of 8 bits: weights per channel, activations by what calibrating images give."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torch import Tensor

from cnnbench.disk import disk_errors
from cnnbench.extras import imported, silenced
from cnnbench.trained.export.onnx import FLAG, IMAGES

WEIGHTED = ("Conv", "Gemm", "MatMul")
BATCH = 32


def to_int8(model: Any, images: Tensor) -> Any:
    """The onnx.ModelProto `model` in int8 between its first and its last layer with weights, those included.

    What scales the images stays float32, and so do the logits and what follows the last layer. `images` (N, C, H, W)
    uint8 say which range each activation needs. Activations are unsigned: onnxruntime computes a convolution of those
    three times as fast as one of signed ones (`inception`, Zen 4).
    """
    quantization = imported("onnxruntime.quantization", f"{FLAG} --int8")
    nodes = list(model.graph.node)
    weighted = [number for number, node in enumerate(nodes) if node.op_type in WEIGHTED]
    first, last = weighted[0], weighted[-1]
    room = disk_errors(Path(tempfile.gettempdir()), "set TMPDIR to a folder with room")
    with silenced(), room, tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "int8.onnx"
        quantization.quantize_static(
            model,
            str(file),
            _reader(quantization, images),
            per_channel=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            nodes_to_exclude=[node.name for node in (*nodes[:first], *nodes[last + 1 :])],
        )
        content = file.read_bytes()
    quantized = imported("onnx", FLAG).load_from_string(content)
    leave_whole(quantized.graph, nodes[last].name)
    return quantized


def _reader(quantization: Any, images: Tensor) -> Any:
    """What onnxruntime asks for one batch after the other, until there is none."""

    class Reader(quantization.CalibrationDataReader):
        def __init__(self) -> None:
            self._batches: Iterator[Tensor] = iter(images.split(BATCH))

        def get_next(self) -> dict[str, Any] | None:
            batch = next(self._batches, None)
            return None if batch is None else {IMAGES: batch.numpy()}

    return Reader()


def leave_whole(graph: Any, layer: str) -> None:
    """In place: what the node `layer` gives is no longer rounded to 8 bits, in which an image's best logits may tie."""
    (node,) = (node for node in graph.node if node.name == layer)
    given = node.output[0]
    quantize = next((each for each in graph.node if each.op_type == "QuantizeLinear" and each.input[0] == given), None)
    if quantize is None:
        return
    (dequantize,) = (each for each in graph.node if quantize.output[0] in each.input)
    for other in graph.node:
        for number, name in enumerate(other.input):
            if name == given:
                other.input[number] = dequantize.output[0]
    node.output[0] = dequantize.output[0]
    graph.node.remove(quantize)
    graph.node.remove(dequantize)
    used = {name for other in graph.node for name in other.input}
    for tensor in [tensor for tensor in graph.initializer if tensor.name not in used]:
        graph.initializer.remove(tensor)  # onnxruntime would warn of each
