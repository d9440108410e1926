"""The entry: errors, interrupts and streams."""

from __future__ import annotations

import os
import sys
import warnings
from typing import NoReturn

import typer

from anyback.cli._commands import app
from anyback.errors import AnybackError

__all__ = ["main"]


def main() -> NoReturn:
    """Run the command line; every mistake ends in one line and exit code 2, never in a traceback."""
    warnings.showwarning = lambda message, *_, **__: print(f"anyback: warning: {message}", file=sys.stderr)
    try:
        code = app(standalone_mode=False)
    except AnybackError as error:
        _fail(f"anyback: {error}", 2)
    except (KeyboardInterrupt, typer.Abort):
        code = 130
    except SystemExit as end:
        # typer's answer where the reader of a pipe leaves early, as head does: that is no failure.
        if not isinstance(end.__context__, BrokenPipeError):
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except Exception as error:
        # Usage errors, of click's type; typer may carry its own copy of click.
        if not hasattr(error, "format_message"):
            raise
        _fail(f"anyback: {error.format_message()} (see anyback --help)", 2)
    if code == 130:  # typer returns it for Ctrl-C
        _fail("anyback: interrupted", 130)
    sys.exit(code)


def _fail(message: str, code: int) -> NoReturn:
    print(message, file=sys.stderr)
    sys.exit(code)
