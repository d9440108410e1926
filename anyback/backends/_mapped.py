"""A memory map as where it is in its file: a task that is sent elsewhere opens it there, and takes no bytes along."""

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
    """Where a read-only memory map is: what Dask needs to know of an array, and opened when it is cut.

    Parameters
    ----------
    path : str
        The file.
    start : int
        The byte at which the first number begins.
    shape, strides : tuple of int
        As of the array; strides in bytes, at or above 0.
    dtype : numpy.dtype
        As of the array.
    state : tuple of int
        Size of the file and when it was last changed, in nanoseconds: what is opened later must be the same.
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
        """Return a part of the array, or raise `DataError` where the file is another than it was."""
        return self.opened()[index]

    def opened(self) -> np.ndarray:
        """Return the array, whose numbers are read when they are looked at."""
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
    """Return where in its file a read-only memory map is; None where its file does not show the same numbers."""
    known = isinstance(x, np.memmap) and x.mode == "r" and x.filename is not None
    if not known or not x.size or min(x.strides, default=-1) < 0:
        return None
    # A part of a map says the offset of the whole, so it is the address that counts.
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
