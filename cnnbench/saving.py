"""When a run is saved: often enough that a kill costs little, and seldom enough that saving does."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from cnnbench.runs.checkpoint import save_checkpoint

LARGEST_SHARE = 0.01  # of the time may go into saving; with the last save, and slow ones, it stays below 0.02
COPIES = 5  # of the weights in a checkpoint, at most: themselves, two moments, an average and what was validated
WRITTEN_BESIDE = 2  # checkpoints: the best one, and the one being written
TEST_IMAGES = 10_000  # for which there is to be room; how many there are is known once the data are read

State = Mapping[str, Any]


class Saver:
    """Saves checkpoints into a folder, in `LARGEST_SHARE` of the time.

    The best state of an epoch for which it was too early is kept in memory, and written before the next one.

    Args:
        every_seconds: how long an epoch goes on before a checkpoint within it.
        keep: checkpoints beside the best one.
    """

    def __init__(self, folder: Path, *, every_seconds: float, keep: int) -> None:
        self.folder = folder
        self.every_seconds = every_seconds
        self.keep = keep
        self._saved, self._cost = time.monotonic(), 0.0
        self._best: State | None = None

    def is_due(self, *, within_epoch: bool) -> bool:
        """Whether the share of the time allows to save, and within an epoch, whether so long has passed."""
        wait = self._cost / LARGEST_SHARE
        return time.monotonic() - self._saved >= (max(wait, self.every_seconds) if within_epoch else wait)

    def save(self, state: State, *, is_best: bool) -> None:
        """Saves `state`, after the best state that is still in memory.

        Raises:
            DiskError: what was saved earlier is untouched.
        """
        started = time.monotonic()
        if is_best:
            self._best = None
        self.write_best()
        save_checkpoint(self.folder, state["position"]["step"], state, is_best=is_best, keep=self.keep)
        self._saved = time.monotonic()
        self._cost = self._saved - started

    def remember_best(self, state: State) -> None:
        """Keeps a copy of `state` as the best one, to be written later."""
        self._best = copied(state)

    def write_best(self) -> None:
        """Writes the best state that is still in memory."""
        if self._best is not None:
            state, self._best = self._best, None
            save_checkpoint(self.folder, state["position"]["step"], state, is_best=True, keep=self.keep)


def copied(value: Any) -> Any:
    """`value` with copies, on the CPU, of all tensors in it."""
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, dict):
        return {key: copied(item) for key, item in value.items()}
    return [copied(item) for item in value] if isinstance(value, list) else value


def bytes_needed(model: nn.Module, num_classes: int, keep: int) -> int:
    """Roughly what a run of this model writes."""
    weights = sum(tensor.numel() * tensor.element_size() for tensor in model.state_dict().values())
    return COPIES * weights * (keep + WRITTEN_BESIDE) + 4 * TEST_IMAGES * num_classes
