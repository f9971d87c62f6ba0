"""A trained network that another one learns from: what it says of the batches that the other is trained on."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from cnnbench.data import ImageShape
from cnnbench.data.batches import Normalize
from cnnbench.device import Device
from cnnbench.inference import prepared


@dataclass(frozen=True)
class Teacher:
    """A network and the images it takes: `mean` and `std` (C,) are those of its own training images."""

    model: nn.Module
    mean: Tensor
    std: Tensor
    image_shape: ImageShape

    def asked_by(self, normalize: Normalize, device: Device) -> Callable[[Tensor], Tensor]:
        """From images (N, C, H, W) as `normalize` makes them to its logits (N, K), float32: in eval mode, under the
        device's policy, without gradients.

        Images that were normalised otherwise than its own are made into what they would have been. That is exact but
        for rounding, of mixtures of images too: it is one factor and one shift for each channel.
        """
        forward = device.compiled(prepared(self.model, device, self.image_shape))
        scale, shift = (
            part.float().view(1, -1, 1, 1).to(device.torch_device)
            for part in (normalize.std / self.std, (normalize.mean - self.mean) / self.std)
        )
        is_own = torch.equal(normalize.mean, self.mean) and torch.equal(normalize.std, self.std)

        @torch.no_grad()
        def ask(images: Tensor) -> Tensor:
            with device.autocast():
                logits = forward(images if is_own else images * scale + shift)
            return logits.to(torch.float32, copy=True)  # what a CUDA graph gave is overwritten when it runs again

        return ask
