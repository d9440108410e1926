"""Operators that pick numbers by their places, and put them there."""

from __future__ import annotations

import math
from typing import Any

import array_api_compat
import numpy as np

from anyback import backends
from anyback._typing import Array
from anyback.backends import array_namespace, is_integer
from anyback.errors import DataError, ShapeError
from anyback.numbers import dtype_name
from anyback.onnx._arrays import axis_of
from anyback.onnx._operator import Host, Ints, TypeName, operator, several
from anyback.onnx._types import MOST_COPIES, cast, check_size, held_as
from anyback.plan import Rows

__all__ = [
    "Compress",
    "EyeLike",
    "Gather",
    "GatherElements",
    "GatherND",
    "NonZero",
    "OneHot",
    "Pad",
    "Pad_1",
    "Range",
    "ReverseSequence",
    "Slice",
    "Slice_1",
    "TopK",
    "TopK_1",
    "Trilu",
]


def _places(indices: Array, size: int) -> Array:
    """Return places from 0 on, of places of which those below 0 count from the end."""
    return array_namespace(indices).where(indices < 0, indices + size, indices)


def _counted(x: Array, size: int, axis: int, rank: int) -> Array:
    """Return 0, 1, 2, ... along an axis, with axes of size 1 around it."""
    xp = array_namespace(x)
    found = xp.arange(size, dtype=x.dtype, device=array_api_compat.device(x))
    return xp.reshape(found, tuple(size if i == axis else 1 for i in range(rank)))


@operator()
def Gather(data: Array, indices: Array, *, axis: int = 0) -> Array:
    """Return the parts at places along an axis; the axes of the places replace that axis."""
    at = axis_of(axis, data.ndim, "Gather")
    if isinstance(data, np.ndarray):
        return data.take(indices, axis=at)
    xp = array_namespace(data, indices)
    if 0 in indices.shape:
        shape = (*data.shape[:at], *indices.shape, *data.shape[at + 1 :])
        return xp.zeros(shape, dtype=data.dtype, device=array_api_compat.device(data))
    found = xp.take(data, xp.reshape(_places(indices, data.shape[at]), (-1,)), axis=at)
    return xp.reshape(found, (*data.shape[:at], *indices.shape, *data.shape[at + 1 :]))


@operator()
def GatherElements(data: Array, indices: Array, *, axis: int = 0) -> Array:
    """Return the numbers at places along an axis, with places of their own for each place on the other axes."""
    xp, at = array_namespace(data, indices), axis_of(axis, data.ndim, "GatherElements")
    flat = _places(indices, data.shape[at]) * math.prod(data.shape[at + 1 :])
    for i in range(data.ndim):
        if i != at:
            flat = flat + _counted(flat, indices.shape[i], i, data.ndim) * math.prod(data.shape[i + 1 :])
    return xp.reshape(xp.take(xp.reshape(data, (-1,)), xp.reshape(flat, (-1,)), axis=0), indices.shape)


@operator()
def GatherND(data: Array, indices: Array, *, batch_dims: int = 0) -> Array:
    """Return what lies at places of several axes, behind the axes that both share."""
    xp, many = array_namespace(data, indices), indices.shape[-1]
    shared, along = tuple(data.shape[:batch_dims]), tuple(data.shape[batch_dims : batch_dims + many])
    rest = tuple(data.shape[batch_dims + many :])
    flat = None
    for i, size in enumerate(along):
        step = _places(indices[..., i], size) * math.prod(along[i + 1 :])
        flat = step if flat is None else flat + step
    if flat is None:
        raise DataError("GatherND: expected places of at least one axis, found none")
    table = xp.reshape(data, (math.prod(shared) * math.prod(along), math.prod(rest)))
    for i, size in enumerate(shared):
        number = _counted(flat, size, i, flat.ndim)
        flat = flat + number * (math.prod(shared[i + 1 :]) * math.prod(along))
    return xp.reshape(xp.take(table, xp.reshape(flat, (-1,)), axis=0), (*indices.shape[:-1], *rest))


@operator(since=10)
def Slice(data: Array, starts: Ints, ends: Ints, axes: Ints | None = None, steps: Ints | None = None) -> Array:
    """Return a part along some axes."""
    counts = {len(part) for part in (starts, ends, axes, steps) if part is not None}
    if len(counts) > 1 or (steps is not None and 0 in steps):
        raise DataError(f"Slice: expected a start, an end and a step other than 0 for each axis, found steps {steps}")
    cut: list[slice] = [slice(None)] * data.ndim
    backwards = []
    for place, axis in enumerate(range(len(starts)) if axes is None else axes):
        at, step = axis_of(axis, data.ndim, "Slice"), 1 if steps is None else steps[place]
        size = data.shape[at]
        # Backwards, a start before the first is the first, unlike in Python.
        low, high = (0, size) if step > 0 else (-1, size - 1)
        start, end = (v + size if v < 0 else v for v in (starts[place], ends[place]))
        picked = range(max(0, min(start, high)), max(low, min(end, high)), step) if size else range(0)
        if len(picked) < 2:  # a step that is huge fits into no stride
            cut[at] = slice(picked[0], picked[0] + 1) if picked else slice(0, 0)
        elif step > 0:
            cut[at] = slice(picked[0], picked[-1] + 1, step)
        else:  # PyTorch takes no steps below 0
            cut[at] = slice(picked[-1], picked[0] + 1, -step)
            backwards.append(at)
    found = data[tuple(cut)]
    return array_namespace(data).flip(found, axis=tuple(backwards)) if backwards else found


@operator(since=1, name="Slice")
def Slice_1(data: Array, *, starts: Ints, ends: Ints, axes: Ints | None = None) -> Array:
    """Return a part along some axes."""
    return Slice.compute(data, starts, ends, axes)


@operator(since=2)
def Pad(
    data: Array,
    pads: Ints,
    constant_value: Array | None = None,
    axes: Ints | None = None,
    *,
    mode: str = "constant",
    value: float = 0.0,
) -> Array:
    """Return the array with more around it: a constant, its edge, or itself mirrored or repeated; below 0, less."""
    xp, given = array_namespace(data), pads
    each = range(data.ndim) if axes is None else [axis_of(axis, data.ndim, "Pad") for axis in axes]
    ends = dict(zip(each, zip(given, given[len(given) // 2 :], strict=False), strict=False))
    if mode not in ("constant", "edge", "reflect", "wrap") or len(given) != 2 * len(each):
        raise DataError(f"Pad: expected {2 * len(each)} sizes in a known mode, found {len(given)} in {mode[:40]!r}")
    check_size([n + sum(max(0, end) for end in ends.get(i, ())) for i, n in enumerate(data.shape)], "Pad")
    for axis, (before, behind) in ends.items():
        around = (slice(None),) * axis
        low, high = max(0, -before), data.shape[axis] - max(0, -behind)
        data = data[(*around, slice(low, max(low, high)), ...)] if low or high < data.shape[axis] else data
        if before <= 0 and behind <= 0:
            continue
        size = data.shape[axis]
        if mode == "constant":
            filling = constant_value if constant_value is not None and math.prod(constant_value.shape) else value
            parts = [data]
            for count, first in ((before, True), (behind, False)):
                if count > 0:
                    shape = (*data.shape[:axis], count, *data.shape[axis + 1 :])
                    part = _filled(data, shape, filling)
                    parts = [part, *parts] if first else [*parts, part]
            data = xp.concat(parts, axis=axis)
        else:
            places = _around(size, max(0, before), max(0, behind), mode)
            data = Gather.compute(data, _beside(places, data), axis=axis)
    return data


@operator(since=1, name="Pad")
def Pad_1(data: Array, *, mode: str = "constant", paddings: Ints, value: float = 0.0) -> Array:
    """Return the array with more around it."""
    return Pad.compute(data, paddings, mode=mode, value=value)


def _filled(x: Array, shape: tuple[int, ...], value: Any) -> Array:
    xp = array_namespace(x)
    if hasattr(value, "dtype"):
        number = value if value.dtype == x.dtype else xp.astype(value, x.dtype)
        return xp.broadcast_to(xp.reshape(number, ()), shape)
    if dtype_name(x.dtype) == "bool":
        value = bool(value)
    elif is_integer(x):
        value = int(value)
    return xp.full(shape, value, dtype=x.dtype, device=array_api_compat.device(x))


def _around(size: int, before: int, behind: int, mode: str) -> np.ndarray:
    """Return the places of an axis that its padding repeats."""
    places = np.arange(-before, size + behind)
    if mode == "edge":
        return np.clip(places, 0, size - 1)
    if mode == "wrap":
        return places % size
    period = max(1, 2 * (size - 1))
    places = places % period
    return np.where(places < size, places, period - places)


def _beside(places: np.ndarray, x: Array) -> Array:
    if isinstance(x, (np.ndarray, np.generic)):
        return places
    return array_namespace(x).asarray(places, device=array_api_compat.device(x))


@operator(host=True)
def Range(start: Host, limit: Host, delta: Host, *, stash_type: int = 1) -> np.ndarray:
    """Return numbers from one on, below another, by steps, on the host; of half types by way of float32."""
    dtype = start.dtype
    if dtype.kind not in "iuf" or any(x.size != 1 for x in (start, limit, delta)):
        raise DataError(f"Range: expected three numbers, found shapes {[x.shape for x in (start, limit, delta)]}")
    wide = np.float32 if dtype == np.float16 and stash_type == 1 else dtype
    first, end, step = (x.astype(wide).reshape(())[()] for x in (start, limit, delta))
    with np.errstate(all="ignore"):
        steps = _quotient(int(end) - int(first), int(step)) if dtype.kind in "iu" else (end - first) / step
    if not math.isfinite(steps):
        raise DataError(f"Range: expected finite numbers and steps other than 0, found {first}, {end}, {step}")
    count = max(0, math.ceil(steps))
    check_size((count,), "Range", MOST_COPIES)
    return np.asarray(first + np.arange(count).astype(wide) * step).astype(dtype)


def _quotient(number: int, by: int) -> float:
    """Return the quotient of two integers rounded up, exactly; not a number where the second is 0."""
    return -(-number // by) if by else math.nan


@operator()
def EyeLike(input: Array, *, dtype: TypeName | None = None, k: int = 0) -> Array:
    """Return 1 on a diagonal and 0 elsewhere."""
    xp = array_namespace(input)
    kind = input.dtype if dtype is None else held_as(xp, dtype, "EyeLike")
    rows, columns = (_beside(np.arange(size), input) for size in input.shape)
    return xp.astype(xp.expand_dims(rows + k, axis=1) == columns, kind)


@operator()
def Trilu(input: Array, k: Ints | None = None, *, upper: int = 1) -> Array:
    """Return the numbers above a diagonal, or below it, and 0 elsewhere."""
    xp, by = array_namespace(input), 0 if k is None else k[0]
    by = max(-input.shape[-2] - 1, min(input.shape[-1] + 1, by))
    return (xp.triu if upper else xp.tril)(input, k=by)


@operator()
def OneHot(indices: Array, depth: Ints, values: Array, *, axis: int = -1) -> Array:
    """Return one number at each place, and another elsewhere, along a new axis."""
    xp, rank, size = array_namespace(indices, values), indices.ndim + 1, depth[0]
    at = axis_of(axis, rank, "OneHot")
    check_size((*indices.shape, size), "OneHot", MOST_COPIES)
    where = xp.where(indices < 0, indices + size, indices)
    hit = xp.expand_dims(where, axis=at) == _counted(where, size, at, rank)
    return xp.where(hit, values[1], values[0])


@operator()
def ReverseSequence(input: Array, sequence_lens: Array, *, batch_axis: int = 1, time_axis: int = 0) -> Array:
    """Return each sequence backwards, and what lies behind its end as it is."""
    xp = array_namespace(input, sequence_lens)
    lengths = cast(sequence_lens, "int64")
    lengths = xp.reshape(lengths, tuple(-1 if i == batch_axis else 1 for i in range(input.ndim)))
    time = _counted(lengths, input.shape[time_axis], time_axis, input.ndim)
    places = xp.where(time < lengths, lengths - 1 - time, time)
    return GatherElements.compute(input, xp.broadcast_to(places, input.shape), axis=time_axis)


def _top(X: Array, k: int, axis: int, largest: int, outputs: int) -> Any:
    xp, at = array_namespace(X), axis_of(axis, X.ndim, "TopK")
    if not 0 <= k <= X.shape[at]:
        raise ShapeError(f"TopK: expected from 0 to {X.shape[at]} numbers of an axis, found {k}")
    order = xp.argsort(X, axis=at, descending=bool(largest), stable=True)
    first = order[(*(slice(None),) * at, slice(0, k), ...)]
    values = GatherElements.compute(X, first, axis=at)
    return several((values, cast(first, "int64")), outputs)


@operator(since=10)
def TopK(X: Array, K: Ints, *, axis: int = -1, largest: int = 1, sorted: int = 1, outputs: int) -> Any:
    """Return the largest or smallest numbers along an axis, and their places; of equal ones the first."""
    return _top(X, K[0], axis, largest, outputs)


@operator(since=1, name="TopK")
def TopK_1(X: Array, *, axis: int = -1, k: int, outputs: int) -> Any:
    """Return the largest numbers along an axis, and their places."""
    return _top(X, k, axis, 1, outputs)


@operator(rows=Rows.UNKNOWN)
def NonZero(X: Array) -> Array:
    """Return the places of what is not 0: shape (axes, count)."""
    found = np.stack(np.nonzero(np.atleast_1d(backends.to_numpy(X)))).astype(np.int64)
    return _returned(found, X)


@operator(rows=Rows.UNKNOWN)
def Compress(input: Array, condition: Array, *, axis: int | None = None) -> Array:
    """Return what lies where a condition holds along an axis."""
    places = np.flatnonzero(backends.to_numpy(condition))
    xp = array_namespace(input)
    x = xp.reshape(input, (-1,)) if axis is None else input
    return Gather.compute(x, _beside(places, x), axis=0 if axis is None else axis)


def _returned(found: np.ndarray, like: Array) -> Array:
    if isinstance(like, (np.ndarray, np.generic)):
        return found
    return array_namespace(like).asarray(found, device=array_api_compat.device(like))
