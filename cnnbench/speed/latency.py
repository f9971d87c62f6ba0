"""How long a trained model takes for one image."""

import statistics

import torch
from torch import nn

from cnnbench.data import ImageShape
from cnnbench.data.batches import Normalize
from cnnbench.device import Device
from cnnbench.inference import prepared
from cnnbench.speed.stopwatch import seconds_of

WARM_UP, REPEATS, LATENCY_SECONDS = 5, 30, 0.3


def measure_latency(model: nn.Module, image_shape: ImageShape, normalize: Normalize, device: Device) -> float:
    """Milliseconds of one forward pass of one image, the median of 30 after 5 to warm up, or of what 0.3 s allow.

    In the form and precision that images are evaluated in, but not compiled; views of test-time augmentation are not
    counted. Draws no random numbers.
    """
    ready = prepared(model, device, image_shape)
    images = normalize(torch.zeros(1, *image_shape, dtype=torch.uint8, device=device.torch_device))

    @torch.inference_mode()
    def forward() -> None:
        with device.autocast():
            ready(images)
        device.synchronize()

    times: list[float] = []
    while len(times) < WARM_UP + REPEATS and sum(times) < LATENCY_SECONDS:
        times.append(seconds_of(forward))
    return 1000 * statistics.median(times[WARM_UP:] or times[-1:])
