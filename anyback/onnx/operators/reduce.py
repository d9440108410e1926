"""Operators that make one number of many."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import array_api_compat

from anyback._typing import Array, Namespace
from anyback.backends import array_namespace, is_integer
from anyback.numbers import dtype_name
from anyback.onnx._arrays import axis_of, is_unsigned
from anyback.onnx._operator import Ints, operator
from anyback.onnx._types import cast, in_widest_float

__all__ = [
    "ArgMax",
    "ArgMin",
    "CumProd",
    "CumSum",
    "ReduceL1",
    "ReduceL2",
    "ReduceLogSum",
    "ReduceLogSumExp",
    "ReduceMax",
    "ReduceMean",
    "ReduceMin",
    "ReduceProd",
    "ReduceSum",
    "ReduceSumSquare",
]

#: Numbers that are added one after the other, and the types of numbers for which that is said here.
_BLOCK = 32
_IN_BLOCKS = ("float32", "float64")


def _reduced(
    data: Array,
    axes: tuple[int, ...] | None,
    keepdims: int,
    noop: int,
    reduce: Callable[[Namespace, Array, Any, bool], Array],
    alone: Callable[[Namespace, Array], Array] = lambda xp, x: x,
) -> Array:
    """Reduce along axes: all of them where none are named, or none at all where that is asked for."""
    xp = array_namespace(data)
    if not axes:
        if noop:
            return alone(xp, data)
        axes = tuple(range(data.ndim))
    axes = tuple(axis_of(axis, data.ndim, "a reduction") for axis in axes)
    if not axes or not data.ndim:
        return alone(xp, data)
    y = reduce(xp, data, axes, bool(keepdims))
    return y if y.dtype == data.dtype else xp.astype(y, data.dtype)


def _sum(xp: Namespace, x: Array, axes: tuple[int, ...], keep: bool) -> Array:
    if dtype_name(x.dtype) in _IN_BLOCKS:
        for axis in {axis % x.ndim for axis in axes} - {x.ndim - 1}:
            x = _block_sums(xp, x, axis)
    return xp.sum(x, axis=axes, keepdims=keep, dtype=x.dtype)


def _block_sums(xp: Namespace, x: Array, axis: int) -> Array:
    """Return sums of blocks along an axis, until there are few.

    NumPy adds in pairs along the last axis alone. Along another it adds one number after the other, and loses a digit
    of the sum of some hundred.
    """
    while (size := x.shape[axis]) > 2 * _BLOCK:
        start, end = x.shape[:axis], x.shape[axis + 1 :]
        along = (slice(None),) * axis
        whole = size - size % _BLOCK
        blocks = xp.reshape(x[(*along, slice(whole), ...)], (*start, whole // _BLOCK, _BLOCK, *end))
        sums = [xp.sum(blocks, axis=axis + 1, dtype=x.dtype)]
        if whole < size:
            sums.append(xp.sum(x[(*along, slice(whole, None), ...)], axis=axis, keepdims=True, dtype=x.dtype))
        x = xp.concat(sums, axis=axis) if sums[1:] else sums[0]
    return x


@operator(fresh=False)
def ReduceSum(data: Array, axes: Ints | None = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0) -> Array:
    """Return sums."""
    return _reduced(data, axes, keepdims, noop_with_empty_axes, _sum)


@operator()
def ReduceMean(data: Array, axes: Ints | None = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0) -> Array:
    """Return means; of integers, cut off."""

    def mean(xp: Namespace, x: Array, along: Any, keep: bool) -> Array:
        if is_integer(x):
            return xp.mean(cast(x, "float32"), axis=along, keepdims=keep)
        if dtype_name(x.dtype) in _IN_BLOCKS:
            return _sum(xp, x, along, keep) / math.prod(x.shape[axis] for axis in along)
        return xp.mean(x, axis=along, keepdims=keep)  # of a half type, without rounding each sum to it

    return _reduced(data, axes, keepdims, noop_with_empty_axes, mean)


def _extreme(name: str) -> Callable[[Namespace, Array, Any, bool], Array]:
    """Return what gives the largest or smallest number; of none, the other end of the type; booleans as 0 and 1."""

    def extreme(xp: Namespace, x: Array, axes: Any, keep: bool) -> Array:
        if dtype_name(x.dtype) == "bool":
            return (xp.any if name == "max" else xp.all)(x, axis=axes, keepdims=keep)
        if 0 in x.shape:
            gone = set(axes)
            shape = [1 if i in gone else n for i, n in enumerate(x.shape)]
            shape = shape if keep else [n for i, n in enumerate(x.shape) if i not in gone]
            if is_integer(x):
                info = xp.iinfo(x.dtype)
                end: Any = info.min if name == "max" else info.max
            else:
                end = float("-inf") if name == "max" else float("inf")
            return xp.full(tuple(shape), end, dtype=x.dtype, device=array_api_compat.device(x))
        return getattr(xp, name)(x, axis=axes, keepdims=keep)

    return extreme


@operator()
def ReduceMax(data: Array, axes: Ints | None = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0) -> Array:
    """Return the largest numbers."""
    return _reduced(data, axes, keepdims, noop_with_empty_axes, _extreme("max"))


@operator()
def ReduceMin(data: Array, axes: Ints | None = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0) -> Array:
    """Return the smallest numbers."""
    return _reduced(data, axes, keepdims, noop_with_empty_axes, _extreme("min"))


@operator()
def ReduceProd(data: Array, axes: Ints | None = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0) -> Array:
    """Return products."""

    def product(xp: Namespace, x: Array, along: Any, keep: bool) -> Array:
        # PyTorch multiplies along one axis at a time.
        return xp.prod(x, axis=along, keepdims=keep, dtype=x.dtype)

    return _reduced(data, axes, keepdims, noop_with_empty_axes, product)


@operator()
def ReduceL1(data: Array, axes: Ints | None = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0) -> Array:
    """Return sums of absolute values."""

    def absolute(xp: Namespace, x: Array) -> Array:
        return x if is_unsigned(x) else xp.abs(x)

    return _reduced(
        data,
        axes,
        keepdims,
        noop_with_empty_axes,
        lambda xp, x, along, keep: _sum(xp, absolute(xp, x), along, keep),
        absolute,
    )


def _root(xp: Namespace, x: Array) -> Array:
    """Return square roots, of integers too, in floating-point numbers."""
    return xp.sqrt(in_widest_float(x) if is_integer(x) else x)


@operator()
def ReduceL2(data: Array, axes: Ints | None = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0) -> Array:
    """Return roots of sums of squares."""
    return _reduced(
        data,
        axes,
        keepdims,
        noop_with_empty_axes,
        lambda xp, x, along, keep: _root(xp, _sum(xp, x * x, along, keep)),
        lambda xp, x: x if is_unsigned(x) else xp.abs(x),
    )


def _log(xp: Namespace, x: Array) -> Array:
    if is_integer(x):
        return xp.astype(xp.log(in_widest_float(x)), x.dtype)
    return xp.log(x)


@operator()
def ReduceLogSum(data: Array, axes: Ints | None = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0) -> Array:
    """Return logarithms of sums."""
    return _reduced(
        data, axes, keepdims, noop_with_empty_axes, lambda xp, x, along, keep: _log(xp, _sum(xp, x, along, keep)), _log
    )


@operator()
def ReduceLogSumExp(
    data: Array, axes: Ints | None = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0
) -> Array:
    """Return logarithms of sums of exponentials, below the largest so that none overflows."""

    def stable(xp: Namespace, x: Array, along: Any, keep: bool) -> Array:
        x = in_widest_float(x) if is_integer(x) else x
        if 0 in x.shape:
            return xp.log(_sum(xp, x, along, keep))
        top = xp.max(x, axis=along, keepdims=True)
        top = xp.where(xp.isfinite(top), top, xp.zeros_like(top))
        y = xp.log(_sum(xp, xp.exp(x - top), along, True)) + top
        gone = set(along)
        return y if keep else xp.reshape(y, tuple(n for i, n in enumerate(x.shape) if i not in gone))

    return _reduced(data, axes, keepdims, noop_with_empty_axes, stable)


@operator()
def ReduceSumSquare(
    data: Array, axes: Ints | None = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0
) -> Array:
    """Return sums of squares."""
    return _reduced(
        data,
        axes,
        keepdims,
        noop_with_empty_axes,
        lambda xp, x, along, keep: _sum(xp, x * x, along, keep),
        lambda xp, x: x * x,
    )


def _place(name: str, data: Array, axis: int, keepdims: int, last: int) -> Array:
    xp, axis = array_namespace(data), axis_of(axis, data.ndim, "ArgMax" if name == "argmax" else "ArgMin")
    if not data.ndim:
        return cast(xp.zeros_like(data), "int64")
    x = xp.flip(data, axis=axis) if last else data
    y = getattr(xp, name)(x, axis=axis, keepdims=bool(keepdims))
    y = data.shape[axis] - 1 - y if last else y
    return cast(y, "int64")


@operator()
def ArgMax(data: Array, *, axis: int = 0, keepdims: int = 1, select_last_index: int = 0) -> Array:
    """Return the places of the largest numbers: the first or the last of them."""
    return _place("argmax", data, axis, keepdims, select_last_index)


@operator()
def ArgMin(data: Array, *, axis: int = 0, keepdims: int = 1, select_last_index: int = 0) -> Array:
    """Return the places of the smallest numbers: the first or the last of them."""
    return _place("argmin", data, axis, keepdims, select_last_index)


def _running(name: str, x: Array, axis: int, exclusive: int, reverse: int) -> Array:
    """Return what has been added up or multiplied as far as each number, itself included or not."""
    xp, start = array_namespace(x), 0 if name == "sum" else 1
    at = axis_of(axis, x.ndim, "CumSum" if name == "sum" else "CumProd")
    if 0 in x.shape:
        return x
    x = xp.flip(x, axis=at) if reverse else x
    if exclusive:
        before = (slice(None),) * at
        first = xp.full_like(x[(*before, slice(0, 1), ...)], start)
        x = xp.concat([first, x[(*before, slice(0, max(0, x.shape[at] - 1)), ...)]], axis=at)
    y = getattr(xp, f"cumulative_{name}")(x, axis=at, dtype=x.dtype)
    return xp.flip(y, axis=at) if reverse else y


@operator()
def CumSum(x: Array, axis: Ints, *, exclusive: int = 0, reverse: int = 0) -> Array:
    """Return running sums."""
    return _running("sum", x, axis[0], exclusive, reverse)


@operator()
def CumProd(x: Array, axis: Ints, *, exclusive: int = 0, reverse: int = 0) -> Array:
    """Return running products."""
    return _running("prod", x, axis[0], exclusive, reverse)
