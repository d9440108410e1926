"""Memory that is used again: new memory is slower, since the system fills each new page with zeros."""

from __future__ import annotations

import math
import threading
from typing import Any

import numpy as np

__all__ = ["ALIGNMENT", "Scratch", "aligned"]

#: JAX takes a NumPy array without a copy where its address is a multiple of this number of bytes.
ALIGNMENT = 64
#: The most bytes that a thread keeps.
_MOST = 2**24


def aligned(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Return an uninitialized array at an address that every library takes without a copy."""
    dtype = np.dtype(dtype)
    return np.ndarray(shape, dtype, _aligned_bytes(math.prod(shape) * dtype.itemsize))


def _aligned_bytes(size: int) -> np.ndarray:
    memory = np.empty(size + ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % ALIGNMENT
    return memory[start : start + size]


class Scratch(threading.local):
    """Memory for one purpose; each thread has its own."""

    def __init__(self) -> None:
        self._memory = np.empty(0, np.uint8)

    def array(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        """Return an uninitialized array; the next call in this thread uses its memory again unless it is very large."""
        dtype = np.dtype(dtype)
        size = math.prod(shape) * dtype.itemsize
        if size > _MOST:
            return aligned(shape, dtype)
        if self._memory.size < size:
            self._memory = _aligned_bytes(size)
        return np.ndarray(shape, dtype, self._memory)
