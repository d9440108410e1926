"""Memory that is used again and again, since the system fills each page of new memory with zeros first."""

from __future__ import annotations

import math
import threading
from typing import Any

import numpy as np

__all__ = ["ALIGNMENT", "Scratch", "aligned"]

#: Bytes of which the address of an array has to be a multiple for JAX to take it as it lies.
ALIGNMENT = 64
#: The most bytes that a thread keeps.
_MOST = 2**24


def aligned(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Return an array with nothing in particular in it, at an address that every library takes as it lies."""
    dtype = np.dtype(dtype)
    return np.ndarray(shape, dtype, _aligned_bytes(math.prod(shape) * dtype.itemsize))


def _aligned_bytes(size: int) -> np.ndarray:
    memory = np.empty(size + ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % ALIGNMENT
    return memory[start : start + size]


class Scratch(threading.local):
    """Memory of one purpose, for each thread its own."""

    def __init__(self) -> None:
        self._memory = np.empty(0, np.uint8)

    def array(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        """Return such an array, in memory that the next call of this thread uses again unless it is very large."""
        dtype = np.dtype(dtype)
        size = math.prod(shape) * dtype.itemsize
        if size > _MOST:
            return aligned(shape, dtype)
        if self._memory.size < size:
            self._memory = _aligned_bytes(size)
        return np.ndarray(shape, dtype, self._memory)
