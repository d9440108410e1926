"""Arrays that carry a value and a bound on its error, and the rules by which the bounds grow.

A `Bounded` array holds float64 values and bounds: whatever a library computes in its own floating-point type, in
any order of summation, lies within the bound of the value. It implements what the forward pass uses of the standard,
so a network runs on it unchanged. Each rule adds three things: how far the errors of the operands reach through the
exact operation, the rounding of that library, and the rounding of the float64 here.

The rules, with u the unit roundoff of the array's type (2**-24 for float32) and 2**-53 added to it for float64 here:

- Sum, difference, product: the exact operation on intervals, then a relative error of u. Quotient: 4 u, since
  some compilers multiply by a rounded reciprocal.
- Sum or inner product of n terms: n u / (1 - n u) times the sum of the absolute values, in every order of summation,
  with or without fused multiply-add (Higham, *Accuracy and Stability of Numerical Algorithms*, 2nd ed., SIAM 2002,
  section 3.1). Terms that are exactly 0 add no error and are not counted. The bias of a product is a term like the
  others, since a library may begin with it. Products by other means than sums of products, such as Winograd's
  transforms of small filters, are not covered.
- Operands shortened before a product, to TF32 (11 significant bits) or bfloat16 (8): rounding is monotone, so the
  rounded ends of an operand's interval hold it, and what is known exactly, as weights are, is known rounded too.
  A library may round both operands to nearest, ties either way, cut both off, or leave them; the bound holds for all.
  Tensor cores cut off where others round, so their sums take 2 u for u (Fasi, Higham, Mikaitis, Pranesh, "Numerical
  behavior of NVIDIA tensor cores", PeerJ Computer Science 7:e330, 2021).
- exp, expm1, log, log1p, tanh, sqrt, erfc: monotone, so the values at the ends of the operand's interval bound the
  result; then 4 units in the last place, and for erfc(x) x**2 times as many where that is more, since the rounding of
  x**2 passes through an exponential. The libraries' functions are within 2.5 on the CPUs measured (expm1 on JAX within
  3.2; anyback's own tanh, which JAX takes, within 4) and within 2 by CUDA's documentation.
- Results below the smallest normal number may be flushed to 0: that number is added to each bound, unless the result
  is 0 exactly.
- Results that may lie above the largest number may be infinite, and what follows from them anything.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np

from anyback._typing import DType
from anyback.bounds._bounded import OURS, Bounded, gamma
from anyback.bounds._shortened import Interval, as_it_is, cut_off, to_nearest
from anyback.errors import BackendError
from anyback.numbers import FLOATS, PRECISIONS

__all__ = ["Arithmetic"]

_ULPS = 4


def _monotone(
    function: Callable[[np.ndarray], np.ndarray], ulps: Callable[[Bounded], Any] = lambda x: _ULPS
) -> Callable[[Arithmetic, Bounded], Bounded]:
    """Return the rule of a function that only rises or only falls, whose results are off by so many units."""

    def rule(self: Arithmetic, x: Bounded) -> Bounded:
        value = function(x.value)
        above, below = function(x.value + x.bound), function(x.value - x.bound)
        reach = np.where(x.bound == 0, 0, np.maximum(np.abs(above - value), np.abs(value - below)))
        reach = np.where(np.isfinite(x.bound), reach, np.inf)  # what may be anything may be nan, and stays it
        smallest = FLOATS[x.dtype.name].smallest  # a library's own function of 0 need not be 0 exactly
        return x.rounded(value, reach + smallest, 2 * ulps(x))

    return rule


@dataclass(frozen=True)
class Arithmetic:
    """The arithmetic of a library as a namespace: what the forward pass uses of the standard, with bounds.

    Parameters
    ----------
    precision : str
        Precision of matrix products: ``"highest"``, ``"tf32"`` or ``"bf16"``.
    """

    precision: str = "highest"

    float16, float32, float64 = (np.dtype(name) for name in ("float16", "float32", "float64"))
    exp = _monotone(np.exp)
    expm1 = _monotone(np.expm1)
    log = _monotone(np.log)
    log1p = _monotone(np.log1p)
    sqrt = _monotone(np.sqrt)
    tanh = _monotone(np.tanh)
    erfc = _monotone(
        np.vectorize(math.erfc, otypes=[np.float64]), lambda x: _ULPS * np.maximum(1, (np.abs(x.value) + x.bound) ** 2)
    )

    @property
    def __name__(self) -> str:
        """The name in error messages."""
        return f"bounds ({self.precision})"

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        raise BackendError(f"there is no rule for the error of {name!r}; add one in anyback/bounds/arithmetic.py")

    def __array_namespace_info__(self) -> SimpleNamespace:
        """Return what the standard asks: the default type, and the only one that every library has, is float32."""
        floats = {"float32": self.float32}
        return SimpleNamespace(
            default_dtypes=lambda device=None: {"real floating": self.float32},
            dtypes=lambda device=None, kind=None: floats,
            devices=lambda: [Bounded.device],
        )

    def asarray(self, x: Any) -> Bounded:
        """Return a NumPy array as one whose values are exact."""
        x = np.asarray(x)
        return Bounded(x.astype(np.float64), np.zeros(x.shape), self, x.dtype)

    def astype(self, x: Bounded, dtype: DType) -> Bounded:
        """Return `x` in another type, which may round it."""
        kind = FLOATS[dtype.name]
        value = x.value.astype(np.float64)
        # A wider type holds every number of a narrower one, and whole numbers of as many bits.
        if x.dtype.kind not in "biu":
            exact = FLOATS[x.dtype.name].significant <= kind.significant
        else:
            exact = bool(np.all(np.abs(value) <= 1 / kind.roundoff))
        rounding = 0 if exact else kind.roundoff * (np.abs(value) + x.bound) + kind.smallest
        return x.with_bound(value, x.bound + rounding, dtype)

    def matmul(self, x: Bounded, y: Bounded) -> Bounded:
        """Return the matrix product of (..., m, k) or (k,) with (..., k, p)."""
        return self.inner(x, y)

    def inner(self, x: Bounded, y: Bounded, bias: Bounded | None = None) -> Bounded:
        """Return the matrix product of (..., m, k) or (k,) with (..., k, p), and a bias that is added to it."""
        if x.ndim == 1:
            return self.inner(x[None, :], y, bias)[0]
        parts = [
            self._products(way(x.value, x.bound), way(y.value, y.bound), bias, x) for way in self._operands(x.dtype)
        ]
        if len(parts) == 1:
            return x.with_bound(*parts[0])
        # The interval that holds those of all ways: cutting off moves a product to one side.
        value, bound = parts[0]
        low, high = value - bound, value + bound
        for value, bound in parts[1:]:
            np.minimum(low, value - bound, out=low)
            np.maximum(high, value + bound, out=high)
        return x.with_bound((low + high) / 2, (high - low) / 2)

    def _products(
        self, x: Interval, y: Interval, bias: Bounded | None, beside: Bounded
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return values and bounds of the product of two intervals, and a bias that is added to it."""
        (x_mid, x_reach), (y_mid, y_reach) = x, y
        asked, kind = PRECISIONS[self.precision], FLOATS[beside.dtype.name]
        size_x, size_y = np.abs(x_mid) + x_reach, np.abs(y_mid) + y_reach
        terms = _fewest(_nonzero(size_x, -1), _nonzero(size_y, -2))
        # Products, and operands before them, may be flushed to 0.
        flushed = np.sum(size_x, axis=-1, keepdims=True) + np.sum(size_y, axis=-2, keepdims=True) + 2 * terms
        value, sums = x_mid @ y_mid, size_x @ size_y
        bound = kind.smallest * flushed
        for left, right in ((x_reach, size_y), (np.abs(x_mid), y_reach)):
            if np.any(left) and np.any(right):  # what is known exactly reaches nowhere
                bound += left @ right
        if bias is not None:
            value += bias.value
            bound += bias.bound
            sums += np.abs(bias.value) + bias.bound
            terms = terms + 1
        rounding = gamma(terms * (asked.roundoffs * kind.roundoff)) + gamma(terms * (3 * OURS))
        overflows = sums > kind.largest / (1 + rounding)  # a part of a sum may overflow that the whole would not
        bound += np.multiply(sums, rounding, out=sums)
        bound[overflows] = np.inf
        return value, bound

    def _operands(self, dtype: DType) -> list[Callable[[np.ndarray, np.ndarray], Interval]]:
        """Return what libraries may do to the operands of a product of this type."""
        bits = PRECISIONS[self.precision].significant
        if bits is None or dtype.name != "float32":
            return [as_it_is]
        return [as_it_is, functools.partial(to_nearest, bits=bits), functools.partial(cut_off, bits=bits)]

    def sum(self, x: Bounded, *, axis: int | tuple[int, ...] | None = None, keepdims: bool = False) -> Bounded:
        """Return the sum along axes, in every order."""
        along: Any = {"axis": axis, "keepdims": keepdims}
        size = np.abs(x.value) + x.bound
        sums, terms = np.sum(size, **along), np.count_nonzero(size, **along)
        kind = FLOATS[x.dtype.name]
        rounding = gamma(terms * kind.roundoff) + gamma(terms * OURS)
        bound = np.sum(x.bound, **along) + rounding * sums + kind.smallest * terms
        return x.with_bound(np.sum(x.value, **along), np.where((1 + rounding) * sums <= kind.largest, bound, np.inf))

    def abs(self, x: Bounded) -> Bounded:
        """Return the absolute value."""
        return x.with_bound(np.abs(x.value), x.bound)

    def square(self, x: Bounded) -> Bounded:
        """Return the square."""
        return x * x

    def sign(self, x: Bounded) -> Bounded:
        """Return the sign, unknown where the interval holds 0."""
        known = (np.abs(x.value) > x.bound) | ((x.value == 0) & (x.bound == 0))  # false where either is nan
        return x.with_bound(np.sign(x.value), np.where(known, 0.0, np.where(np.isfinite(x.bound), 2.0, np.inf)))

    def maximum(self, x: Bounded, y: Any) -> Bounded:
        """Return the larger of two."""
        y = x.other(y)
        value = np.maximum(x.value, y.value)
        with np.errstate(invalid="ignore"):  # of infinities
            above = np.maximum(x.value + x.bound, y.value + y.bound) - value
            below = value - np.maximum(x.value - x.bound, y.value - y.bound)
        found = x.with_bound(value, np.maximum(above, below, out=above))
        if not np.any(lowest := np.isneginf(value)):
            return found
        exact = lowest & (x.bound == 0) & (y.bound == 0)  # padding of a window, which is never the largest
        return dataclasses.replace(found, bound=np.where(exact, 0.0, found.bound))

    def minimum(self, x: Bounded, y: Any) -> Bounded:
        """Return the smaller of two."""
        return -self.maximum(-x, -x.other(y))

    def where(self, condition: Bounded, x: Bounded, y: Any) -> Bounded:
        """Return `x` or `y`; where the condition is open, the bound holds both."""
        y = x.other(y)
        value = np.where(condition.value, x.value, y.value)
        both = np.abs(np.where(condition.value, y.value, x.value) - value) + np.maximum(x.bound, y.bound)
        chosen = np.where(condition.value, x.bound, y.bound)
        return x.with_bound(value, np.where(condition.bound == 0, chosen, both))

    def isnan(self, x: Bounded) -> Bounded:
        """Return whether a value is nan: open where it may be anything."""
        return x.with_bound(np.isnan(x.value), np.where(np.isfinite(x.bound), 0.0, 1.0), np.dtype(bool))

    def reshape(self, x: Bounded, shape: tuple[int, ...]) -> Bounded:
        """Return `x` in another shape."""
        return x.moved(lambda part: part.reshape(shape))

    def permute_dims(self, x: Bounded, axes: tuple[int, ...]) -> Bounded:
        """Return `x` with its axes in another order."""
        return x.moved(lambda part: part.transpose(axes))

    def full(self, shape: tuple[int, ...], value: float, *, dtype: DType, device: str | None = None) -> Bounded:
        """Return an array of one number, which is exact: an infinity too, which is never the largest of a window."""
        return dataclasses.replace(self.asarray(np.full(shape, value)), dtype=dtype)

    def concat(self, arrays: Sequence[Bounded], *, axis: int = 0) -> Bounded:
        """Return arrays one behind the other."""
        return self._joined(np.concatenate, arrays, axis)

    def stack(self, arrays: Sequence[Bounded], *, axis: int = 0) -> Bounded:
        """Return arrays along a new axis."""
        return self._joined(np.stack, arrays, axis)

    def _joined(self, join: Callable[..., np.ndarray], arrays: Sequence[Bounded], axis: int) -> Bounded:
        value, bound = (join(parts, axis=axis) for parts in ([x.value for x in arrays], [x.bound for x in arrays]))
        return Bounded(value, bound, self, arrays[0].dtype)


def _fewest(along_x: np.ndarray, along_y: np.ndarray) -> np.ndarray:
    """Return how many terms of a product are not 0 at most, by the numbers that are not 0 along each operand.

    For the rows of one operand, or the columns of the other: both would take as much memory as the product.
    """
    by_row = np.minimum(along_x, np.max(along_y, initial=0))
    by_column = np.minimum(along_y, np.max(along_x, initial=0))
    return by_row if np.sum(by_row) * by_column.size < np.sum(by_column) * by_row.size else by_column


def _nonzero(x: np.ndarray, axis: int) -> np.ndarray:
    return np.count_nonzero(x, axis=axis, keepdims=True)
