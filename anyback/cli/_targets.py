"""Files that a command writes: looked at before the work begins, written before anything is printed."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any

import typer

from anyback._files import replacing, shown
from anyback._show import json_text
from anyback.errors import DataError

__all__ = ["ask_to_replace", "check_target", "write_json"]


class _EnoughError(Exception):
    """Ends a trial before anything is replaced."""


def check_target(
    path: Path, suffixes: Collection[str] = (), others: Collection[str | os.PathLike[str] | None] = ()
) -> None:
    """Raise `DataError` where a file cannot be written: before minutes of work, and not after them.

    Parameters
    ----------
    path : pathlib.Path
        The file to make or to replace; it stays as it is.
    suffixes : collection of str
        Those that it may have; empty is any.
    others : collection of str, path-like or None
        What the command reads or writes besides, names of networks among them: none may be the file, under any name.
    """
    if suffixes and path.suffix.lower() not in suffixes:
        raise DataError(f"{shown(path)}: unknown suffix {path.suffix!r}; known: {', '.join(suffixes)}")
    for source in others:
        if source is not None and _same(path, source):
            raise DataError(f"{shown(path)} is {shown(source)}, which this command uses too; choose another to write")
    with contextlib.suppress(_EnoughError), replacing(path, DataError) as temporary:
        temporary.touch()
        raise _EnoughError


def ask_to_replace(path: Path) -> None:
    """Ask whether a file that is there may be replaced, and end the command where it may not.

    Raises
    ------
    DataError
        If the file is there and nobody can be asked, since this is no terminal.
    """
    if not os.path.lexists(path):
        return
    if not all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stderr)):
        raise DataError(f"{shown(path)} is there already; --force replaces it")
    if not typer.confirm(f"{shown(path)} is there already. Replace it?", err=True):
        print(f"{shown(path)} stays as it was")
        raise typer.Exit(1)


def _same(path: Path, other: str | os.PathLike[str]) -> bool:
    try:
        return path.samefile(other)
    except (OSError, ValueError):  # one of them does not exist, or is only a name
        pass
    if os.path.lexists(path) or os.path.lexists(other):
        return False
    # Two outputs, not made yet: on some systems one file, if the case of letters is all that differs.
    return os.path.abspath(path).casefold() == os.path.abspath(other).casefold()  # noqa: PTH100


def write_json(path: Path, record: dict[str, Any]) -> None:
    """Write plain data as JSON, whole or not at all."""
    with replacing(path, DataError) as temporary:
        temporary.write_text(json_text(record, indent=2) + "\n", encoding="utf-8")
