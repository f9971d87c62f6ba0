"""Stopping on request: the first signal asks the loop to save and leave, the second one leaves at once."""

import signal
import threading
from types import FrameType

from cnnbench.errors import Interrupted

STOPPING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1", "SIGUSR2") if hasattr(signal, name))


class StopSignals:
    """While used as a context manager, remembers the first stop signal in `received`.

    Each signal's default action is restored on its first arrival, so that a second one ends the process.
    SIGUSR1 and SIGUSR2, which SLURM sends before a time limit, count as SIGTERM.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._previous: dict[int, object] = {}

    def __enter__(self) -> "StopSignals":
        if threading.current_thread() is threading.main_thread():  # elsewhere Python allows no handlers
            self._previous = {number: signal.signal(number, self._receive) for number in STOPPING}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _receive(self, number: int, _: FrameType | None) -> None:
        self.received = signal.SIGINT if number == signal.SIGINT else signal.SIGTERM
        for stopping in STOPPING:
            signal.signal(stopping, signal.SIG_DFL)

    def raise_interrupted(self, message: str) -> None:
        """Raises Interrupted with the exit code of the signal received."""
        assert self.received is not None
        raise Interrupted(self.received, message)
