"""Small images first: early steps learn what is coarse, and cost the square of the scale."""

from collections.abc import Mapping
from typing import Annotated, Any

from torch import Tensor
from torch.nn import functional as F

from cnnbench.config.settings import PartOfTraining, PositiveInt, Range, in_epochs
from cnnbench.techniques.callback import Callback


class ProgressiveResizing(Callback):
    """Shrinks the training images, from `start_scale` of height and width on, in `steps` sizes until full size.

    Full size begins at `until`, a share of the training or in epochs, so that batch norm's statistics are those of full
    size at the end. Sizes are even, and few: each new one costs a CPU some set-up. Bilinear without antialiasing: it is
    several times faster, and at scales from one half on no pixel is skipped. Source: Howard, Training Imagenet in 3
    hours for $25, 2018 (https://www.fast.ai/posts/2018-04-30-dawnbench-fastai.html).
    """

    def __init__(
        self,
        steps_per_epoch: int,
        epochs: int,
        *,
        start_scale: Annotated[float, Range(at_least=0.5, below=1)],
        until: Annotated[float, PartOfTraining(at_least=1, latest="before the end")],
        steps: PositiveInt,
    ) -> None:
        self.scales = [start_scale + (1 - start_scale) * number / steps for number in range(steps)]
        self.batches_per_scale = in_epochs(until, epochs) * steps_per_epoch / steps
        self.batches = 0

    def on_batch(self, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        number = int(self.batches / self.batches_per_scale)
        self.batches += 1
        if number >= len(self.scales):
            return images, targets
        height, width = images.shape[2:]
        size = scaled_size(height, width, self.scales[number])
        return F.interpolate(images, size=size, mode="bilinear"), targets

    def image_sizes(self, height: int, width: int) -> list[tuple[int, int]]:
        return [scaled_size(height, width, scale) for scale in self.scales]

    def state_dict(self) -> dict[str, Any]:
        return {"batches": self.batches}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.batches = state["batches"]


def scaled_size(height: int, width: int, scale: float) -> tuple[int, int]:
    """Height and width times `scale`, each rounded to an even number, at least 2."""
    return max(2, 2 * round(height * scale / 2)), max(2, 2 * round(width * scale / 2))
