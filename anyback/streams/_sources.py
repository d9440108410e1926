"""Inputs that are larger than memory: opened again in each shard, so that rows never travel."""

from __future__ import annotations

import functools
import hashlib
import math
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from anyback._files import shown
from anyback._kinds import kind_of, seems
from anyback.datasets import idx
from anyback.errors import DataError

__all__ = ["Source", "open_source", "stamp_of"]

#: Bytes that are read at a time, where the chunks are smaller.
_BYTES = 1 << 23
#: So many axes has an array of any version of NumPy.
_MOST_AXES = 32


@dataclass(frozen=True)
class Source:
    """An array of rows in a file or a folder.

    Parameters
    ----------
    shape : tuple of int
        Of all rows.
    dtype : numpy.dtype
        Of the numbers.
    chunk : int
        Rows that are read at a time in any case.
    read : callable
        Takes the first row and the row behind the last, and returns a NumPy array.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    chunk: int
    read: Callable[[int, int], np.ndarray]

    def pieces(self, start: int, stop: int, tile: int) -> Iterator[tuple[int, np.ndarray]]:
        """Yield (first row, rows) from `start` to `stop`, whole tiles but for the last rows.

        As much is read at a time as memory should hold, and no chunk twice.
        """
        fit = _BYTES // max(1, self.dtype.itemsize * math.prod(self.shape[1:]))
        both = math.lcm(self.chunk, tile)
        unit = both if both <= fit else self.chunk
        step = max(1, fit // unit) * unit
        rest = np.zeros((0, *self.shape[1:]), self.dtype)
        while start < stop:
            end = min(stop, (start // step + 1) * step)
            first, rows = start - len(rest), self.read(start, end)
            if len(rest):  # one tile is put together, so that only its rows are copied
                lacking = tile - len(rest)
                rest, rows = np.concatenate([rest, rows[:lacking]]), rows[lacking:]
                if len(rest) == tile or end == stop:
                    yield first, rest
                    first, rest = first + len(rest), rest[:0]
            if len(rows):
                whole = len(rows) if end == stop else len(rows) // tile * tile
                if whole:
                    yield first, rows[:whole]
                rest = rows[whole:]
            start = end


def open_source(source: str | os.PathLike[str]) -> Source:
    """Open an .npy file, a zarr array (versions 2 and 3) or an IDX file by its path; its first bytes say what it is.

    Raises
    ------
    DataError
        If there is no such file, or it holds no array of numbers with an axis of rows.
    """
    path, name = Path(source), shown(source)
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as cause:
        raise DataError(f"{name} cannot be read: {getattr(cause, 'strerror', None) or cause}") from None
    if not (stat.S_ISDIR(mode) or stat.S_ISREG(mode)):
        raise DataError(f"{name} is not a regular file; expected one, or the folder of a zarr array")
    found = _zarr(path) if stat.S_ISDIR(mode) else _file(path)
    if not found.shape:
        raise DataError(f"{name} holds one number; expected rows")
    if found.dtype.kind not in "biuf":
        raise DataError(f"{name} holds {found.dtype}; expected numbers")
    if len(found.shape) > _MOST_AXES or math.prod(found.shape) * found.dtype.itemsize >= 1 << 63:
        raise DataError(
            f"{name} says that it has {len(found.shape)} axes, shape {str(found.shape)[:80]}; no array has that"
        )
    return found


def _file(path: Path) -> Source:
    try:
        with path.open("rb") as stream:
            first = stream.read(1024)
    except OSError as cause:
        raise DataError(f"{shown(path)} cannot be read: {cause.strerror or cause}") from None
    kind = kind_of(first)
    if kind == "a NumPy .npy file":
        return _mapped(_npy(path))
    if kind == "an .npz archive":
        raise DataError(f"{shown(path)} is an .npz archive, whose rows cannot be read in parts; save .npy instead")
    try:
        return _mapped(idx.mapped(path))
    except idx.NotIdxError:
        raise DataError(f"{shown(path)}: expected an .npy file, a zarr array or IDX{seems(first)}") from None


def _npy(path: Path) -> np.ndarray:
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except OSError as error:
        raise DataError(f"{shown(path)} cannot be read: {error.strerror or error}") from None
    except Exception as error:  # of many types, by what is wrong with the header
        raise DataError(f"{shown(path)} is not an .npy file of numbers ({type(error).__name__}: {error})") from None


def _mapped(array: np.ndarray) -> Source:
    return Source(array.shape, array.dtype, 1, lambda start, stop: array[start:stop])


def _zarr(path: Path) -> Source:
    try:
        import zarr
    except ImportError:
        raise DataError(f"{shown(path)} is a folder; to read zarr arrays: pip install 'anyback[zarr]'") from None
    try:
        found = zarr.open(path, mode="r")
    except Exception as error:  # of many types, by what is wrong with the folder
        why = str(error).partition("\n")[0][:200]
        raise DataError(f"{shown(path)} is no zarr array ({type(error).__name__}: {why})") from None
    if hasattr(found, "array_keys"):
        names = ", ".join(sorted(found.array_keys()))[:200]
        raise DataError(f"{shown(path)} is a group of zarr arrays; give the path of one of them: {names or 'none'}")
    if any(getattr(codec, "codec_id", "") == "pickle" for codec in (*(found.filters or ()), *found.compressors)):
        raise DataError(f"{shown(path)} is packed by pickle, which runs what a file says; write it with another codec")
    return Source(tuple(found.shape), np.dtype(found.dtype), _chunk_rows(found), functools.partial(_rows, found))


def _chunk_rows(array: Any) -> int:
    shape = getattr(array, "shards", None) or array.chunks
    return max(1, int(shape[0])) if shape else 1


def _rows(array: Any, start: int, stop: int) -> np.ndarray:
    return np.asarray(array[start:stop])


def stamp_of(source: str | os.PathLike[str]) -> str:
    """Return a hash that changes with the input: of the names, sizes and times of all its files.

    Of a zarr array that is every chunk: one that is written anew, added or removed is noticed.
    """
    whole = hashlib.sha256()
    for name, status in sorted(_files(Path(source))):
        whole.update(f"{name!r} {status.st_size} {status.st_mtime_ns}\n".encode(errors="surrogateescape"))
    return whole.hexdigest()


def _files(path: Path) -> Iterator[tuple[str, os.stat_result]]:
    try:
        if not path.is_dir():
            yield "", path.stat()
            return
        folders = [""]
        while folders:
            folder = folders.pop()
            with os.scandir(path / folder) as entries:
                for entry in entries:
                    name = f"{folder}{entry.name}"
                    if entry.is_dir():
                        folders.append(f"{name}/")
                    else:
                        yield name, entry.stat()
    except OSError as cause:
        raise DataError(f"{shown(path)} cannot be read: {cause.strerror or cause}") from None
