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
    size = math.prod(shape) * np.dtype(dtype).itemsize
    return _array_in(np.empty(size + ALIGNMENT, np.uint8), size, shape, dtype)


class Scratch(threading.local):
    """Memory of one purpose, for each thread its own."""

    def __init__(self) -> None:
        self._memory = np.empty(0, np.uint8)

    def array(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        """Return such an array, in memory that the next call of this thread uses again unless it is very large."""
        size = math.prod(shape) * np.dtype(dtype).itemsize
        if size > _MOST:
            return aligned(shape, dtype)
        if self._memory.size < size + ALIGNMENT:
            self._memory = np.empty(size + ALIGNMENT, np.uint8)
        return _array_in(self._memory, size, shape, dtype)


def _array_in(memory: np.ndarray, size: int, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    start = -memory.ctypes.data % ALIGNMENT
    return memory[start : start + size].view(dtype).reshape(shape)
