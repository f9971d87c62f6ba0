"""A program in a terminal of its own, as a person would type into it."""

import contextlib
import os
import pty
import re
import select
import signal
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

ESCAPES = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07]*\x07|[()][A-Z0-9]|[=>])")


class Terminal:
    """Runs `command` behind a pseudo-terminal of 100 columns."""

    def __init__(self, command: Sequence[str], folder: Path, variables: Mapping[str, str]) -> None:
        self.process, self.descriptor = pty.fork()
        if self.process == 0:
            os.chdir(folder)
            os.execvpe(command[0], command, {**variables, "COLUMNS": "100", "LINES": "40"})

    def type(self, text: str) -> None:
        """Types the text; who is at work reads it when done, as with a person who is quick."""
        os.write(self.descriptor, text.encode())

    def read_until(self, text: str, seconds: float = 30) -> str:
        """What is shown up to and with `text`, without escape codes.

        Raises:
            AssertionError: it is not shown in so many seconds.
        """
        shown, end = "", time.monotonic() + seconds
        while text not in (plain := ESCAPES.sub("", shown)):
            ready, _, _ = select.select([self.descriptor], [], [], max(0, end - time.monotonic()))
            assert ready, f"{text!r} is not among what is shown: {plain!r}"
            shown += os.read(self.descriptor, 65536).decode(errors="replace")
        return plain

    def close(self) -> None:
        """Ends the program."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.process, signal.SIGKILL)
        os.close(self.descriptor)
        os.waitpid(self.process, 0)
