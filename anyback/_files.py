"""Reading with a bound and writing whole or not at all: the two habits every file format shares."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from anyback.errors import AnybackError

__all__ = ["read_bounded", "replacing"]


def read_bounded(path: str | os.PathLike[str], limit: int, error: type[AnybackError]) -> bytes:
    """Return the bytes of a regular file, or raise `error` in one line.

    Parameters
    ----------
    path : path-like
        The file.
    limit : int
        The largest size accepted, in bytes; nothing larger is read into memory.
    error : type of AnybackError
        What to raise where the file is missing, a folder, a device, unreadable or too large.

    Returns
    -------
    bytes
    """
    path = Path(path)
    try:
        # Opened before it is looked at, so that what is checked is what is read; without blocking,
        # since opening a named pipe would otherwise wait for a writer for ever.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        with os.fdopen(descriptor, "rb") as file:
            mode = os.fstat(descriptor).st_mode
            if stat.S_ISDIR(mode):
                raise error(f"{path} is a folder; expected a file")
            if not stat.S_ISREG(mode):
                raise error(f"{path} is not a regular file; expected one")
            data = file.read(limit + 1)
    except FileNotFoundError:
        raise error(f"{path} does not exist; check the path") from None
    except IsADirectoryError:
        raise error(f"{path} is a folder; expected a file") from None
    except (OSError, ValueError) as cause:
        raise error(f"{path} cannot be read: {getattr(cause, 'strerror', None) or cause}") from None
    if len(data) > limit:
        raise error(f"{path} is larger than {limit:,} bytes, the most that is read")
    return data


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str], error: type[AnybackError]) -> Iterator[Path]:
    """Give a temporary path beside `path` to write to; it takes the place of `path` on success.

    After an exception, Ctrl-C included, `path` is what it was before and the temporary file is gone.

    Parameters
    ----------
    path : path-like
        The file to make or to replace.
    error : type of AnybackError
        What to raise where it cannot be written.

    Yields
    ------
    pathlib.Path
        The temporary file, which does not exist yet.
    """
    path = Path(path)
    if path.exists() and not path.is_file():
        # Renaming onto a device such as /dev/null would destroy it for the whole machine.
        raise error(f"{path} cannot be written: it is {'a folder' if path.is_dir() else 'not a regular file'}")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield temporary
        temporary.replace(path)
    except OSError as cause:
        raise error(f"{path} cannot be written: {cause.strerror or cause}") from None
    finally:
        temporary.unlink(missing_ok=True)
