"""Operators that put numbers at places of an array: nothing is changed in place, so they can be traced.

The array is a table of rows, and each update has the number of a row. A stable sort by these numbers brings the updates
of one row behind each other, in their order. The last of each run is the one that stays, or a scan along the runs
reduces each to one update, by pairs as in a tree. Then each row finds the end of its run.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from anyback._typing import Array
from anyback.backends import array_namespace, is_concrete
from anyback.errors import DataError, ShapeError
from anyback.onnx._arrays import beside, narrowed, widened
from anyback.onnx._operator import operator

__all__ = ["Scatter", "ScatterElements", "ScatterND", "TensorScatter"]

Pairs = Callable[[Array, Array], Array]


def _reduction(name: str, x: Array, operator: str) -> Pairs | None:
    """Return what makes one number of two, by the name of a reduction; None where the last update stays."""
    xp = array_namespace(x)
    known: dict[str, Pairs | None] = {"none": None, "add": lambda a, b: a + b, "mul": lambda a, b: a * b}
    known |= {"min": xp.minimum, "max": xp.maximum}
    if name not in known:
        raise DataError(f"{operator} has the reduction {name[:40]!r}; known: {', '.join(known)}")
    return known[name]


def _reduced_runs(rows: Array, values: Array, pairs: Pairs) -> Array:
    """Return for each value the reduction of its run up to it: values of one run have the same row, behind each other.

    After the step that looks back by d, each covers the 2d values up to it, as far as they belong to its run.
    """
    xp, many, back = array_namespace(rows, values), rows.shape[0], 1
    numbers = beside(np.arange(many), rows)
    # All steps have one shape, which JAX compiles once, and no slices, which cut Dask's arrays into ever more chunks.
    while back < many:
        earlier = numbers - back
        inside = earlier >= 0
        earlier = xp.where(inside, earlier, xp.zeros_like(earlier))
        same = inside & (xp.take(rows, earlier, axis=0) == rows)
        if is_concrete(same) and not bool(xp.any(same)):
            break  # no run is as long
        values = xp.where(xp.expand_dims(same, axis=1), pairs(xp.take(values, earlier, axis=0), values), values)
        back *= 2
    return values


def _ends(rows: Array, count: int) -> Array:
    """Return for each row of a table the place of the last update that has its number, or -1; numbers are sorted."""
    if isinstance(rows, np.ndarray):  # of a million rows in 0.2 ms, not 19; the last of equal numbers stays
        ends = np.full(count, -1)
        ends[rows] = np.arange(len(rows))
        return ends
    xp, numbers = array_namespace(rows), beside(np.arange(count), rows)
    ends = xp.searchsorted(rows, xp.astype(numbers, rows.dtype), side="right") - 1
    there = xp.take(rows, xp.where(ends < 0, xp.zeros_like(ends), ends), axis=0) == numbers
    return xp.where(there, ends, xp.full_like(ends, -1))


def _scattered(table: Array, rows: Array, updates: Array, pairs: Pairs | None) -> Array:
    """Return a table (count, width) with updates (many, width) put in, or reduced into, the rows of these numbers."""
    xp, count, many = array_namespace(table, rows, updates), table.shape[0], rows.shape[0]
    if not count or not many:
        return table
    order = xp.argsort(rows, stable=True)
    rows = xp.take(rows, order, axis=0)
    ends = _ends(rows, count)
    hit = xp.expand_dims(ends >= 0, axis=1)
    ends = xp.where(ends < 0, xp.zeros_like(ends), ends)
    if pairs is None:
        return xp.where(hit, xp.take(updates, xp.take(order, ends, axis=0), axis=0), table)
    runs = _reduced_runs(rows, widened(xp.take(updates, order, axis=0)), pairs)
    found = pairs(widened(table), xp.take(runs, ends, axis=0))
    return xp.where(hit, narrowed(found, table.dtype), table)


def _inside(indices: Array, size: int, operator: str) -> Array:
    """Return places from 0 on; those below 0 count from the end. On the host they must be inside the axis."""
    if isinstance(indices, np.ndarray) and indices.size and not (-size <= indices.min() <= indices.max() < size):
        raise DataError(
            f"{operator} expected places from {-size} to {size - 1}, found {indices.min()}, {indices.max()}"
        )
    return array_namespace(indices).where(indices < 0, indices + size, indices)


def _shaped(part: np.ndarray, axis: int, rank: int) -> np.ndarray:
    return part.reshape(tuple(-1 if i == axis else 1 for i in range(rank)))


@operator(since=11)
def ScatterElements(data: Array, indices: Array, updates: Array, *, axis: int = 0, reduction: str = "none") -> Array:
    """Return the array with each update put at a place along an axis, on the other axes at the update's own place.

    Of several updates of one place the last stays, or they and what lies there become their sum, their product, the
    smallest or the largest.
    """
    rank, shape = data.ndim, tuple(data.shape)
    fits = len(indices.shape) == rank and tuple(indices.shape) == tuple(updates.shape)
    if (
        not fits
        or not -rank <= axis < rank
        or any(n > size for i, (n, size) in enumerate(zip(indices.shape, shape, strict=True)) if i != axis % rank)
    ):
        raise ShapeError(
            f"ScatterElements expected indices and updates of one shape within {shape} beside axis {axis}, "
            f"found {tuple(indices.shape)} and {tuple(updates.shape)}"
        )
    xp, at = array_namespace(data, indices, updates), axis % rank
    flat = _inside(indices, shape[at], "ScatterElements") * math.prod(shape[at + 1 :])
    for i in range(rank):
        if i != at:
            steps = np.arange(indices.shape[i]) * math.prod(shape[i + 1 :])
            flat = flat + beside(_shaped(steps, i, rank).astype(np.int64), flat)
    pairs = _reduction(reduction, data, "ScatterElements")
    table, columns = xp.reshape(data, (-1, 1)), xp.reshape(updates, (-1, 1))
    return xp.reshape(_scattered(table, xp.reshape(flat, (-1,)), columns, pairs), shape)


@operator(since=9)
def Scatter(data: Array, indices: Array, updates: Array, *, axis: int = 0) -> Array:
    """Return the array with each update put at a place along an axis; the older name of `ScatterElements`."""
    return ScatterElements.compute(data, indices, updates, axis=axis)


@operator(since=11)
def ScatterND(data: Array, indices: Array, updates: Array, *, reduction: str = "none") -> Array:
    """Return the array with parts put at places of its first axes: the last axis of `indices` counts along these."""
    shape, many = tuple(data.shape), indices.shape[-1] if indices.ndim else 0
    wanted = (*indices.shape[:-1], *shape[many:])
    if not indices.ndim or many > len(shape) or tuple(updates.shape) != wanted:
        raise ShapeError(
            f"ScatterND expected indices (..., axes) and updates {wanted} for data {shape}, "
            f"found {tuple(indices.shape)} and {tuple(updates.shape)}"
        )
    xp = array_namespace(data, indices, updates)
    flat = xp.zeros_like(xp.sum(indices, axis=-1))
    for i, size in enumerate(shape[:many]):
        flat = flat + _inside(indices[..., i], size, "ScatterND") * math.prod(shape[i + 1 : many])
    pairs, width = _reduction(reduction, data, "ScatterND"), math.prod(shape[many:])
    table = xp.reshape(data, (math.prod(shape[:many]), width))
    parts = xp.reshape(updates, (math.prod(indices.shape[:-1]), width))
    return xp.reshape(_scattered(table, xp.reshape(flat, (-1,)), parts, pairs), shape)


@operator(since=24)
def TensorScatter(
    past_cache: Array, update: Array, write_indices: Array | None = None, *, axis: int = -2, mode: str = "linear"
) -> Array:
    """Return a cache with an update along an axis, in each row from a place of its own on.

    With the mode ``circular`` what would lie behind the end goes on at the front.
    """
    rank, shape, new = past_cache.ndim, tuple(past_cache.shape), tuple(update.shape)
    at = axis % rank if -rank <= axis < rank else 0
    size, count = (shape[at], new[at]) if at and len(new) == rank else (0, 0)
    if not at or len(new) != rank or count > size or new != (*shape[:at], count, *shape[at + 1 :]):
        raise ShapeError(
            f"TensorScatter expected an update within {shape}, shorter along axis {axis} alone, found {new}"
        )
    if mode not in ("linear", "circular"):
        raise DataError(f"TensorScatter has the mode {mode[:40]!r}; known: linear, circular")
    xp = array_namespace(past_cache, update)
    if not count or 0 in shape:
        return past_cache
    if write_indices is None:
        write_indices = beside(np.zeros(shape[0], np.int64), past_cache)
    steps = beside(np.arange(size), past_cache) - xp.reshape(write_indices, (-1, 1))  # (rows, size)
    if mode == "circular":
        steps = xp.remainder(steps, size)
    hit = (steps >= 0) & (steps < count)
    steps = xp.where(hit, steps, xp.zeros_like(steps))
    between, width = math.prod(shape[1:at]), math.prod(shape[at + 1 :])
    rows = beside(np.arange(shape[0] * between).reshape(shape[0], between, 1) * count, past_cache)
    places = xp.reshape(rows + xp.expand_dims(steps, axis=1), (-1,))
    found = xp.take(xp.reshape(update, (shape[0] * between * count, width)), places, axis=0)
    hit = xp.reshape(hit, (shape[0], *[1] * (at - 1), size, *[1] * (rank - at - 1)))
    return xp.where(hit, xp.reshape(found, shape), past_cache)
