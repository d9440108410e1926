"""NumPy: the CPU, and the library that files are read with."""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import threadpoolctl

from anyback._typing import Array
from anyback.backends._machine import usable_cores
from anyback.backends._settings import Setting
from anyback.backends.base import Backend

__all__ = ["NumPy", "one_blas_thread"]


@functools.cache
def _controller() -> threadpoolctl.ThreadpoolController:
    # Finding the loaded BLAS takes milliseconds, changing its setting microseconds.
    return threadpoolctl.ThreadpoolController()


def _limit_threads(number: int) -> Callable[[], object]:
    _take_control()
    limited = _controller().limit(limits=number, user_api="blas")

    def put_back() -> None:
        _take_control()
        limited.restore_original_limits()
        _take_control()  # or rather leave it, to whoever comes next

    return put_back


def _take_control() -> None:
    # A newer threadpoolctl lets OpenBLAS listen to the first thread that asked alone, and tells the others nothing.
    controller = getattr(threadpoolctl, "OpenBLASController", None)
    if clear := getattr(controller, "clear_controlling_thread", None):
        clear(force=True)


_threads = Setting("the number of BLAS threads", _limit_threads)


def one_blas_thread() -> AbstractContextManager[Any]:
    """Return a scope in which NumPy's matrix products use one thread.

    A BLAS cuts a product between its threads, and the cut decides which kernel computes which row: the last
    bits depend on the number of threads. One thread for each tile, and tiles side by side, is as fast.
    """
    return _threads.held(1)


@dataclass(frozen=True)
class NumPy(Backend):
    name: ClassVar[str] = "numpy"
    package: ClassVar[str] = "numpy"
    namespace: ClassVar[str] = "array_api_compat.numpy"
    tile: ClassVar[int] = 1024
    tiles: ClassVar[int] = 4  # less for Python to do in each thread while the others wait for it

    @property
    def workers(self) -> int:
        return min(usable_cores(), 8)  # beyond, memory is what keeps them waiting

    def asarray(self, x: Array) -> Array:
        if self.device not in (None, "cpu"):
            raise self.no_such_device()
        return x

    def device_of(self, x: Array) -> str | None:
        return "cpu"

    def widest_float(self, x: Array) -> str:
        return "float64"

    def steady(self) -> AbstractContextManager[Any]:
        return one_blas_thread()

    def softmax(self, x: Array) -> Array:
        # NumPy takes short rows one by one; the columns of a transposed copy it takes all at a time.
        short = x.ndim == 2 and x.shape[1] <= 64
        y = np.array(x.T if short else x, order="C")
        axis = 0 if short else -1
        y -= np.maximum.reduce(y, axis=axis, keepdims=True)
        np.exp(y, out=y)
        y /= np.add.reduce(y, axis=axis, keepdims=True)
        return y.T if short else y

    def sigmoid(self, x: Array) -> Array:
        # One exponential instead of two, in one piece of memory. Where it overflows, the quotient is 0, as it should.
        y = np.empty(x.shape, x.dtype)
        with np.errstate(over="ignore"):
            np.exp(np.negative(x, out=y), out=y)
        y += 1
        return np.reciprocal(y, out=y)
