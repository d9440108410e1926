"""An array that carries a value and a bound on its error, with the rules of Python's operators."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from anyback._typing import DType, Namespace
from anyback.bounds._limits import OURS, common_type, limits
from anyback.errors import BackendError
from anyback.numbers import FLOATS

__all__ = ["Bounded"]

#: The relative error of a bound, which is itself computed in float64, from fewer than a million terms, none negative.
_SLACK = 1 + 2.0**-32


@dataclass(frozen=True, eq=False)
class Bounded:
    """An array of values, with a bound on the distance of every library's value from each.

    Parameters
    ----------
    value : numpy.ndarray
        float64, any shape. Integers are their own values; False and True are 0 and 1.
    bound : numpy.ndarray
        float64, same shape, not negative; inf or nan where nothing is known. An infinite value with the bound 0 is
        exactly that infinity on every library.
    arithmetic : Arithmetic
        The arithmetic that is modelled; it is the namespace of the array.
    dtype : numpy.dtype
        The type that the libraries compute in.
    """

    value: np.ndarray
    bound: np.ndarray
    arithmetic: Namespace
    dtype: DType = field(default=np.dtype(np.float32))

    device = "cpu"
    __array_ufunc__ = None  # NumPy's numbers leave operators to this class

    def __hash__(self) -> int:
        return object.__hash__(self)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape."""
        return self.value.shape

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return self.value.ndim

    @property
    def size(self) -> int:
        """The number of numbers."""
        return self.value.size

    @property
    def T(self) -> Bounded:
        """The transpose."""
        return self.moved(np.transpose)

    @property
    def exact(self) -> np.ndarray:
        """Where the value is the same on every library: booleans of the same shape."""
        return self.bound == 0

    def __array_namespace__(self, api_version: str | None = None) -> Namespace:
        return self.arithmetic

    def __getitem__(self, index: Any) -> Bounded:
        return self.moved(lambda x: x[index])

    # A value that is the same on every library is given to code that asks for it; any other is an error.

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if not np.all(self.exact):
            raise BackendError("the network asks for values on the host, which rounding may change: no rule follows it")
        return self.value.astype(self.dtype if dtype is None else dtype)

    def __bool__(self) -> bool:
        return bool(np.asarray(self))

    def __int__(self) -> int:
        return int(np.asarray(self))

    def __float__(self) -> float:
        return float(np.asarray(self))

    def __index__(self) -> int:
        return int(self)

    def moved(self, function: Callable[[np.ndarray], np.ndarray]) -> Bounded:
        """Return the same numbers at other places: `function` is applied to the values and to the bounds."""
        value, bound = (np.asarray(function(part)) for part in (self.value, self.bound))
        return Bounded(value, bound, self.arithmetic, self.dtype)

    def widened(self, bound: Any) -> Bounded:
        """Return the same values with `bound` added to their bounds."""
        return self.with_bound(self.value, self.bound + bound)

    def with_bound(self, value: Any, bound: Any, dtype: DType | None = None, fits: Any = False) -> Bounded:
        """Return an array of the same arithmetic with these values and bounds; `fits` says where none can overflow."""
        dtype = dtype or self.dtype
        value, bound = np.asarray(value, np.float64), np.asarray(bound) * _SLACK
        largest = limits(dtype).largest
        inside = np.abs(value) + bound <= largest
        if dtype.name not in FLOATS:  # integers wrap around
            inside &= value - bound >= (-largest - 1 if dtype.kind == "i" else 0)
            inside |= dtype.kind == "b"  # the interval of a boolean that may be either reaches beyond 0 and 1
        # A number that may overflow may be anything. An infinity that was put in stays one.
        inside |= (np.isinf(value) & (bound == 0)) | fits
        return Bounded(value, np.where(inside, bound, np.inf), self.arithmetic, dtype)

    def known(self, exact: np.ndarray) -> Bounded:
        """Return the same values, with the bound 0 where `exact` is true."""
        return dataclasses.replace(self, bound=np.where(exact, 0.0, self.bound)) if np.any(exact) else self

    def truth(self, value: Any, known: Any) -> Bounded:
        """Return booleans: `value` where `known` is true, and elsewhere False or True, either of which may come."""
        return self.with_bound(value, np.where(known, 0.0, 1.0), np.dtype(bool))

    def rounded(self, value: Any, bound: Any, roundoffs: Any = 1) -> Bounded:
        """Return the result of one operation, whose rounding is added to `bound`, the error from the operands."""
        kind = limits(self.dtype)
        if not kind.roundoff:
            return self.with_bound(value, bound)
        size = np.abs(value) + bound
        # An exact 0 stays 0 where small numbers are flushed. In float64, a 0 may come of an underflow here.
        flushed = kind.smallest * (size > 0) if kind.bits < 64 else kind.smallest
        # A result that is at most the largest number is not rounded to more: masks add that number to scores.
        fits = (size <= kind.largest) & (kind.bits < 64 and np.ndim(roundoffs) == 0 and roundoffs == 1)
        return self.with_bound(value, bound + roundoffs * (kind.roundoff + 2 * OURS) * size + flushed, fits=fits)

    def cast(self, dtype: DType) -> Bounded:
        """Return the numbers in another type, which may round them."""
        if dtype == self.dtype:
            return self
        kind, value = limits(dtype), self.value
        if dtype.kind == "b":
            return self != 0
        if not kind.roundoff:  # to integers: the fraction is cut off
            low, high = self.ends()
            middle = np.trunc(value)
            return self.with_bound(middle, np.maximum(np.trunc(high) - middle, middle - np.trunc(low)), dtype)
        # A wider type holds every number of a narrower one, and every whole number of at most its significant bits.
        if limits(self.dtype).roundoff:
            held = limits(self.dtype).significant <= kind.significant
        else:
            held = bool(np.all(np.abs(value) + self.bound <= 1 / kind.roundoff))
        rounding = 0 if held else kind.roundoff * (np.abs(value) + self.bound) + kind.smallest
        return self.with_bound(value, self.bound + rounding, dtype)

    def ends(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the lower and the upper ends of the intervals, rounded outwards; an exact number is both its ends."""
        low, high = self.value - self.bound, self.value + self.bound
        return (
            np.where(self.exact, self.value, np.nextafter(low, -np.inf)),
            np.where(self.exact, self.value, np.nextafter(high, np.inf)),
        )

    def other(self, other: Any) -> Bounded:
        """Return the other operand of an operation as an array; a Python number is rounded to this array's type."""
        if isinstance(other, Bounded):
            return other
        if np.ndim(other):
            raise BackendError("arrays that carry bounds do not mix with others")
        dtype = self.dtype
        if not limits(dtype).roundoff:  # an integer beside integers stays one
            is_whole = isinstance(other, (bool, int, np.bool_, np.integer))
            dtype = (np.dtype(np.int32) if dtype.kind == "b" else dtype) if is_whole else np.dtype(np.float32)
            dtype = self.dtype if isinstance(other, (bool, np.bool_)) else dtype
        number = float(other)
        held = number == float(np.asarray(other).astype(dtype)) or not math.isfinite(number)
        return self.with_bound(np.float64(other), 0.0 if held else limits(dtype).roundoff * abs(number), dtype)

    def pair(self, other: Any) -> tuple[Bounded, Bounded]:
        """Return both operands of an operation, in their common type."""
        y = self.other(other)
        if self.dtype == y.dtype:
            return self, y
        dtype = common_type(self.dtype, y.dtype)
        return self.cast(dtype), y.cast(dtype)

    def __neg__(self) -> Bounded:
        return self.with_bound(-self.value, self.bound)

    def __pos__(self) -> Bounded:
        return self

    def __abs__(self) -> Bounded:
        return self.with_bound(np.abs(self.value), self.bound)

    def __add__(self, other: Any) -> Bounded:
        x, y = self.pair(other)
        value = x.value + y.value
        return x.rounded(value, x.bound + y.bound).known(_stays_infinite(value, x, y))

    def __sub__(self, other: Any) -> Bounded:
        x, y = self.pair(other)
        value = x.value - y.value
        return x.rounded(value, x.bound + y.bound).known(_stays_infinite(value, x, y))

    def __rsub__(self, other: Any) -> Bounded:
        return self.other(other) - self

    def __mul__(self, other: Any) -> Bounded:
        x, y = self.pair(other)
        value = x.value * y.value
        bound = np.abs(x.value) * y.bound + x.bound * (np.abs(y.value) + y.bound)
        infinite = _stays_infinite(value, x, y) & (np.abs(x.value) > x.bound) & (np.abs(y.value) > y.bound)
        return x.rounded(value, bound).known(infinite)

    def __matmul__(self, other: Bounded) -> Bounded:
        return self.arithmetic.inner(self, other)

    def __truediv__(self, other: Any) -> Bounded:
        x, y = self.pair(other)
        if not limits(x.dtype).roundoff:
            x, y = x.cast(np.dtype(np.float32)), y.cast(np.dtype(np.float32))
        nearest = np.abs(y.value) - y.bound  # the least distance of the divisor from 0
        quotient = x.value / y.value
        bound = np.where(nearest > 0, (x.bound + np.abs(quotient) * y.bound) / nearest, np.inf)
        return x.rounded(quotient, bound, 4)

    def __rtruediv__(self, other: Any) -> Bounded:
        return self.other(other) / self

    def __floordiv__(self, other: Any) -> Bounded:
        return self._of_integers(np.floor_divide, other)

    def __mod__(self, other: Any) -> Bounded:
        return self._of_integers(np.remainder, other)

    def _of_integers(self, function: Callable[..., np.ndarray], other: Any) -> Bounded:
        """Return a function of two arrays of integers; exact where both are exact, and unknown elsewhere."""
        x, y = self.pair(other)
        if limits(x.dtype).roundoff:
            raise BackendError(f"there is no rule for the error of {function.__name__!r} of floating-point numbers")
        known = x.exact & y.exact & ((y.value != 0) | (function not in (np.floor_divide, np.remainder)))
        found = function(x._whole(known), np.where(known, y._whole(known), 1))
        return x.with_bound(found.astype(np.float64), np.where(known, 0.0, np.inf))

    def _whole(self, known: np.ndarray) -> np.ndarray:
        return np.where(known, self.value, 0).astype(np.int64)

    def __pow__(self, other: Any) -> Bounded:
        return self.arithmetic.pow(self, other)

    def __rpow__(self, other: Any) -> Bounded:
        return self.arithmetic.pow(self.other(other), self)

    __radd__ = __add__
    __rmul__ = __mul__

    # A comparison is known where the intervals do not meet, or where both are the same exact number.

    def _compared(self, other: Any, function: Callable[..., np.ndarray]) -> Bounded:
        x, y = self.pair(other)
        reach = x.bound + y.bound
        known = (np.abs(x.value - y.value) > reach) | ((x.value == y.value) & (reach == 0))  # false where one is nan
        return self.truth(function(x.value, y.value), known)

    def __gt__(self, other: Any) -> Bounded:
        return self._compared(other, np.greater)

    def __lt__(self, other: Any) -> Bounded:
        return self._compared(other, np.less)

    def __ge__(self, other: Any) -> Bounded:
        return self._compared(other, np.greater_equal)

    def __le__(self, other: Any) -> Bounded:
        return self._compared(other, np.less_equal)

    def __eq__(self, other: Any) -> Bounded:  # type: ignore[override]
        return self._compared(other, np.equal)

    def __ne__(self, other: Any) -> Bounded:  # type: ignore[override]
        return self._compared(other, np.not_equal)

    # A boolean that may be either is tried as both: where the results agree, the result is known.

    def __and__(self, other: Any) -> Bounded:
        return self._logic(other, np.logical_and, np.bitwise_and)

    def __or__(self, other: Any) -> Bounded:
        return self._logic(other, np.logical_or, np.bitwise_or)

    def __xor__(self, other: Any) -> Bounded:
        return (self & ~self.other(other)) | (~self & other) if self.dtype.kind == "b" else self._bits(other)

    def __invert__(self) -> Bounded:
        if self.dtype.kind != "b":
            return self._bits(-1)
        return self.truth(self.value == 0, self.exact)

    def __rand__(self, other: Any) -> Bounded:
        return self & other

    def __ror__(self, other: Any) -> Bounded:
        return self | other

    def __rxor__(self, other: Any) -> Bounded:
        return self ^ other

    def _bits(self, other: Any) -> Bounded:
        return self._of_integers(np.bitwise_xor, other)

    def _logic(self, other: Any, of_truth: Callable[..., np.ndarray], of_bits: Callable[..., np.ndarray]) -> Bounded:
        x, y = self.pair(other)
        if x.dtype.kind != "b":
            return x._of_integers(of_bits, y)
        least, most = (of_truth(a, b) for a, b in zip(x.truths(), y.truths(), strict=True))
        return x.truth(least, least == most)

    def truths(self) -> tuple[np.ndarray, np.ndarray]:
        """Return where the booleans are certainly true, and where they may be true."""
        return self.exact & (self.value != 0), ~self.exact | (self.value != 0)


def _stays_infinite(value: np.ndarray, x: Bounded, y: Bounded) -> np.ndarray:
    """Return where a result is exactly infinite: one operand is an exact infinity, and neither may be anything."""
    put_in = (np.isinf(x.value) & x.exact) | (np.isinf(y.value) & y.exact)
    return np.asarray(np.isinf(value) & put_in & np.isfinite(x.bound) & np.isfinite(y.bound))
