"""NumPy: the CPU, and the library that files are read with."""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import threadpoolctl

from anyback._typing import Array
from anyback.backends._machine import multiplies_small, usable_cores
from anyback.backends._numpy_products import guarded, one_by_one, stacked
from anyback.backends._settings import Setting
from anyback.backends._ways import Way, chosen_way, tile_in_hand
from anyback.backends.base import Backend
from anyback.numbers import largest_of

if TYPE_CHECKING:
    from anyback.layers import Sequential

__all__ = ["NumPy", "one_blas_thread", "without_underflow"]

#: Rows of one product. The small number is for a BLAS with kernels that take small products as they lie, 24 rows at a
#: time and up to so many multiply-adds: the first layer of mnist-mlp takes 7.6 ms for 10,000 images, and 8.5 in
#: products of 256.
_SMALL, _SMALL_PRODUCT = 24, 1_000_000
_LARGE = 8 * _SMALL


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


def without_underflow() -> AbstractContextManager[Any]:
    """Return a scope in which NumPy takes small numbers as 0, as everywhere, where the caller has it raise for that."""
    return np.errstate(under="ignore")


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

    def precision(self, name: str) -> AbstractContextManager[Any]:
        return without_underflow()

    def steady(self) -> AbstractContextManager[Any]:
        return one_blas_thread()

    def packed(self, tile: Array) -> Array:
        return np.ascontiguousarray(tile)

    def grain(self, net: Sequential, precision: str, dtype: str) -> int:
        if not net.rowwise:
            return self.tile
        grains = [1]
        for weight in net.arrays:
            if weight.ndim == 2:
                kind = np.result_type(dtype, weight.dtype) if dtype.startswith("float") else weight.dtype
                grains.append(chosen_way(self, precision, *weight.shape, kind.name).grain)
        return max(grains)

    def ways(self, width: int, outputs: int, dtype: str) -> tuple[Way, ...]:
        small = _SMALL * width * outputs <= _SMALL_PRODUCT and multiplies_small()

        def stack(rows: int, grain: int) -> Way:
            return Way(f"stacks of {rows} rows", rows, grain, functools.partial(stacked, rows=rows))

        as_they_are = [stack(_SMALL, _SMALL)] if small else [stack(_LARGE, _SMALL), stack(_LARGE, _LARGE)]
        if dtype not in ("float32", "float64"):  # no BLAS multiplies these: NumPy takes each sum for itself
            return tuple(as_they_are[:1])
        return (
            *as_they_are,
            Way("guard columns", _LARGE, _SMALL, functools.partial(guarded, rows=_LARGE)),
            stack(8, 8),
            Way("single rows", 1, 1, one_by_one),
        )

    def product(self, x: Array, weight: Array, bias: Array | None) -> Array:
        if not weight.dtype.isnative:
            weight = weight.astype(weight.dtype.newbyteorder("="))
        y = (x if x.dtype == weight.dtype else x.astype(weight.dtype)).dot(weight)
        return y if bias is None else np.add(y, bias, out=y if y.ndim else None)

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
        tile = tile_in_hand()
        own = tile is not None and tile.ours and x is tile.made
        y = np.negative(x, out=x if own else np.empty(x.shape, x.dtype))
        with np.errstate(over="ignore"):
            np.exp(y, out=y)
        y += 1
        return np.reciprocal(y, out=y)
