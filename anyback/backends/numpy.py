"""NumPy: the CPU, and the library that files are read with."""

from __future__ import annotations

import dataclasses
import functools
import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any, ClassVar

import numpy as np

from anyback._typing import Array
from anyback.backends._blas import QUIET, one_blas_thread
from anyback.backends._machine import SMALL_PRODUCT, multiplies_small, usable_cores
from anyback.backends._numpy_attention import KERNELS
from anyback.backends._numpy_convolution import Convolution, conv, convolved, max_pool
from anyback.backends._numpy_products import BLOCK, GuardedRows, Stacked, guarded_columns, one_by_one
from anyback.backends._precision import asking, offered_precision
from anyback.backends._programs import Program
from anyback.backends._ways import Behind, Kernel, Product, Way, chosen_way, single_rows
from anyback.backends.base import Backend
from anyback.numbers import FLOATS, PrecisionName

__all__ = ["NumPy", "without_underflow"]

#: Rows of one product. The small number is for a BLAS with kernels that take small products as they lie, 24 rows at a
#: time and up to so many multiply-adds: the first layer of mnist-mlp takes 7.6 ms for 10,000 images, and 8.5 in
#: products of 256.
_SMALL = 24
_LARGE = 8 * _SMALL
#: Rows that kernels for AVX-512 take at a time at least.
_FEW = 4
#: The most rows between guards, so few that OpenBLAS does not cut the product, which it does from 320 rows on.
_GUARDED = 304


def without_underflow() -> AbstractContextManager[Any]:
    """Return a scope in which NumPy takes small numbers as 0, as everywhere, where the caller has it raise for that."""
    return np.errstate(under="ignore")


#: Numbers that are computed while they are in the cache.
_SOME = 2**13
#: The largest finite number of float32.
_LARGEST = FLOATS["float32"].largest


#: The number 1 by the type: NumPy converts Python's number anew in each call, which takes longer than adding a row.
_ONES = {np.dtype(name): np.ones((), name) for name in ("float32", "float64")}


# -- Kernels ------------------------------------------------------------------------------------------
# Where one can overwrite its first argument, that saves memory which the system would fill with zeros first.


def _linear(x: Array, weight: Array, bias: Array | None = None) -> Array:
    if not weight.dtype.isnative:
        weight = weight.astype(weight.dtype.newbyteorder("="))
    y = x.dot(weight)
    if bias is None:
        return y
    # NumPy adds arrays of one shape in half the time, and a product of one row takes no longer than that.
    return np.add(y, bias[None] if y.shape[0] == 1 < y.ndim else bias, out=y)


def _pixels(x: Array, largest: Array) -> Array:
    # One image takes half the time that it takes in a cast and a division, through the namespace of the standard.
    if x.dtype.kind in "iu":
        return np.divide(x, largest, dtype=largest.dtype)
    return x.astype(largest.dtype) if x.dtype.kind == "b" else x


def _softmax(x: Array) -> Array:
    if x.dtype != np.float32 or not x.size:  # float64 has no wider type
        return NotImplemented
    short = x.shape[-1] <= 64
    if short and x.size == x.shape[-1]:
        return _softmax_of_one(x)
    # NumPy takes short rows one by one; the columns of a transposed copy it takes all at a time.
    short = short and x.ndim > 1
    y = (x.reshape(-1, x.shape[-1]).T if short else x).astype(np.float64, order="C")
    along: dict[str, Any] = {} if short else {"axis": -1, "keepdims": True}
    top = np.maximum.reduce(y, **along)
    if not (np.minimum.reduce(top, axis=None) > -_LARGEST and np.maximum.reduce(top, axis=None) <= _LARGEST):
        # Beside the least number, one that is infinite counts as well: elsewhere its exponential is 0 anyhow.
        np.minimum(np.maximum(y, -_LARGEST, out=y), _LARGEST, out=y)
        top = np.maximum.reduce(y, **along)
    y -= top
    np.exp(y, out=y)
    y /= np.add.reduce(y, **along)
    return (y.T.reshape(x.shape) if short else y).astype(np.float32, order="C")


def _softmax_of_one(x: Array) -> Array:
    """Return the softmax of one short row, with the bits that it has in the columns of many."""
    y = x.astype(np.float64, order="C")
    top = y.item(y.argmax())  # a third of the time of a reduction
    if not -_LARGEST < top <= _LARGEST:
        np.minimum(np.maximum(y, -_LARGEST, out=y), _LARGEST, out=y)
        top = y.item(y.argmax())
    np.subtract(y, top, out=y)
    np.exp(y, out=y)
    # One number after the other, as columns are added up; a reduction of a row takes them in another order.
    np.divide(y, np.add.accumulate(y.reshape(-1))[-1], out=y)
    return y.astype(np.float32)


@np.errstate(over="ignore")
def _sigmoid(x: Array, out: Array | None = None) -> Array:
    # One exponential instead of two, in one piece of memory. Where it overflows, the quotient is 0, as it should.
    y = np.negative(x, out=out)
    if not y.ndim:  # a number of NumPy's, which cannot be written to
        y = np.asarray(y)
    _sigmoid_of_negative(y)
    return y


def _sigmoid_of_negative(y: Array) -> None:
    np.exp(y, out=y)
    np.add(y, _ONES.get(y.dtype, 1), out=y)
    np.reciprocal(y, out=y)


def _relu(x: Array, out: Array | None = None) -> Array:
    return _of_both(np.maximum, x, 0, out)


def _clip(x: Array, out: Array | None = None, *, low: float | None = None, high: float | None = None) -> Array:
    if low is not None:
        x = out = _of_both(np.maximum, x, low, out)
    return x if high is None else _of_both(np.minimum, x, high, out)


def _of_both(function: np.ufunc, x: Array, number: float, out: Array | None) -> Array:
    """Return the maximum or the minimum of each number of an array and another number.

    NumPy compares two arrays in a quarter of the time that it takes for an array and a number.
    """
    if x.size < 2 * _SOME or x.dtype.name not in ("float32", "float64"):
        return np.asarray(function(x, number, out=out))
    flat, beside = x.ravel("K"), np.full(_SOME, number, x.dtype)
    y = np.empty_like(x) if out is None else out
    found = y.ravel("K")
    if flat.flags.owndata or found.flags.owndata:  # a copy, since the numbers do not lie side by side
        return np.asarray(function(x, number, out=out))
    whole = x.size - x.size % _SOME
    function(flat[:whole].reshape(-1, _SOME), beside, out=found[:whole].reshape(-1, _SOME))
    function(flat[whole:], beside[: x.size - whole], out=found[whole:])
    return y


#: erf(x) / x as a quotient of polynomials in x**2, up to where erf is 1 in float32: to within 2e-9 of it. By least
#: squares of the relative error, weighted anew until it was level, as of Loeb (1957).
_ERF = (
    (-1.289728005e-08, 4.627388543e-06, 0.0003774443294, 0.003841412627, 0.05426198322, 0.1851557054, 1.128379169),
    (6.256977435e-05, 0.001303006585, 0.01543805949, 0.1138957336, 0.4974233795, 1.0),
)
_ERF_IS_ONE = 3.93


def _erf(x: Array) -> Array:
    # In float64, so that what is rounded is the answer alone: an eighth of the time of the op's function, as the
    # transformer of benchmarks/run.py shows.
    if x.dtype != np.float32:
        return NotImplemented
    flat, y = x.reshape(-1), np.empty(x.shape, np.float32)
    out = y.reshape(-1)
    for start in range(0, x.size, _SOME):
        z = np.clip(flat[start : start + _SOME], -_ERF_IS_ONE, _ERF_IS_ONE).astype(np.float64)
        square = z * z
        above, below = (_polynomial(numbers, square) for numbers in _ERF)
        above *= z
        out[start : start + _SOME] = np.divide(above, below, out=above)
    return y


def _polynomial(numbers: tuple[float, ...], x: Array) -> Array:
    first, second, *others = numbers
    y = first * x
    y += second
    for number in others:
        y *= x
        y += number
    return y


#: The kernels of NumPy by the names of ops.
_OWN = {
    # It costs half a microsecond, where Accelerate may multiply.
    "linear": Kernel(QUIET(_linear) if sys.platform == "darwin" else _linear),
    "conv": Kernel(conv, keeping=Convolution),
    "max_pool": Kernel(max_pool),
    "pixels": Kernel(_pixels),
    "softmax": Kernel(_softmax, partial=True, columns=True),
    "sigmoid": Kernel(_sigmoid, lambda x: _sigmoid(x, x), behind=Behind(_sigmoid_of_negative, negative=True)),
    "add": Kernel(np.add, lambda x, y: np.add(x, y, out=x)),
    "relu": Kernel(_relu, lambda x: _relu(x, x), behind=Behind(lambda x: _relu(x, x))),
    "clip": Kernel(_clip, lambda x, **bounds: _clip(x, x, **bounds)),
    "erf": Kernel(_erf, partial=True),
    "tanh": Kernel(np.tanh, lambda x: np.tanh(x, out=x), behind=Behind(lambda x: np.tanh(x, out=x))),
    **KERNELS,
}


class NumPy(Backend):
    name: ClassVar[str] = "numpy"
    package: ClassVar[str] = "numpy"
    namespace: ClassVar[str] = "anyback.backends._numpy_namespace"
    own: ClassVar[Mapping[str, Kernel]] = _OWN
    tile: ClassVar[int] = 10 * _LARGE
    step: ClassVar[int] = _LARGE
    rows_apart: ClassVar[bool] = True  # matmul calls the BLAS for each matrix of a stack; loops are along the memory

    def version(self) -> str:
        return np.__version__  # to import what reads it of the distribution takes 10 ms

    @property
    def on_host(self) -> bool:
        return True

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

    def in_settings(self, program: Program, precision: PrecisionName | None = None) -> Program:
        run = np.errstate(under="ignore")(program)  # as a decorator it takes half as long as in a ``with`` block
        if precision is not None:
            return asking(precision, run)

        def call(values: list[Array]) -> tuple[Array, ...]:
            offered_precision(self)
            return run(values)

        return call

    def one_thread(self) -> AbstractContextManager[Any]:
        return one_blas_thread()

    def contiguous(self, tile: Array) -> Array:
        return np.ascontiguousarray(tile)

    def ways(self, product: Product) -> tuple[Way, ...]:
        if product.op == "linear":
            return _linear_ways(product)
        if product.op == "conv":
            return Way("a product for each image", 1, 1, convolved), single_rows(conv)
        return super().ways(product)


def _linear_ways(product: Product) -> tuple[Way, ...]:
    """Return the ways of a linear layer: stacks of small products."""
    small = _SMALL * product.multiply_adds <= SMALL_PRODUCT and multiplies_small()

    def stack(rows: int, multiple: int) -> Way:
        name = f"stacks of {rows} rows" if multiple == _FEW else f"stacks of {rows} rows, in multiples of {multiple}"
        ready = functools.partial(Stacked, rows=rows, multiple=multiple)
        return Way(name, rows, 1, ready, fills=multiple, fuses=True, chains=True)

    # The smaller the multiple, the faster one row is.
    sizes = [(_SMALL, _FEW), (_SMALL, _SMALL)] if small else [(_LARGE, _FEW), (_LARGE, _SMALL), (_LARGE, _LARGE)]
    as_they_are = [stack(*size) for size in sizes]
    if product.dtype not in ("float32", "float64"):  # no BLAS multiplies these: NumPy takes each sum for itself
        return tuple(as_they_are[:1])
    rows = next(rows for rows in range(_GUARDED, 0, -BLOCK) if product.tile % rows == 0 or rows == BLOCK)
    guarded = functools.partial(GuardedRows, rows=rows)
    guards = Way("guard rows", rows, 1, guarded, fills=BLOCK, fuses=True, chains=True, columns=True)
    multiple = _SMALL // 2
    between = functools.partial(guarded_columns, rows=_LARGE, multiple=multiple)
    last = (
        Way("guard columns", _LARGE, 1, between, fills=multiple, fuses=True),
        stack(8, 8),
        Way("single rows", 1, 1, one_by_one, fuses=True),
    )
    typical = dataclasses.replace(product, sample=(64,), shapes=((64, 64), None), tile=_LARGE, multiply_adds=64 * 64)
    # Where most products need guards, those that need none take them as well: then no value is transposed between.
    if small or product == typical or chosen_way(NumPy(), "highest", typical).name != guards.name:
        return *as_they_are, guards, *last
    return guards, *as_they_are, *last
