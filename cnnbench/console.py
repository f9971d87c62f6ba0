"""The terminal: the one place that prints. Text of unknown origin passes `visible` and is never markup."""

import importlib.util
import json
import os
import sys
import time
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, redirect_stdout
from contextvars import ContextVar
from typing import IO, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from cnnbench.errors import ConfigError, DiskError


class _Terminal(Console):
    printed = 0.0  # when last

    def print(self, *objects: Any, **options: Any) -> None:
        with _written(self.file):
            super().print(*objects, **options)
        self.printed = time.monotonic()

    def on_broken_pipe(self) -> None:
        """Where rich would exit."""
        raise BrokenPipeError


@contextmanager
def _written(stream: IO[str]) -> Iterator[None]:
    """Looks after what is written to `stream` meanwhile. What cannot be is thrown away, from now on.

    Where the reader of our output has left, as `head` does, and where a note or an error cannot be shown, the work goes
    on unseen.

    Raises:
        DiskError: our output cannot be written, as to a file on a full disk.
    """
    try:
        yield
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())  # or Python would try again when it ends
        if stream is not sys.stderr and not isinstance(error, BrokenPipeError):
            raise DiskError(f"standard output: {error.strerror}; send it elsewhere") from error


def flush() -> None:
    """Sends out what was printed and still waits."""
    if sys.stdout is not None:  # as it is where the process was started without
        with _written(sys.stdout):
            sys.stdout.flush()


KERNEL = "JPY_PARENT_PID"  # a notebook's kernel has this variable, and what its cells start with `!` on a pty
PLAIN: dict[str, Any] = {"markup": False, "highlight": False, "emoji": False}
_notebook = Console()
if _notebook.is_jupyter or KERNEL in os.environ:  # what rich draws has escape codes wherever a notebook is read as text
    PLAIN |= {"force_jupyter": False, "force_terminal": False, "width": 10_000}
_out = _Terminal(**PLAIN)
_err = _Terminal(**PLAIN, stderr=True)
_pipe = _Terminal(**PLAIN | {"width": 10_000}, color_system=None)  # rich would wrap tables at 80
_muted = ContextVar("muted", default=False)
_copier: ContextVar[Callable[[str], None] | None] = ContextVar("copier", default=None)


def visible(text: str, *, keep: str = "") -> str:
    r"""`text` with control, escape and direction-changing characters spelled out as `\xNN`, except those in `keep`."""
    if text.isprintable():  # as nearly always
        return text
    return "".join(
        char if char in keep or unicodedata.category(char) not in ("Cc", "Cf", "Cs", "Co") else _escape(char)
        for char in text
    )


def _escape(char: str) -> str:
    code = ord(char)
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"


def encodable(text: str, encoding: str) -> str:
    """`text` as a terminal of this encoding can show it; the rest is backslash-escaped."""
    return text.encode(encoding, "backslashreplace").decode(encoding)


def say(text: str = "", *, style: str = "") -> None:
    """Prints a line for people on stdout, wrapped to the terminal; piped output is not wrapped."""
    _copy(text)
    if not _muted.get():
        line = encodable(visible(text, keep="\n"), _out.encoding)
        _out.print(Text(line, style=style), soft_wrap=not _out.is_terminal)


def say_parts(parts: Sequence[str]) -> None:
    """Prints a line of parts, the most telling first, without the last ones that a narrow terminal has no room for."""
    _copy("  ".join(parts))
    kept = list(parts)
    while len(kept) > 1 and not has_room(len("  ".join(kept))):
        kept.pop()
    with _copied_to(None):
        say("  ".join(kept))


def say_exactly(text: str) -> None:
    """Prints a line for programs on stdout: never wrapped or coloured."""
    _copy(text)
    if not _muted.get():
        _out.print(Text(encodable(visible(text), _out.encoding)), soft_wrap=True)


def say_json(document: Any) -> None:
    """Prints one JSON document on stdout; NaN and infinity are refused."""
    say_document(json.dumps(document, allow_nan=False, indent=2) + "\n")


def say_lines(lines: Sequence[str]) -> None:
    """Prints lines of one table, the first its header, which fit the terminal; for thousands rich takes seconds."""
    header, *rows = (encodable(visible(line), _out.encoding) for line in lines)
    _copy("\n".join(lines))
    if not _muted.get():
        _out.print(Text(header, style="bold"), soft_wrap=True)
        for first in range(0, len(rows), 1000):
            _out.print(Text("\n".join(rows[first : first + 1000])), soft_wrap=True)


def say_document(text: str) -> None:
    """Prints a document for programs on stdout, as it stands."""
    if sys.stdout is not None:
        with _written(sys.stdout):
            sys.stdout.write(encodable(text, sys.stdout.encoding))


def has_printed_since(moment: float) -> bool:
    """Whether something was shown after this `time.monotonic()`."""
    return max(terminal.printed for terminal in (_out, _err, _pipe)) > moment


def remark(text: str) -> None:
    """Prints a line on stderr that is of interest only now: what is being waited for."""
    _err.print(Text(encodable(visible(f"... {text}"), _err.encoding), style="dim"), soft_wrap=True)


def note(text: str) -> None:
    """Prints something to know on stderr; the run goes on."""
    _copy(f"note: {text}")
    if not _muted.get():
        _err.print(Text(encodable(visible(f"note: {text}"), _err.encoding), style="yellow"), soft_wrap=True)


def report_error(findings: Iterable[str]) -> None:
    """Prints one `error:` line per finding on stderr."""
    for finding in findings:
        _err.print(Text(encodable(visible(f"error: {finding}"), _err.encoding), style="red"), soft_wrap=True)


def confirm(question: str) -> bool:
    """The answer of who sits at the terminal, no being the default.

    Raises:
        ConfigError: nobody can be asked.
    """
    if not (sys.stdin and sys.stdin.isatty() and _out.is_terminal):
        raise ConfigError(f"{question} nobody can be asked here; add --yes to start")
    return _out.input(f"{question} [y/N] ", markup=False).strip().lower() in ("y", "yes")


def live_console() -> Console | None:
    """The console on which lines can be redrawn: that of stdout, else of stderr; None where nobody would see it."""
    if _muted.get():
        return None
    if _notebook.is_jupyter:
        return _notebook if importlib.util.find_spec("ipywidgets") else None  # rich's bars need them there
    return next((where for where in (_out, _err) if where.is_terminal and not where.is_dumb_terminal), None)


def in_notebook() -> bool:
    """Whether this process is the kernel of a Jupyter notebook."""
    return _notebook.is_jupyter


def is_muted() -> bool:
    """Whether what is said here goes unseen."""
    return _muted.get()


@contextmanager
def muted() -> Iterator[None]:
    """Prints nothing of what is said in this thread meanwhile; errors are still raised."""
    token = _muted.set(True)
    try:
        yield
    finally:
        _muted.reset(token)


@contextmanager
def _copied_to(write: Callable[[str], None] | None) -> Iterator[None]:
    token = _copier.set(write)
    try:
        yield
    finally:
        _copier.reset(token)


def copied_to(write: Callable[[str], None]) -> AbstractContextManager[None]:
    """Gives every line that is said in this thread meanwhile to `write` too, whole and whether or not it is shown."""
    return _copied_to(write)


def _copy(text: str) -> None:
    write = _copier.get()
    if write is not None:
        for line in filter(None, text.splitlines()):
            write(line)


@contextmanager
def people_on_stderr() -> Iterator[None]:
    """Sends what is said to people to stderr, also by processes begun meanwhile: stdout is for a document."""
    flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def show_table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Prints a table; a column whose cells are all numbers is aligned to the right. Piped, it is not wrapped."""
    lines = [[visible(str(cell)) for cell in row] for row in (columns, *rows)]
    encoded = [[encodable(cell, _out.encoding) for cell in row] for row in lines]
    if _out.is_terminal or _muted.get():
        if _copier.get() is not None:
            _copy("\n".join(_drawn(lines)))
        if not _muted.get():
            _out.print(_table(encoded))
        return
    for line in _drawn(encoded):
        say_exactly(line)


def _drawn(lines: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a table as a pipe gets them."""
    with _written(_pipe.file), _pipe.capture() as drawn:  # at its end rich writes, if only nothing
        _pipe.print(_table(lines))
    return [line.rstrip() for line in drawn.get().splitlines()]


def _table(lines: Sequence[Sequence[str]]) -> Table:
    header, *cells = lines
    table = Table(box=None, header_style="bold", pad_edge=False)
    for index, column in enumerate(header):
        numeric = all(row[index].lstrip("-+")[:1].isdigit() or not row[index] for row in cells)
        table.add_column(Text(column), justify="right" if numeric else "left", overflow="fold")
    for row in cells:
        table.add_row(*map(Text, row))
    return table


def has_room(characters: int) -> bool:
    """Whether a line may be so long without being wrapped; piped output always may."""
    return not _out.is_terminal or _out.width >= characters
