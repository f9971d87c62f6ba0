"""Stopping on request: the first signal ends the work where it stands or, in training, after its batch is saved.

A second Ctrl-C leaves at once, for the first restores what the system does by default; so does a second SIGTERM that
is none of the burst in which SLURM sends it. SIGHUP, when a terminal closes, and SIGUSR1 and SIGUSR2, which SLURM sends
before a time limit, count as SIGTERM. A signal that the process was started to ignore, as by nohup, stays ignored.
Python allows handlers in the main thread only; elsewhere nothing here acts.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from cnnbench.errors import DiskError, Interrupted

NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2")
STOPPING = tuple(getattr(signal, name) for name in NAMES if hasattr(signal, name))
SECONDS_UNTIL_SENT_AGAIN = 0.02
ONE_REQUEST = 1.0  # seconds within which several are one: to preempt a job SLURM sends SIGTERM twice, 6 to 40 ms apart

Handlers = dict[int, Any]


@contextmanager
def interrupting() -> Iterator[None]:
    """Raises Interrupted in whatever the main thread does when a signal arrives.

    Not everywhere can it be raised. In a destructor or a callback of the garbage collector Python drops it, and only
    prints; in an import, a library's native code may end the process, or take it for its own failure and go on
    without what it could not import. The signal is then sent again a moment later. What else a library makes of it is
    Interrupted again where the work ends.

    Raises:
        Interrupted: a signal came, and the work ended with it or with another failure than that of a disk.
    """
    outside = imports_around(sys._getframe())
    is_waiting = False
    stop: Interrupted | None = None

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal stop
        if imports_around(frame) > outside:
            send_again(number)
            return
        leave_at_the_next()
        stop = Interrupted(meaning(number), "stopped")
        raise stop

    def on_unraisable(dropped: "sys.UnraisableHookArgs") -> None:
        if not isinstance(dropped.exc_value, Interrupted):
            print_dropped(dropped)
            return
        install(dict.fromkeys(before, interrupt))
        send_again(dropped.exc_value.signal_number)

    def send_again(number: int) -> None:
        nonlocal is_waiting
        if not is_waiting:
            is_waiting = True
            threading.Timer(SECONDS_UNTIL_SENT_AGAIN, send, [number]).start()

    def send(number: int) -> None:
        nonlocal is_waiting
        is_waiting = False
        os.kill(os.getpid(), number)

    before, print_dropped = current_handlers(), sys.unraisablehook
    try:
        sys.unraisablehook = on_unraisable if before else print_dropped
        install(dict.fromkeys(before, interrupt))
        yield
    except DiskError:
        raise
    except Exception as error:
        if stop is None:
            raise
        raise stop from error
    finally:
        stop = None  # which holds the frames of all that it ended
        install(before)
        sys.unraisablehook = print_dropped


def imports_around(frame: FrameType | None) -> int:
    """How many imports are under way in the calls that lead to `frame`."""
    count = 0
    while frame is not None:
        count += frame.f_code.co_filename.startswith("<frozen importlib")
        frame = frame.f_back
    return count


@contextmanager
def held() -> Iterator[None]:
    """Delivers the signals that come meanwhile at the end: for what must not be cut in two.

    A process that is started meanwhile begins with them blocked. Here that is not enough: a library's thread, which has
    them not blocked, may be the one that the system chooses.
    """
    arrived: list[int] = []
    before = current_handlers()
    install(dict.fromkeys(before, lambda number, _: arrived.append(number)))
    unblocked = signal.pthread_sigmask(signal.SIG_BLOCK, before)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, unblocked)  # which hands over those that waited
        install(before)
        for number in arrived:
            signal.raise_signal(number)


class StopSignals:
    """While used as a context manager, remembers the first stop signal in `received`."""

    def __init__(self) -> None:
        self.received: int | None = None
        self._received_at = 0.0
        self._before: Handlers = {}

    def __enter__(self) -> "StopSignals":
        self._before = current_handlers()
        install(dict.fromkeys(self._before, self._receive))
        return self

    def __exit__(self, *_: object) -> None:
        install(self._before)

    def _receive(self, number: int, _: FrameType | None) -> None:
        if self.received is None:
            self.received, self._received_at = meaning(number), time.monotonic()
            if meaning(number) == signal.SIGINT:
                leave_at_the_next()
        elif meaning(number) == signal.SIGINT or time.monotonic() - self._received_at > ONE_REQUEST:
            leave_at_the_next()
            signal.raise_signal(number)


def listen_to(number: int) -> None:
    """For a job of a sweep: of the signals that stop it hears this one alone, by which its supervisor asks it to."""
    ignore_signals()
    signal.signal(number, signal.SIG_DFL)


def ignore_signals() -> None:
    """For a worker process: the process that started it decides when it stops, whoever else a signal is sent to."""
    install(dict.fromkeys(current_handlers(), signal.SIG_IGN))


def meaning(number: int) -> int:
    """What a signal counts as: SIGINT or SIGTERM."""
    return signal.SIGINT if number == signal.SIGINT else signal.SIGTERM


def leave_at_the_next() -> None:
    """Has the next signal end the process at once, whatever it is doing."""
    install(dict.fromkeys(current_handlers(), signal.SIG_DFL))


def current_handlers() -> Handlers:
    """What each stop signal does now, without those that are ignored; empty outside the main thread."""
    if threading.current_thread() is not threading.main_thread():
        return {}
    handlers = {number: signal.getsignal(number) for number in STOPPING}
    return {number: handler for number, handler in handlers.items() if handler is not signal.SIG_IGN}


def install(handlers: Handlers) -> None:
    """Sets what each of these signals does."""
    for number, handler in handlers.items():
        signal.signal(number, handler)
