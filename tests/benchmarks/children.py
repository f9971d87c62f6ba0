"""A contender in a process of its own: no framework's settings reach another, and one that waits uses no processor."""

import logging
import multiprocessing
import os
import time
import warnings
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection

from contenders import CONTENDERS
from work import prepare


class Finished(Exception):
    """The parent wants no more epochs."""


@dataclass(frozen=True)
class Epoch:
    """Seconds of an epoch, those spent waiting before it, and how many of a core the process used meanwhile."""

    seconds: float
    waited: float
    used_waiting: float


class Child:
    """A contender that trains an epoch whenever it is told to; a context manager that ends it.

    Entered, it has one epoch behind it: what it prepares must disturb none that are entered later.
    """

    def __init__(self, contender: str, variant: str, model: str, steps: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=serve, args=(theirs, contender, variant, model, steps))
        self._process.start()
        theirs.close()

    def __enter__(self) -> "Child":
        self.epoch()
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()
        self._process.join()

    def epoch(self) -> Epoch:
        """Trains one epoch.

        Raises:
            EOFError: the contender has failed; its traceback is on stderr.
        """
        self._connection.send("go")
        return self._connection.recv()


class PipeClock:
    """Starts the contender's epoch when the parent says so, and tells it how long the epoch took."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._began = self._waited = self._used = 0.0

    def start(self) -> None:
        waiting, used = time.perf_counter(), time.process_time()
        try:
            self._connection.recv()
        except EOFError:
            raise Finished("the parent has closed the connection") from None
        self._began = time.perf_counter()
        self._waited, self._used = self._began - waiting, time.process_time() - used

    def stop(self) -> None:
        self._connection.send(Epoch(time.perf_counter() - self._began, self._waited, self._used))


def serve(connection: Connection, contender: str, variant: str, model: str, steps: int) -> None:
    """Trains until the parent closes the connection, without a word on stdout."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    multiprocessing.set_start_method(None, force=True)  # a DataLoader's workers start as they do elsewhere
    with suppress(Finished):
        CONTENDERS[contender][variant](prepare(model, steps), PipeClock(connection))
