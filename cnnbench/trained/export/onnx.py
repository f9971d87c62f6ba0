"""ONNX: a file that onnxruntime and others compute with, without torch."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from cnnbench.data.images import ImageShape
from cnnbench.extras import imported, silenced
from cnnbench.trained.export.check import Answer
from cnnbench.trained.export.tracing import graph_of, untranslatable

FLAG = "export --format onnx"
IMAGES, OUTPUTS = "images", ("logits", "probabilities")


def to_onnx(network: nn.Module, image_shape: ImageShape) -> Any:
    """An onnx.ModelProto of `network` for any number of images, without what it says of the source code.

    Raises:
        UnavailableError: torch cannot translate the network.
    """
    program = graph_of(network, image_shape, FLAG)
    with silenced():
        try:
            translated = torch.onnx.export(
                program, dynamo=True, input_names=[IMAGES], output_names=OUTPUTS, external_data=False, verbose=False
            )
        except torch.onnx.OnnxExporterError as error:
            raise untranslatable(FLAG, error.__cause__ or error) from error
    assert translated is not None  # a name of a file would have it written
    return _cleaned(translated.model_proto)


def _cleaned(model: Any) -> Any:
    """`model` without the shapes between its layers, which readers infer, and paths of this machine; changed."""
    graph = model.graph
    for node in graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    del graph.value_info[:]
    for value in (*graph.input, *graph.output):
        del value.metadata_props[:]
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    return model


def packed(model: Any, facts: Mapping[str, str]) -> bytes:
    """The content of the file, with the facts as its metadata."""
    imported("onnx.helper", FLAG).set_model_props(model, dict(facts))
    return model.SerializeToString()


def open_onnx(content: bytes, threads: int) -> Answer:
    """What onnxruntime answers with the content of a file, on the processor."""
    runtime = imported("onnxruntime", FLAG)
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4  # fatal; it would write to stderr
    session = runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])

    def answer(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        logits, probabilities = session.run(OUTPUTS, {IMAGES: images.numpy()})
        return torch.from_numpy(logits), torch.from_numpy(probabilities)

    return answer
