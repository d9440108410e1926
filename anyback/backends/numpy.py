"""NumPy: the CPU, and the library that files are read with."""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import AbstractContextManager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import threadpoolctl

from anyback._typing import Array
from anyback.backends._machine import multiplies_small, usable_cores
from anyback.backends._scratch import Scratch
from anyback.backends._settings import Setting
from anyback.backends.base import Backend, largest_of

if TYPE_CHECKING:
    from anyback.layers import Sequential

__all__ = ["NumPy", "one_blas_thread"]

#: Rows of one product. A tile is multiplied as a stack of such products, so that a row's bits do not depend on how many
#: there are. The small number is for a BLAS with kernels that take small products as they lie, 24 rows at a time and up
#: to so many multiply-adds: the first layer of mnist-mlp takes 7.6 ms for 10,000 images, and 8.5 in products of 256.
_SMALL, _SMALL_PRODUCT = 24, 1_000_000
_LARGE = 8 * _SMALL
#: Bytes of integers cast to floats that are multiplied while they are in the cache.
_CAST = 3 * 2**18

_floats = Scratch()


@dataclass(eq=False)
class _Tile:
    """What `predict` is computing: whether only layers of ours see it, and what the last linear one of them made."""

    ours: bool
    made: Array = None


_tile: ContextVar[_Tile | None] = ContextVar("anyback_tile", default=None)


@functools.cache
def _controller() -> threadpoolctl.ThreadpoolController:
    # Finding the loaded BLAS takes milliseconds, changing its setting microseconds.
    return threadpoolctl.ThreadpoolController()


def _limit_threads(number: int) -> Callable[[], object]:
    libraries = [library for library in _controller().lib_controllers if library.user_api == "blas"]
    before = [library.get_num_threads() for library in libraries]

    def set_threads(numbers: list[int]) -> None:
        _take_control()
        for library, wanted in zip(libraries, numbers, strict=True):
            library.set_num_threads(wanted)
        _take_control()  # or rather leave it, to whoever comes next

    if any(threads != number for threads in before):
        set_threads([number] * len(libraries))
        return lambda: set_threads(before)
    return lambda: None


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
    tile: ClassVar[int] = 10 * _LARGE

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

    def compile(self, net: Sequential) -> Callable[[Array, int], Array]:
        def forward(tile: Array, count: int) -> Array:
            token = _tile.set(_Tile(net.rowwise))
            try:
                return net.forward(np.ascontiguousarray(tile))
            finally:
                _tile.reset(token)

        return forward

    def grain(self, net: Sequential) -> int:
        if not net.rowwise:
            return self.tile
        return max((_rows_of_product(x) for x in net.arrays if x.ndim == 2), default=_SMALL)

    def linear(self, x: Array, weight: Array, bias: Array | None) -> Array:
        if not weight.dtype.isnative:
            weight = weight.astype(weight.dtype.newbyteorder("="))
        tile = _tile.get()
        if tile and x.ndim == 2:  # elsewhere, one large product may use all of the BLAS's threads
            rows = _rows_of_product(weight)
            if x.shape[0] and not x.shape[0] % rows:
                y = _product(x, weight, rows)
                if bias is not None:
                    # A short row is added again and again more slowly than a block of rows.
                    y = _added(y, bias[None].repeat(rows, axis=0))
                tile.made = y.reshape(x.shape[0], weight.shape[1])
                return tile.made
        if x.dtype != weight.dtype:
            x = x.astype(weight.dtype)
        y = x.dot(weight)
        return y if bias is None else _added(y, bias)

    def softmax(self, x: Array, dtype: np.dtype) -> Array:
        # NumPy takes short rows one by one; the columns of a transposed copy it takes all at a time.
        short = x.ndim == 2 and x.shape[1] <= 64
        along: dict[str, Any] = {} if short or x.ndim == 1 else {"axis": -1, "keepdims": True}
        y, largest = (x.T if short else x).astype(np.float64, order="C"), largest_of(dtype)
        np.minimum(np.maximum(y, -largest, out=y), largest, out=y)
        y -= np.maximum.reduce(y, **along)
        np.exp(y, out=y)
        y /= np.add.reduce(y, **along)
        return (y.T if short else y).astype(dtype, order="C")

    def sigmoid(self, x: Array) -> Array:
        # One exponential instead of two, in one piece of memory. Where it overflows, the quotient is 0, as it should.
        # In a tile nobody looks at what a linear layer gave but the layer behind it.
        tile = _tile.get()
        own = tile is not None and tile.ours and x is tile.made
        y = np.negative(x, out=x if own else np.empty(x.shape, x.dtype))
        with np.errstate(over="ignore"):
            np.exp(y, out=y)
        y += 1
        return np.reciprocal(y, out=y)


def _rows_of_product(weight: Array) -> int:
    return _SMALL if _SMALL * weight.size <= _SMALL_PRODUCT and multiplies_small() else _LARGE


def _added(y: Array, bias: Array) -> Array:
    if bias.dtype == y.dtype:
        y += bias  # nobody else has seen `y`
        return y
    return y + bias


def _product(x: Array, weight: Array, rows: int) -> Array:
    """Return ``x @ weight`` as a stack of products of so many rows each, shape (n / rows, rows, out_features)."""
    width, outputs = weight.shape
    x = x.reshape(x.shape[0] // rows, rows, width)
    if x.dtype == weight.dtype:
        return np.matmul(x, weight)
    y = np.empty((len(x), rows, outputs), weight.dtype)
    step = max(1, _CAST // max(1, rows * width * weight.itemsize))
    floats = _floats.array((min(step, len(x)), rows, width), weight.dtype)
    for start in range(0, len(x), step):
        part = x[start : start + step]
        cast = floats[: len(part)]
        cast[...] = part
        np.matmul(cast, weight, out=y[start : start + step])
    return y
