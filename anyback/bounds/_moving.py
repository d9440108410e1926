"""The rules of functions that make arrays, and of those that move numbers: bounds move with the values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from anyback._typing import DType
from anyback.bounds._bounded import Bounded
from anyback.bounds._limits import common_type

__all__ = ["Moving"]

_FLOAT = np.dtype(np.float32)


class Moving:
    """The part of `Arithmetic` that makes arrays, and picks, joins and reorders their numbers."""

    # -- Arrays of exact numbers ---------------------------------------------------------------------

    def asarray(self, x: Any, *, dtype: DType | None = None, device: Any = None, copy: bool | None = None) -> Bounded:
        """Return an array, a list or a number as an array of exact values, in its own type or in `dtype`."""
        if isinstance(x, Bounded):
            return x if dtype is None else x.cast(dtype)
        found = np.asarray(x)
        if dtype is None and not isinstance(x, (np.ndarray, np.generic)) and found.dtype.kind == "f":
            dtype = _FLOAT
        found = found if dtype is None else found.astype(dtype)
        value = found.astype(np.float64)
        # Integers beyond 2**53 may be rounded to float64: their bound is that rounding.
        far = np.abs(value) * (np.abs(value) > 2.0**53) * 2.0**-53 if found.dtype.kind in "iu" else 0.0
        return Bounded(value, np.zeros(value.shape) + far, self, found.dtype)

    def full(self, shape: Any, value: Any, *, dtype: DType | None = None, device: Any = None) -> Bounded:
        """Return an array of one number; it may be an infinity, as in the padding of a maximum."""
        if isinstance(value, Bounded):
            return self.broadcast_to(value if dtype is None else value.cast(dtype), shape)
        return self.broadcast_to(self.asarray(value, dtype=dtype), shape)

    def zeros(self, shape: Any, *, dtype: DType | None = None, device: Any = None) -> Bounded:
        """Return zeros."""
        return self.full(shape, 0, dtype=dtype or _FLOAT)

    def ones(self, shape: Any, *, dtype: DType | None = None, device: Any = None) -> Bounded:
        """Return ones."""
        return self.full(shape, 1, dtype=dtype or _FLOAT)

    def full_like(self, x: Bounded, value: Any, *, dtype: DType | None = None, device: Any = None) -> Bounded:
        """Return an array of one number in the shape of another."""
        return self.full(x.shape, value, dtype=dtype or x.dtype)

    def zeros_like(self, x: Bounded, *, dtype: DType | None = None, device: Any = None) -> Bounded:
        """Return zeros in the shape of another array."""
        return self.full_like(x, 0, dtype=dtype)

    def ones_like(self, x: Bounded, *, dtype: DType | None = None, device: Any = None) -> Bounded:
        """Return ones in the shape of another array."""
        return self.full_like(x, 1, dtype=dtype)

    def eye(
        self, rows: int, columns: int | None = None, *, k: int = 0, dtype: DType | None = None, device: Any = None
    ) -> Bounded:
        """Return a matrix of 1 on a diagonal and 0 elsewhere."""
        return self.asarray(np.eye(rows, columns, k=k), dtype=dtype or _FLOAT)

    def arange(
        self, start: Any, stop: Any = None, step: Any = 1, *, dtype: DType | None = None, device: Any = None
    ) -> Bounded:
        """Return numbers from `start` to below `stop`, `step` apart."""
        first, last = (0, start) if stop is None else (start, stop)
        return self.asarray(np.arange(int(first), int(last), int(step)), dtype=dtype)

    # -- Types ---------------------------------------------------------------------------------------

    def astype(self, x: Bounded, dtype: DType, *, copy: bool = True, device: Any = None) -> Bounded:
        """Return `x` in another type, which may round it."""
        return x.cast(np.dtype(dtype))

    def iinfo(self, dtype: DType) -> Any:
        """Return the limits of a type of integers."""
        return np.iinfo(dtype)

    def finfo(self, dtype: DType) -> Any:
        """Return the limits of a type of floating-point numbers."""
        return np.finfo(dtype)

    # -- The same numbers elsewhere ------------------------------------------------------------------

    def reshape(self, x: Bounded, shape: Any, *, copy: bool | None = None) -> Bounded:
        """Return `x` in another shape."""
        return x.moved(lambda part: part.reshape(shape))

    def permute_dims(self, x: Bounded, axes: Any) -> Bounded:
        """Return `x` with its axes in another order."""
        return x.moved(lambda part: part.transpose(axes))

    def matrix_transpose(self, x: Bounded) -> Bounded:
        """Return `x` with its last two axes swapped."""
        return x.moved(lambda part: np.swapaxes(part, -1, -2))

    def moveaxis(self, x: Bounded, source: Any, destination: Any) -> Bounded:
        """Return `x` with axes at other places."""
        return x.moved(lambda part: np.moveaxis(part, source, destination))

    def expand_dims(self, x: Bounded, *, axis: int = 0) -> Bounded:
        """Return `x` with a new axis of size 1."""
        return x.moved(lambda part: np.expand_dims(part, axis))

    def squeeze(self, x: Bounded, axis: Any) -> Bounded:
        """Return `x` without axes of size 1."""
        return x.moved(lambda part: np.squeeze(part, axis))

    def broadcast_to(self, x: Bounded, shape: Any) -> Bounded:
        """Return `x` repeated along axes of size 1."""
        return x.moved(lambda part: np.broadcast_to(part, shape))

    def flip(self, x: Bounded, *, axis: Any = None) -> Bounded:
        """Return `x` backwards along axes."""
        return x.moved(lambda part: np.flip(part, axis))

    def roll(self, x: Bounded, shift: Any, *, axis: Any = None) -> Bounded:
        """Return `x` shifted along axes; numbers that leave at one end come in at the other."""
        return x.moved(lambda part: np.roll(part, shift, axis))

    def tile(self, x: Bounded, repetitions: Any) -> Bounded:
        """Return copies of `x` beside each other."""
        return x.moved(lambda part: np.tile(part, repetitions))

    def repeat(self, x: Bounded, repeats: int, *, axis: int | None = None) -> Bounded:
        """Return `x` with each part along an axis repeated."""
        return x.moved(lambda part: np.repeat(part, repeats, axis))

    def tril(self, x: Bounded, *, k: int = 0) -> Bounded:
        """Return the numbers below a diagonal, and exact zeros elsewhere."""
        return x.moved(lambda part: np.tril(part, k))

    def triu(self, x: Bounded, *, k: int = 0) -> Bounded:
        """Return the numbers above a diagonal, and exact zeros elsewhere."""
        return x.moved(lambda part: np.triu(part, k))

    def unstack(self, x: Bounded, *, axis: int = 0) -> tuple[Bounded, ...]:
        """Return the parts along an axis."""
        parts = self.moveaxis(x, axis, 0)
        return tuple(parts[i] for i in range(parts.shape[0]))

    def concat(self, arrays: Sequence[Bounded], *, axis: int | None = 0) -> Bounded:
        """Return arrays joined along an axis."""
        return self._joined(np.concatenate, arrays, axis)

    def stack(self, arrays: Sequence[Bounded], *, axis: int = 0) -> Bounded:
        """Return arrays joined along a new axis."""
        return self._joined(np.stack, arrays, axis)

    def _joined(self, join: Callable[..., np.ndarray], arrays: Sequence[Bounded], axis: int | None) -> Bounded:
        dtype = arrays[0].dtype
        for x in arrays:
            dtype = common_type(dtype, x.dtype)
        arrays = [x.cast(dtype) for x in arrays]
        value, bound = (join(parts, axis=axis) for parts in ([x.value for x in arrays], [x.bound for x in arrays]))
        return Bounded(value, bound, self, dtype)

    def take(self, x: Bounded, places: Bounded, *, axis: int | None = None) -> Bounded:
        """Return the parts of `x` at places along an axis; where a place is not known, nothing is known of the part."""
        at = 0 if axis is None else axis % x.ndim
        x = x.moved(lambda part: part.reshape(-1)) if axis is None else x
        known = places.exact
        numbers = np.where(known, places.value, 0).astype(np.int64)
        found = x.moved(lambda part: np.take(part, numbers, axis=at))
        if np.all(known):
            return found
        lost = ~known.reshape(known.shape + (1,) * (x.ndim - at - 1))
        return found.widened(np.where(np.broadcast_to(lost, found.shape), np.inf, 0.0))

    def take_along_axis(self, x: Bounded, places: Bounded, *, axis: int = -1) -> Bounded:
        """Return the numbers of `x` at places along an axis, with places of their own at each place of other axes."""
        numbers = np.where(places.exact, places.value, 0).astype(np.int64)
        found = x.moved(lambda part: np.take_along_axis(part, numbers, axis=axis))
        return found.widened(np.where(np.broadcast_to(places.exact, found.shape), 0.0, np.inf))

    # -- Order ---------------------------------------------------------------------------------------

    def sort(self, x: Bounded, *, axis: int = -1, descending: bool = False, stable: bool = True) -> Bounded:
        """Return the numbers in order: the n-th of them rises with each, so those of the ends hold it."""

        def ordered(part: np.ndarray) -> np.ndarray:
            return np.flip(np.sort(part, axis=axis), axis=axis) if descending else np.sort(part, axis=axis)

        value, (low, high) = ordered(x.value), (ordered(end) for end in x.ends())
        return x.with_bound(value, np.maximum(high - value, value - low))

    def argsort(self, x: Bounded, *, axis: int = -1, descending: bool = False, stable: bool = True) -> Bounded:
        """Return the places of the numbers in order, as far as they are known.

        They are up to and from a number whose interval lies above those of all before it, and below those of all behind
        it. Where all numbers are exact, all places are known: of equal numbers the first comes first.
        """
        key = np.moveaxis(-x.value if descending else x.value, axis, -1)
        order = np.argsort(key, axis=-1, kind="stable")
        ends = [np.moveaxis(end, axis, -1) for end in ((-x).ends() if descending else x.ends())]
        low, high = (np.take_along_axis(end, order, axis=-1) for end in ends)
        edge = np.full((*key.shape[:-1], 1), np.inf)
        before = np.concatenate([-edge, np.maximum.accumulate(high, axis=-1)[..., :-1]], axis=-1)
        behind = np.flip(np.minimum.accumulate(np.flip(low, axis=-1), axis=-1), axis=-1)
        behind = np.concatenate([behind[..., 1:], edge], axis=-1)
        known = ((before < low) & (high < behind)) | np.all(high == low, axis=-1, keepdims=True)
        place, known = (np.moveaxis(part, -1, axis) for part in (order.astype(np.float64), known))
        return x.with_bound(place, np.where(known, 0.0, np.inf), np.dtype(np.int64))
