"""Pooling: one number for each window, or for each channel."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from anyback._typing import Array, Namespace
from anyback.backends import array_namespace, is_float
from anyback.errors import DataError, ShapeError
from anyback.onnx._arrays import beside, index_dtype, narrowed, widened
from anyback.onnx._operator import Ints, operator, several
from anyback.onnx._sliding import Window, window
from anyback.onnx._types import check_size
from anyback.ops._windows import padded, seen, spatial
from anyback.ops.pooling import average_pool, max_pool

__all__ = [
    "AveragePool",
    "GlobalAveragePool",
    "GlobalLpPool",
    "GlobalLpPool_1",
    "GlobalMaxPool",
    "LpPool",
    "LpPool_1",
    "MaxPool",
    "MaxUnpool",
]


@operator()
def MaxPool(
    X: Array,
    *,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    dilations: Ints | None = None,
    kernel_shape: Ints,
    pads: Ints | None = None,
    storage_order: int = 0,
    strides: Ints | None = None,
    outputs: int = 1,
) -> Any:
    """Return the largest number of each window, and where in the whole array it stands."""
    found = window("MaxPool", X.shape, kernel_shape, strides, pads, dilations, auto_pad, ceil_mode)
    if outputs == 1 and _is_whole(X, found):
        return GlobalMaxPool.compute(X)
    if outputs == 1:
        return max_pool(
            X,
            size=found.size,
            stride=found.stride,
            padding=found.padding,
            dilation=found.dilation,
            ceil=found.ceil,
        )
    return several(_largest(X, found, storage_order), outputs)


def _is_whole(x: Array, of: Window) -> bool:
    """Return whether there is one window, which is the whole image."""
    return of.size == tuple(x.shape[2:]) and set(of.dilation) == {1} and not any(map(any, of.padding))


def _largest(x: Array, of: Window, storage_order: int) -> tuple[Array, Array]:
    """Return the largest numbers of windows, and the number of the first place of each in the whole array.

    What is added around is never larger than a number, so the first place that lies inside stands for windows in
    which no number is larger than the padding.
    """
    xp, axes = array_namespace(x), tuple(x.shape[2:])
    count = spatial("MaxPool", axes, of.size, of.stride, of.padding, of.dilation, of.ceil)
    rank = len(axes)
    factors = [math.prod(axes[:i]) if storage_order else math.prod(axes[i + 1 :]) for i in range(rank)]
    corner, first = np.zeros(count, np.int64), np.zeros(count, np.int64)
    behind = []
    along = zip(axes, count, of.stride, of.dilation, of.padding, of.size, factors, strict=True)
    for i, (axis, windows, step, apart, (front, _), k, factor) in enumerate(along):
        start = np.arange(windows) * step - front
        inside = start + np.maximum(-(start // apart), 0) * apart
        shape = (1,) * i + (-1,) + (1,) * (rank - i - 1)
        corner += start.reshape(shape) * factor
        first += np.where(start < 0, inside, start).reshape(shape) * factor
        behind.append(max(0, (windows - 1) * step + apart * (k - 1) + 1 - axis - front))
    n, channels = x.shape[:2]
    images = np.arange(n * channels).reshape(n, channels, *[1] * rank) * math.prod(axes)
    least = -math.inf if is_float(x) else xp.iinfo(x.dtype).min
    pads = tuple((front, more) for (front, _), more in zip(of.padding, behind, strict=True))
    views = seen(padded(x, pads, least), of.size, of.stride, of.dilation, count)
    best = place = None
    starts = beside(corner, x)
    for taps, view in zip(np.ndindex(*of.size), views, strict=True):
        if best is None:
            best = view
            place = xp.broadcast_to(beside(first, x), tuple(view.shape))
            continue
        better = view > best
        if is_float(x):
            better = better | (xp.isnan(view) & ~xp.isnan(best))
        moved = sum(t * apart * factor for t, apart, factor in zip(taps, of.dilation, factors, strict=True))
        best, place = xp.where(better, view, best), xp.where(better, starts + moved, place)
    return best, place + beside(images, x)


@operator()
def AveragePool(
    X: Array,
    *,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    count_include_pad: int = 0,
    dilations: Ints | None = None,
    kernel_shape: Ints,
    pads: Ints | None = None,
    strides: Ints | None = None,
) -> Array:
    """Return the mean of each window, of the numbers of the padding or without them."""
    found = window("AveragePool", X.shape, kernel_shape, strides, pads, dilations, auto_pad, ceil_mode)
    if _is_whole(X, found):
        return _mean(X)
    return average_pool(
        X,
        size=found.size,
        stride=found.stride,
        padding=found.padding,
        ceil=found.ceil,
        count_padding=bool(count_include_pad),
        dilation=found.dilation,
    )


@operator(since=2)
def LpPool(
    X: Array,
    *,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    dilations: Ints | None = None,
    kernel_shape: Ints,
    p: int = 2,
    pads: Ints | None = None,
    strides: Ints | None = None,
) -> Array:
    """Return the root of the sum of powers of each window."""
    found = window("LpPool", X.shape, kernel_shape, strides, pads, dilations, auto_pad, ceil_mode)
    axes = tuple(X.shape[2:])
    count = spatial("LpPool", axes, found.size, found.stride, found.padding, found.dilation, found.ceil)
    y = _power(widened(X), p)
    for i, windows in enumerate(count):  # one axis after the other
        k, step, apart, (front, _) = found.size[i], found.stride[i], found.dilation[i], found.padding[i]
        behind = max(0, (windows - 1) * step + apart * (k - 1) + 1 - axes[i] - front)
        y = padded(y, tuple((front, behind) if j == i else (0, 0) for j in range(len(axes))), 0.0)
        before = (slice(None),) * (2 + i)
        cuts = [slice(t * apart, t * apart + (windows - 1) * step + 1, step) for t in range(k)]
        first, *others = [y[(*before, cut, ...)] for cut in cuts]
        y = sum(others, first)
    return narrowed(_root(y, p), X.dtype)


@operator(name="LpPool")
def LpPool_1(
    X: Array,
    *,
    auto_pad: str = "NOTSET",
    kernel_shape: Ints | None = None,
    p: float = 2.0,
    pads: Ints | None = None,
    strides: Ints | None = None,
) -> Array:
    """Return the root of the sum of powers of each window; `p` may be any number."""
    if kernel_shape is None:
        raise DataError("LpPool has no kernel_shape")
    return LpPool.compute(X, auto_pad=auto_pad, kernel_shape=kernel_shape, p=p, pads=pads, strides=strides)


def _power(x: Array, p: float) -> Array:
    xp = array_namespace(x)
    return xp.square(x) if p == 2 else xp.abs(x) if p == 1 else xp.abs(x) ** float(p)


def _root(x: Array, p: float) -> Array:
    return array_namespace(x).sqrt(x) if p == 2 else x if p == 1 else x ** (1.0 / p)


def _over_channels(x: Array, reduce: Callable[[Namespace, Array, tuple[int, ...]], Array]) -> Array:
    """Return one number for each channel, with as many axes as before."""
    if x.ndim < 3:
        raise ShapeError(f"global pooling expected shape (n, channels, *axes), found {tuple(x.shape)}")
    return reduce(array_namespace(x), x, tuple(range(2, x.ndim)))


def _mean(x: Array) -> Array:
    y = _over_channels(widened(x), lambda xp, wide, axes: xp.mean(wide, axis=axes, keepdims=True))
    return narrowed(y, x.dtype)


@operator()
def GlobalAveragePool(X: Array) -> Array:
    """Return the mean of each channel."""
    return _mean(X)


@operator()
def GlobalMaxPool(X: Array) -> Array:
    """Return the largest number of each channel."""
    return _over_channels(X, lambda xp, x, axes: xp.max(x, axis=axes, keepdims=True))


@operator(since=2)
def GlobalLpPool(X: Array, *, p: int = 2) -> Array:
    """Return the root of the sum of powers of each channel."""
    y = _over_channels(widened(X), lambda xp, x, axes: _root(xp.sum(_power(x, p), axis=axes, keepdims=True), p))
    return narrowed(y, X.dtype)


@operator(name="GlobalLpPool")
def GlobalLpPool_1(X: Array, *, p: float = 2.0) -> Array:
    """Return the root of the sum of powers of each channel; `p` may be any number."""
    return GlobalLpPool.compute(X, p=p)


@operator()
def MaxUnpool(
    X: Array,
    I: Array,  # noqa: E741
    output_shape: Ints | None = None,
    *,
    kernel_shape: Ints,
    pads: Ints | None = None,
    strides: Ints | None = None,
) -> Array:
    """Return zeros with the numbers of `X` at the places that `MaxPool` named, of which the last one stays.

    The places are those of an array as large as the windows say; `output_shape` adds zeros behind, or cuts.
    """
    found = window("MaxUnpool", X.shape, kernel_shape, strides, pads, None, "NOTSET")
    axes = [
        (n - 1) * step - sum(both) + k
        for n, step, both, k in zip(X.shape[2:], found.stride, found.padding, found.size, strict=True)
    ]
    shape = (*X.shape[:2], *axes)
    wanted = shape if output_shape is None else tuple(output_shape)
    if len(wanted) != len(shape) or min(shape) < 0 or tuple(I.shape) != tuple(X.shape):
        raise ShapeError(f"MaxUnpool: a result of shape {wanted} does not fit {tuple(X.shape)} and {tuple(I.shape)}")
    check_size(shape, "MaxUnpool")
    check_size(wanted, "MaxUnpool")
    xp, cells = array_namespace(X, I), math.prod(shape)
    if not cells or not math.prod(X.shape):
        return _zeros(X, wanted)
    places, numbers = xp.reshape(I, (-1,)), xp.reshape(X, (-1,))
    order = xp.argsort(places, stable=True)
    places, numbers = xp.take(places, order, axis=0), xp.take(numbers, order, axis=0)
    every = xp.astype(beside(np.arange(cells), X), places.dtype)
    last = xp.searchsorted(places, every, side="right") - 1  # of equal places the last; -1 before the first
    last = xp.maximum(xp.astype(last, index_dtype(X)), beside(np.zeros(1, np.int64), X))
    hit = xp.take(places, last, axis=0) == every
    y = xp.take(numbers, last, axis=0)
    y = xp.reshape(xp.where(hit, y, xp.zeros_like(y)), shape)
    for axis, (has, size) in enumerate(zip(shape, wanted, strict=True)):
        if size < has:
            y = y[(*[slice(None)] * axis, slice(0, size), ...)]
        elif size > has:
            y = xp.concat([y, _zeros(X, (*y.shape[:axis], size - has, *y.shape[axis + 1 :]))], axis=axis)
    return y


def _zeros(like: Array, shape: tuple[int, ...]) -> Array:
    zero = np.zeros((), np.int64)
    return array_namespace(like).astype(array_namespace(like).broadcast_to(beside(zero, like), shape), like.dtype)
