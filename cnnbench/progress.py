"""What is shown while the user waits: a live line on a terminal or in a notebook, elsewhere a plain one if it is long.

All waits share one display, so that one within another (validation within training) is a line below it.
"""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from cnnbench import console
from cnnbench.machine import uncollected

PATIENCE = 5.0  # seconds without a word, where nothing live can be shown
NARROW = 60  # columns, below which the speed is left out


class _TimeColumn(ProgressColumn):
    """The time left where the amount of work is known, else the time gone by."""

    max_refresh = 0.5
    _left = TimeRemainingColumn(compact=True)

    def render(self, task: Task) -> Text:
        if not task.fields["clock"]:
            return Text()
        return self._left.render(task) if task.total else Text(f"{task.elapsed or 0:.0f} s", style="progress.elapsed")


class _ShareColumn(TaskProgressColumn):
    def render(self, task: Task) -> Text:
        return super().render(task) if task.total else Text()


class Wait:
    """One line of the display; `live` where it is really shown."""

    def __init__(self, display: Progress | None, task: TaskID | None) -> None:
        self._display, self._task = display, task
        self.live = display is not None

    def advance(self, amount: int = 1) -> None:
        """So much more is done; the line redraws itself ten times a second."""
        if self._display is not None and self._task is not None:
            self._display.update(self._task, advance=amount)

    def reach(self, amount: int) -> None:
        """So much is done in all."""
        if self._display is not None and self._task is not None:
            self._display.update(self._task, completed=amount)

    def show(self, description: str, beside: str = "") -> None:
        """What stands before the bar and behind it."""
        if self._display is not None and self._task is not None:
            self._display.update(self._task, description=console.visible(description), beside=beside)


class _Display:
    """The one live display, there while somebody waits, and how many do."""

    def __init__(self) -> None:
        self.progress: Progress | None = None
        self.waits = 0


_display = _Display()


@contextmanager
def waiting(
    what: str, total: int | None = None, done: int = 0, *, clock: bool = True, long: bool = False, line: bool = True
) -> Iterator[Wait]:
    """Shows, as long as it lasts, that `what` is being done: with a bar and the time left where `total` is known.

    `clock=False` leaves out the time, for who says it beside the bar; a notebook shows only what is `long`. Where
    nothing live can be shown, a line on stderr says it once, after some seconds; not within another wait, and not with
    `line=False`.
    """
    _display.waits += 1
    where = console.live_console()
    if console.in_notebook() and not long and _display.progress is None:
        where = None  # each display leaves an empty widget behind
    try:
        if where is None:
            with nullcontext() if console.is_muted() or _display.waits > 1 or not line else _line_after_a_while(what):
                yield Wait(None, None)
            return
        if _display.progress is None:
            _display.progress = _new_progress(where)
            _display.progress.start()
        progress = _display.progress
        task = progress.add_task(console.visible(what), total=total, completed=done, beside="", clock=clock)
        try:
            yield Wait(progress, task)
        finally:
            progress.remove_task(task)
    finally:
        _display.waits -= 1
        if not _display.waits and _display.progress is not None:
            _display.progress.stop()
            _display.progress = None


def _new_progress(where: Console) -> Progress:
    columns = [
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=None),
        _ShareColumn(),
    ]
    if where.width >= NARROW:
        columns.append(TextColumn("{task.fields[beside]}", markup=False))
    return Progress(*columns, _TimeColumn(), console=where, transient=True)


@contextmanager
def _line_after_a_while(what: str) -> Iterator[None]:
    began = time.monotonic()

    def say_what() -> None:
        if not console.has_printed_since(began):
            console.remark(what)

    timer = threading.Timer(PATIENCE, say_what)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


@contextmanager
def loading_torch() -> Iterator[None]:
    """Around an import that needs torch: the first one takes seconds."""
    if "torch" in sys.modules:
        yield
        return
    with waiting("loading torch"), uncollected():
        yield


class TrainingProgress:
    """A bar with images/s, loss and time left; where nothing live can be shown, the lines of the epochs alone.

    Use as a context manager around the training of `total_images` images.
    """

    def __init__(self, total_images: int, done_images: int = 0, *, description: str = "") -> None:
        self._waiting = waiting(description, total_images, done_images, long=True)

    def __enter__(self) -> "TrainingProgress":
        self._wait = self._waiting.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        self._waiting.__exit__(*exception)  # type: ignore[arg-type]

    def advance(self, images: int) -> None:
        """Counts `images` more as trained."""
        self._wait.advance(images)

    def show(self, description: str, images_per_second: float) -> None:
        """What stands beside the bar."""
        self._wait.show(description, f"{images_per_second:,.0f} images/s")
