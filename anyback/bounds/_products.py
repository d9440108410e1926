"""The rule of matrix products; `anyback.bounds.arithmetic` states and justifies it."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np

from anyback._typing import DType
from anyback.bounds._bounded import Bounded
from anyback.bounds._limits import gamma, limits, ours
from anyback.bounds._shortened import Interval, as_it_is, cut_off, to_nearest
from anyback.numbers import PRECISIONS, PrecisionName

__all__ = ["Products"]


class Products:
    """The part of `Arithmetic` that multiplies matrices."""

    precision: PrecisionName

    def matmul(self, x: Bounded, y: Bounded) -> Bounded:
        """Return the matrix product of (..., m, k) or (k,) with (..., k, p)."""
        return self.inner(x, y)

    def inner(self, x: Bounded, y: Bounded, bias: Bounded | None = None) -> Bounded:
        """Return the matrix product of (..., m, k) or (k,) with (..., k, p), plus a bias; None is no bias."""
        if x.ndim == 1:
            return self.inner(x[None, :], y, bias)[..., 0, :]
        if y.ndim == 1:
            return self.inner(x, y[:, None], bias)[..., 0]
        x, y = x.pair(y)
        parts = [
            self._products(way(x.value, x.bound), way(y.value, y.bound), bias, x) for way in self._operands(x.dtype)
        ]
        if len(parts) == 1:
            return x.with_bound(*parts[0])
        # The interval that encloses those of all roundings of the operands: cutting off moves a product to one side.
        value, bound = parts[0]
        low, high = value - bound, value + bound
        for value, bound in parts[1:]:
            np.minimum(low, value - bound, out=low)
            np.maximum(high, value + bound, out=high)
        return x.with_bound((low + high) / 2, (high - low) / 2)

    def _products(
        self, x: Interval, y: Interval, bias: Bounded | None, beside: Bounded
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the values and bounds of the product of two intervals, plus a bias."""
        (x_mid, x_reach), (y_mid, y_reach) = x, y
        asked, kind = PRECISIONS[self.precision], limits(beside.dtype)
        size_x, size_y = np.abs(x_mid) + x_reach, np.abs(y_mid) + y_reach
        terms = _fewest(_nonzero(size_x, -1), _nonzero(size_y, -2))
        # Products of numbers, and operands before them, may be flushed to 0.
        flushed = np.sum(size_x, axis=-1, keepdims=True) + np.sum(size_y, axis=-2, keepdims=True) + 2 * terms
        value, sums = x_mid @ y_mid, size_x @ size_y
        bound = kind.smallest * flushed
        for left, right in ((x_reach, size_y), (np.abs(x_mid), y_reach)):
            if np.any(left) and np.any(right):  # else one operand is exact, and the term is 0
                bound += left @ right
        if bias is not None:
            value += bias.value
            bound += bias.bound
            sums += np.abs(bias.value) + bias.bound
            terms = terms + 1
        rounding = gamma(terms * (asked.roundoffs * kind.roundoff)) + gamma(terms * (3 * ours(beside.dtype)))
        overflows = sums > kind.largest / (1 + rounding)  # a partial sum may overflow where the whole sum does not
        bound += np.multiply(sums, rounding, out=sums)
        bound[overflows] = np.inf
        return value, bound

    def _operands(self, dtype: DType) -> list[Callable[[np.ndarray, np.ndarray], Interval]]:
        """Return the functions that libraries may apply to the operands of a product of this type, as intervals."""
        bits = PRECISIONS[self.precision].significant
        if bits is None or dtype.name != "float32":
            return [as_it_is]
        return [as_it_is, functools.partial(to_nearest, bits=bits), functools.partial(cut_off, bits=bits)]


def _fewest(along_x: np.ndarray, along_y: np.ndarray) -> np.ndarray:
    """Return a bound on how many terms of a product are not 0, by the counts of nonzero numbers along each operand.

    It is for the rows of one operand or the columns of the other: for both it would take as much memory as the product.
    """
    by_row = np.minimum(along_x, np.max(along_y, initial=0))
    by_column = np.minimum(along_y, np.max(along_x, initial=0))
    return by_row if np.sum(by_row) * by_column.size < np.sum(by_column) * by_row.size else by_column


def _nonzero(x: np.ndarray, axis: int) -> np.ndarray:
    return np.count_nonzero(x, axis=axis, keepdims=True)
