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
    size = math.prod(shape) * np.dtype(dtype).itemsize
    return _array_in(np.empty(size + ALIGNMENT, np.uint8), size, shape, dtype)


class Scratch(threading.local):
    """Memory for one purpose; each thread has its own."""

    def __init__(self) -> None:
        self._memory = np.empty(0, np.uint8)

    def array(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        """Return an uninitialized array; the next call in this thread uses its memory again unless it is very large."""
        size = math.prod(shape) * np.dtype(dtype).itemsize
        if size > _MOST:
            return aligned(shape, dtype)
        if self._memory.size < size + ALIGNMENT:
            self._memory = np.empty(size + ALIGNMENT, np.uint8)
        return _array_in(self._memory, size, shape, dtype)


def _array_in(memory: np.ndarray, size: int, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    start = -memory.ctypes.data % ALIGNMENT
    return memory[start : start + size].view(dtype).reshape(shape)
