"""The network that leaves: images as they lie in files in, logits and probabilities out."""

import copy

import torch
from torch import Tensor, nn

from cnnbench.device import Device, make_device
from cnnbench.inference import prepared
from cnnbench.models.graphs import is_quantized
from cnnbench.trained.load import TrainedModel


class Deployed(nn.Module):
    """uint8 images (N, C, H, W) to logits and probabilities, both float32 (N, K): scaling, network, softmax."""

    scale: Tensor
    shift: Tensor

    def __init__(self, network: nn.Module, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("scale", (1 / (255 * std)).view(1, -1, 1, 1))
        self.register_buffer("shift", (-mean / std).view(1, -1, 1, 1))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.network(images.to(torch.float32) * self.scale + self.shift)
        return logits, logits.softmax(1)


def plain_device(trained: TrainedModel) -> Device:
    """Where exported answers are compared: the processor, in float32, with the run's threads."""
    return make_device("cpu", "fp32", "contiguous", threads=trained.device.threads)


def as_trained(trained: TrainedModel) -> Deployed:
    """The run's network as it stands, in float32 on the processor: what an export has to agree with."""
    network = copy.deepcopy(trained.model).to(torch.float32)
    return Deployed(plain_device(trained).place(network), trained.normalize.mean, trained.normalize.std)


def as_exported(trained: TrainedModel) -> Deployed:
    """The same with batch norms folded, where that changes nothing but rounding."""
    whole = as_trained(trained)
    if not is_quantized(trained.model):
        whole.network = prepared(whole.network, plain_device(trained), trained.image_shape)
    return whole
