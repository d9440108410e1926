"""The way in and the ways out: exit codes, signals, warnings and streams, each put back as it was."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

import typer

from anyback.cli import _commands, _jobs, _reports
from anyback.cli._app import app
from anyback.cli._output import ReaderLeftError, complain, standard_output
from anyback.errors import AnybackError, ShardError

__all__ = ["main"]

#: Importing them puts their commands into the application.
COMMANDS = (_commands, _jobs, _reports)


def main(args: Sequence[str] | None = None) -> NoReturn:
    """Run the command line; every mistake ends in one line and exit code 2, never in a traceback.

    Parameters
    ----------
    args : sequence of str or None
        What follows the command's name; None is what this process was started with.
    """
    with _warnings_in_a_line(), standard_output(), _ends():
        code = _code_of(args)
    sys.exit(code)


def _code_of(args: Sequence[str] | None) -> int:
    """Run a command; return the exit code after what there is to complain about was said."""
    try:
        code = app(args, prog_name="anyback", standalone_mode=False) or 0
        if sys.stdout is not None:
            with contextlib.suppress(ReaderLeftError):
                sys.stdout.flush()
    except ShardError as error:
        complain(str(error))
        return 3  # to try again is of use where it was not the rows
    except AnybackError as error:
        complain(str(error))
        return 2
    except ReaderLeftError:
        return 0
    except _EndError as end:
        complain("terminated")
        return 128 + end.number  # what a shell says of a process that a signal ended
    except (KeyboardInterrupt, typer.Abort):
        code = 130
    except Exception as error:
        # Usage errors, of click's type; typer may carry its own copy of click.
        if not hasattr(error, "format_message"):
            raise
        complain(f"{error.format_message()} (see anyback --help)")
        return 2
    if code == 130:  # typer returns it for Ctrl-C
        complain("interrupted")
    return int(code)


@contextlib.contextmanager
def _warnings_in_a_line() -> Iterator[None]:
    before = warnings.showwarning
    warnings.showwarning = lambda message, *_, **__: complain(f"warning: {message}")
    try:
        yield
    finally:
        warnings.showwarning = before


# -- Signals ------------------------------------------------------------------------------------------


class _EndError(BaseException):
    """A signal that ends the process: it passes through everything, as `KeyboardInterrupt` does."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@contextlib.contextmanager
def _ends() -> Iterator[None]:
    """Inside, signals that would end the process at once raise, so that half-written files are removed."""
    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP", "SIGBREAK") if hasattr(signal, name)]
    # Python sets handlers in the main thread alone; one that is set, or ignored as by nohup, is meant.
    here = threading.current_thread() is threading.main_thread()
    ours = [number for number in numbers if here and signal.getsignal(number) == signal.SIG_DFL]
    for number in ours:
        signal.signal(number, _end)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)


def _end(number: int, _: Any) -> NoReturn:
    signal.signal(number, signal.SIG_DFL)  # whoever sends it twice will not wait for what is being put in order
    raise _EndError(number)
