"""Printing: to streams that lack characters, are full or closed, and to terminals of any width."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import sys
import textwrap
from collections.abc import Iterable, Iterator
from typing import Any, TextIO, cast

from anyback._show import Table, encodable
from anyback.errors import AnybackError

__all__ = ["OutputError", "ReaderLeftError", "columns", "complain", "print_lines", "print_table", "standard_output"]

#: Narrower terminals are taken for one of this width: tables would have no room.
_NARROWEST = 40


class OutputError(AnybackError):
    """Standard output that takes no more, such as a file on a full disk."""


class ReaderLeftError(Exception):
    """Whoever reads the pipe has left, as ``head`` does: the rest need not be printed, and that is no failure."""


class _Output:
    """Standard output as the commands see it; what is not said here is the stream's own."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._failed: OutputError | ReaderLeftError | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        with self._errors():
            self._stream.write(encodable(text, self._stream.encoding))
        return len(text)

    def flush(self) -> None:
        with self._errors():
            self._stream.flush()

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        if self._failed:  # again, since typer tries streams and passes over what they raise
            raise self._failed
        try:
            yield
        except BrokenPipeError:
            self._failed = ReaderLeftError()
        except OSError as cause:
            self._failed = OutputError(f"standard output cannot be written: {cause.strerror or cause}")
            if sys.platform == "win32" and cause.errno == errno.EINVAL:  # how a closed pipe is called there
                self._failed = ReaderLeftError()
        if self._failed:
            self._abandon()
            raise self._failed

    def _abandon(self) -> None:
        """Let what the stream still holds go nowhere, or Python would fail again when it flushes at the end."""
        with contextlib.suppress(OSError, ValueError):  # a stream in memory has no descriptor
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)


@contextlib.contextmanager
def standard_output() -> Iterator[None]:
    """Inside, ``sys.stdout`` shows any text, and raises our own errors where it cannot be written."""
    before = sys.stdout
    if before is None:  # closed by whoever started this process: print does nothing then
        yield
        return
    sys.stdout = cast(TextIO, _Output(before))
    try:
        yield
    finally:
        with contextlib.suppress(OutputError, ReaderLeftError):  # said already, or an earlier error is said
            sys.stdout.flush()
        sys.stdout = before


def complain(message: str) -> None:
    """Print a line to standard error, if there is one that can be written."""
    if sys.stderr is not None:
        with contextlib.suppress(OSError):
            print(f"anyback: {message}", file=sys.stderr, flush=True)


def columns(least: int = _NARROWEST) -> int:
    """Return how many columns the terminal has, and at least so many."""
    return max(shutil.get_terminal_size().columns, least)


def print_table(table: Table, least: int = _NARROWEST) -> None:
    """Print a table, folded to the width of the terminal, or to `least` columns where it is narrower."""
    print(table.text(columns(least)), flush=True)


def print_lines(lines: Iterable[str]) -> None:
    """Print lines of words, each folded to the width of the terminal."""
    for line in lines:
        print(textwrap.fill(line, columns(), break_on_hyphens=False))
