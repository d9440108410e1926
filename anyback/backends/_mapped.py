"""A read-only memory map, described by its place in its file: another process opens it there, so no bytes are sent."""

from __future__ import annotations

import mmap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from anyback.errors import DataError

__all__ = ["Mapped", "mapped"]


@dataclass(frozen=True)
class Mapped:
    """The place of a read-only memory map in its file, with the parts of an array that Dask asks for.

    Parameters
    ----------
    path : str
        The file.
    start : int
        The byte at which the first number begins.
    shape, strides : tuple of int
        Those of the array; strides in bytes, none negative.
    dtype : numpy.dtype
        That of the array.
    state : tuple of int
        The size of the file in bytes and the time of its last change in nanoseconds: the file may not change.
    """

    path: str
    start: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: np.dtype
    state: tuple[int, int]

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    def __getitem__(self, index: Any) -> np.ndarray:
        """Return a part of the array, or raise `DataError` where the file has changed."""
        return self.opened()[index]

    def opened(self) -> np.ndarray:
        """Return the array as a memory map, whose numbers are read from the file when they are used."""
        try:
            state = _state(self.path)
            if state == self.state:
                last = sum(step * (size - 1) for step, size in zip(self.strides, self.shape, strict=True))
                memory = np.memmap(self.path, np.uint8, "r", self.start, (last + self.dtype.itemsize,))
                return np.ndarray(self.shape, self.dtype, memory, 0, self.strides)
        except OSError as error:
            raise DataError(f"the input's file {self.path} cannot be read again: {error.strerror or error}") from None
        raise DataError(
            f"the input's file {self.path} has changed since the answer was asked for; keep it until the answer has "
            "been computed, or ask again"
        )


def mapped(x: Any) -> Mapped | None:
    """Return the place of a read-only memory map in its file; None where `x` is none, or its file was replaced."""
    known = isinstance(x, np.memmap) and x.mode == "r" and x.filename is not None
    if not known or not x.size or min(x.strides, default=-1) < 0:
        return None
    # A part of a map has the offset of the whole map, so the place is computed from the address.
    begin = np.frombuffer(x._mmap, np.uint8).ctypes.data
    start = x.offset - x.offset % mmap.ALLOCATIONGRANULARITY + x.ctypes.data - begin
    try:
        path = str(Path(x.filename).resolve())
        found = Mapped(path, start, x.shape, x.strides, x.dtype, _state(path))
        # The file may have been replaced or removed since it was mapped. A look at two rows costs a page each.
        same = all(found.opened()[i].tobytes() == x[i].tobytes() for i in (0, -1))
    except (OSError, DataError):
        return None
    return found if same else None


def _state(path: str) -> tuple[int, int]:
    found = Path(path).stat()
    return found.st_size, found.st_mtime_ns
