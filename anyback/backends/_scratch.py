"""Memory that is used again and again, since the system fills each page of new memory with zeros first."""

from __future__ import annotations

import math
import threading
from typing import Any

import numpy as np

__all__ = ["ALIGNMENT", "aligned", "scratch"]

#: Bytes of which the address of an array has to be a multiple for a library to take it as it lies.
ALIGNMENT = 64
#: The most bytes that a thread keeps.
_MOST = 2**24


class _Kept(threading.local):
    memory = np.empty(0, np.uint8)


_kept = _Kept()


def aligned(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Return an array with nothing in particular in it, whose address is a multiple of `ALIGNMENT`."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    return _array_in(np.empty(size + ALIGNMENT, np.uint8), size, shape, dtype)


def scratch(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Return such an array in memory that the next call of this thread uses again, unless it is very large."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    if size > _MOST:
        return aligned(shape, dtype)
    if _kept.memory.size < size + ALIGNMENT:
        _kept.memory = np.empty(size + ALIGNMENT, np.uint8)
    return _array_in(_kept.memory, size, shape, dtype)


def _array_in(memory: np.ndarray, size: int, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    start = -memory.ctypes.data % ALIGNMENT
    return memory[start : start + size].view(dtype).reshape(shape)
