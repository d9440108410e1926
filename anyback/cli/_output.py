"""Printing: to streams that lack characters, are full or closed, and to terminals of any width."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from collections.abc import Iterator
from typing import Any, TextIO, cast

from rich.console import Console

from anyback._show import encodable
from anyback.errors import AnybackError

__all__ = ["OutputError", "ReaderLeftError", "complain", "console", "standard_output"]

#: Narrower and wider terminals are taken for these: tables would have no room, or rich no memory.
_NARROWEST, _WIDEST = 40, 1000


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


def console(least: int = _NARROWEST) -> Console:
    """Return a console of at least so many columns, on which text stands as it is: no markup, no emoji."""
    # Not rich's own reading of COLUMNS and LINES, which takes a width of 0 and raises for others.
    width = min(max(shutil.get_terminal_size().columns, least), _WIDEST)
    return Console(width=width, height=25, markup=False, emoji=False, highlight=False)
