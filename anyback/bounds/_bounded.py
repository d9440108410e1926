"""An array that carries a value and a bound on its error, and what Python's operators make of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from anyback._typing import DType, Namespace
from anyback.numbers import FLOATS, largest_of

__all__ = ["OURS", "Bounded", "gamma"]

#: Unit roundoff of the values and bounds here.
OURS = FLOATS["float64"].roundoff
#: Of a bound itself, which is computed in float64 from fewer than a million terms that are not negative.
_SLACK = 1 + 2.0**-32


@dataclass(frozen=True, eq=False)
class Bounded:
    """Values, and how far from them any library's may be.

    Parameters
    ----------
    value : numpy.ndarray
        float64, any shape.
    bound : numpy.ndarray
        float64, same shape, not negative; inf or nan where nothing is known.
    arithmetic : Arithmetic
        The arithmetic that is modelled, and the namespace of the array.
    dtype : numpy.dtype
        The type that is modelled.
    """

    value: np.ndarray
    bound: np.ndarray
    arithmetic: Namespace
    dtype: DType = field(default=np.dtype(np.float32))

    device = "cpu"

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape."""
        return self.value.shape

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return self.value.ndim

    @property
    def T(self) -> Bounded:
        """The transpose."""
        return self.moved(np.transpose)

    def __array_namespace__(self, api_version: str | None = None) -> Namespace:
        return self.arithmetic

    def __getitem__(self, index: Any) -> Bounded:
        return self.moved(lambda x: x[index])

    def moved(self, function: Callable[[np.ndarray], np.ndarray]) -> Bounded:
        """Return the same numbers elsewhere: `function` moves values and bounds alike."""
        return Bounded(function(self.value), function(self.bound), self.arithmetic, self.dtype)

    def widened(self, bound: Any) -> Bounded:
        """Return the same values with so much added to their bounds."""
        return self.with_bound(self.value, self.bound + bound)

    def with_bound(self, value: Any, bound: Any, dtype: DType | None = None) -> Bounded:
        """Return an array of the same arithmetic with these values and bounds."""
        dtype = dtype or self.dtype
        bound = np.asarray(bound) * _SLACK
        if dtype.name in FLOATS:  # what may overflow may be anything
            bound = np.where(np.abs(value) + bound <= largest_of(dtype), bound, np.inf)
        return Bounded(np.asarray(value), bound, self.arithmetic, dtype)

    def rounded(self, value: Any, bound: Any, roundoffs: float = 1) -> Bounded:
        """Return a result of one operation: `bound` from its operands, and its own rounding."""
        kind = FLOATS[self.dtype.name]
        size = np.abs(value) + bound
        # What is 0 exactly is not flushed; in float64 the 0 may be that of an underflow here.
        flushed = kind.smallest * (size > 0) if kind.bits < 64 else kind.smallest
        return self.with_bound(value, bound + roundoffs * (kind.roundoff + OURS) * size + flushed)

    def other(self, other: Any) -> Bounded:
        """Return the other operand of an operation: an array, or a number that is rounded to the type of this one."""
        if isinstance(other, Bounded):
            return other
        unit = 0.0 if float(np.asarray(other).astype(self.dtype)) == other else FLOATS[self.dtype.name].roundoff
        value = np.asarray(other, dtype=np.float64)
        return self.with_bound(value, unit * np.abs(value))

    def __neg__(self) -> Bounded:
        return self.with_bound(-self.value, self.bound)

    def __add__(self, other: Any) -> Bounded:
        y = self.other(other)
        return self.rounded(self.value + y.value, self.bound + y.bound)

    def __sub__(self, other: Any) -> Bounded:
        return self + -self.other(other)

    def __rsub__(self, other: Any) -> Bounded:
        return -self + other

    def __mul__(self, other: Any) -> Bounded:
        y = self.other(other)
        bound = np.abs(self.value) * y.bound + self.bound * (np.abs(y.value) + y.bound)
        return self.rounded(self.value * y.value, bound)

    def __matmul__(self, other: Bounded) -> Bounded:
        return self.arithmetic.inner(self, other)

    def __truediv__(self, other: Any) -> Bounded:
        y = self.other(other)
        nearest = np.abs(y.value) - y.bound  # to 0
        quotient = self.value / y.value
        bound = np.where(nearest > 0, (self.bound + np.abs(quotient) * y.bound) / nearest, np.inf)
        return self.rounded(quotient, bound, 4)

    def __rtruediv__(self, other: Any) -> Bounded:
        return self.other(other) / self

    __radd__ = __add__
    __rmul__ = __mul__

    def __gt__(self, other: Any) -> Bounded:
        y = self.other(other)
        apart, reach = np.abs(self.value - y.value), self.bound + y.bound
        known = (apart > reach) | ((apart == 0) & (reach == 0))  # false where either is nan
        # False is 0 and True 1: where it may be either, the bound is 1.
        return self.with_bound(self.value > y.value, np.where(known, 0.0, 1.0), np.dtype(bool))

    def __lt__(self, other: Any) -> Bounded:
        return self.other(other) > self


def gamma(nu: np.ndarray) -> np.ndarray:
    """Return ``n u / (1 - n u)``, Higham's bound; infinite from where it proves nothing."""
    with np.errstate(divide="ignore"):
        return np.where(nu < 1, nu / (1 - np.minimum(nu, 1)), np.inf)
