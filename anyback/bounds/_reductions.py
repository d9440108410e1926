"""The rules of sums, products and extremes along axes; `anyback.bounds.arithmetic` states and justifies them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from anyback._typing import DType
from anyback.bounds._bounded import Bounded
from anyback.bounds._limits import gamma, limits, ours

__all__ = ["Reductions"]

Axis = int | tuple[int, ...] | None


class Reductions:
    """The part of `Arithmetic` that makes one number of many."""

    def sum(self, x: Bounded, *, axis: Axis = None, keepdims: bool = False, dtype: DType | None = None) -> Bounded:
        """Return the sum along axes, with a bound for every order of summation."""
        x = _added(x, dtype)
        along: Any = {"axis": axis, "keepdims": keepdims}
        size = np.abs(x.value) + x.bound
        sums, terms = np.sum(size, **along), np.count_nonzero(size, **along)
        kind = limits(x.dtype)
        rounding = gamma(terms * kind.roundoff) + gamma(terms * 2 * ours(x.dtype))
        bound = np.sum(x.bound, **along) + rounding * sums + kind.smallest * terms
        return x.with_bound(np.sum(x.value, **along), np.where((1 + rounding) * sums <= kind.largest, bound, np.inf))

    def mean(self, x: Bounded, *, axis: Axis = None, keepdims: bool = False) -> Bounded:
        """Return the mean along axes, with a bound for a quotient and for a product with the inverse of the count."""
        axes = range(x.ndim) if axis is None else (axis,) if isinstance(axis, int) else axis
        return self.sum(x, axis=axis, keepdims=keepdims) / math.prod(x.shape[i] for i in axes)

    def prod(self, x: Bounded, *, axis: Axis = None, keepdims: bool = False, dtype: DType | None = None) -> Bounded:
        """Return the product along axes, with a bound for every order of multiplication.

        The product of numbers ``v + d`` differs from that of the ``v`` by at most the product of all ``|v| + |d|`` less
        the product of all ``|v|``, and each of the n - 1 partial products is rounded once. No partial product is nearer
        to 0 than the product of all numbers below 1: where that one may be flushed to 0, so may the result, and only a
        bound on its magnitude is known.
        """
        x = _added(x, dtype)
        along: Any = {"axis": axis, "keepdims": keepdims}
        size, kind = np.abs(x.value) + x.bound, limits(x.dtype)
        count = np.sum(np.ones(x.shape), **along)
        whole, value = np.prod(size, **along), np.prod(x.value, **along)
        rounding = gamma(count * kind.roundoff) + gamma(count * 4 * ours(x.dtype))
        nearest = np.clip(np.abs(x.value) - x.bound, 0, 1)
        kept = np.prod(np.where(size > 0, nearest, 1), **along) >= 2 * kind.smallest
        bound = np.where(kept | (count <= 2), whole - np.abs(value), whole + np.abs(value)) + rounding * whole
        inside = np.prod(np.maximum(size, 1), **along) * (1 + rounding) <= kind.largest
        return x.with_bound(value, np.where(inside, bound + kind.smallest * (whole > 0), np.inf))

    def cumulative_sum(self, x: Bounded, *, axis: int | None = None, dtype: DType | None = None) -> Bounded:
        """Return running sums along an axis, each with a bound for every order of summation."""
        x = _added(x, dtype)
        along: Any = {"axis": 0 if axis is None else axis}
        size, kind = np.abs(x.value) + x.bound, limits(x.dtype)
        sums, terms = np.cumsum(size, **along), np.cumsum(size > 0, **along)
        rounding = gamma(terms * kind.roundoff) + gamma(terms * 2 * ours(x.dtype))
        bound = np.cumsum(x.bound, **along) + rounding * sums + kind.smallest * terms
        return x.with_bound(np.cumsum(x.value, **along), np.where((1 + rounding) * sums <= kind.largest, bound, np.inf))

    def max(self, x: Bounded, *, axis: Axis = None, keepdims: bool = False) -> Bounded:
        """Return the largest number along axes: at most the largest upper end, at least the largest lower end."""
        along: Any = {"axis": axis, "keepdims": keepdims}
        value = np.max(x.value, **along)
        with np.errstate(invalid="ignore"):  # of infinities
            above = np.max(x.value + x.bound, **along) - value
            below = value - np.max(x.value - x.bound, **along)
        # Exact infinities: the result is exact where one is inf, or all are -inf.
        infinite = np.isinf(x.value) & x.exact
        exact = np.where(value > 0, np.any(infinite & (x.value > 0), **along), np.all(infinite, **along))
        found = x.with_bound(value, np.maximum(above, below))
        return found.known(np.isinf(value) & exact & np.all(np.isfinite(x.bound), **along))

    def min(self, x: Bounded, *, axis: Axis = None, keepdims: bool = False) -> Bounded:
        """Return the smallest number along axes."""
        return -self.max(-x, axis=axis, keepdims=keepdims)

    def any(self, x: Bounded, *, axis: Axis = None, keepdims: bool = False) -> Bounded:
        """Return whether any is true: known where one certainly is, or where none may be."""
        return _of_truths(np.any, x, axis, keepdims)

    def all(self, x: Bounded, *, axis: Axis = None, keepdims: bool = False) -> Bounded:
        """Return whether all are true: known where all certainly are, or where one certainly is not."""
        return _of_truths(np.all, x, axis, keepdims)

    def argmax(self, x: Bounded, *, axis: int | None = None, keepdims: bool = False) -> Bounded:
        """Return the place of the largest number: known where its lower end is above the upper ends of all others.

        Where all numbers are exact, it is the place of the first of the largest numbers.
        """
        flat = x if axis is not None else x.moved(lambda part: part.reshape(-1))
        at = 0 if axis is None else axis
        place = np.argmax(flat.value, axis=at, keepdims=True)
        low, high = flat.ends()
        others = np.where(
            np.arange(flat.shape[at]).reshape([-1 if i == at % flat.ndim else 1 for i in range(flat.ndim)]) == place,
            -np.inf,
            high,
        )
        ahead = np.take_along_axis(low, place, axis=at) > np.max(others, axis=at, keepdims=True)
        known = ahead | np.all(flat.exact & ~np.isnan(flat.value), axis=at, keepdims=True)
        found = x.with_bound(place.astype(np.float64), np.where(known, 0.0, np.inf), np.dtype(np.int64))
        if axis is None and keepdims:
            return found.moved(lambda part: part.reshape((1,) * x.ndim))
        return found if keepdims else found.moved(lambda part: np.squeeze(part, axis=at))

    def argmin(self, x: Bounded, *, axis: int | None = None, keepdims: bool = False) -> Bounded:
        """Return the place of the smallest number."""
        return self.argmax(-x, axis=axis, keepdims=keepdims)


def _added(x: Bounded, dtype: DType | None) -> Bounded:
    """Return the terms of a sum or product in the type of the result: integers and booleans become wide integers."""
    if dtype is None:
        dtype = x.dtype if limits(x.dtype).roundoff else np.dtype(np.uint64 if x.dtype.kind == "u" else np.int64)
    return x.cast(dtype)


def _of_truths(function: Callable[..., np.ndarray], x: Bounded, axis: Axis, keepdims: bool) -> Bounded:
    least, most = (function(part, axis=axis, keepdims=keepdims) for part in x.truths())
    return x.truth(least, least == most)
