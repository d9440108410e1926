"""Convolution and pooling on NumPy: columns of a few images at a time, and one matrix product for each image."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from anyback._typing import Array
from anyback.backends._scratch import Scratch
from anyback.plan import Shape

__all__ = ["conv", "convolved", "max_pool"]

#: Bytes of the columns that are made and multiplied while they are in the cache.
_COLUMNS = 2**20

_columns, _padded = Scratch(), Scratch()

Pads = tuple[tuple[int, int], ...]


def conv(x: Array, weight: Array, bias: Array | None = None, **attributes: Any) -> Array:
    """Return the convolution of images with filters; the arguments are those of the op."""
    return convolved(weight, bias, **attributes)(x)


def convolved(
    weight: Array, bias: Array | None = None, *, stride: Shape, padding: Pads, dilation: Shape, groups: int
) -> Callable[[Array], Array]:
    """Return the convolution with these filters, of images of their type or of integers."""
    filters, depth, *window = weight.shape
    size, dtype = tuple(window), weight.dtype.newbyteorder("=")
    rows = np.ascontiguousarray(weight, dtype).reshape(groups, filters // groups, depth * math.prod(size))
    added = None if bias is None else bias.reshape(filters, 1)
    bare = set(size) == set(stride) == {1} and not np.any(padding)
    depthwise = depth == 1 and filters == groups

    def product(x: Array) -> Array:
        axes = tuple(
            (axis + sum(pads) - apart * (k - 1) - 1) // step + 1
            for axis, k, step, pads, apart in zip(x.shape[2:], size, stride, padding, dilation, strict=True)
        )
        places = math.prod(axes)
        y = np.empty((len(x), filters, places), dtype)
        numbers = places if depthwise else x.shape[1] * math.prod(size) * places
        images = max(1, _COLUMNS // max(1, numbers * dtype.itemsize))
        for start in range(0, len(x), images):
            part, out = x[start : start + images], y[start : start + images]
            if bare and not depthwise:
                columns = np.ascontiguousarray(part, dtype)
            else:
                views = _views(_pad(part, padding, dtype), size, stride, dilation, axes)
                if depthwise:
                    _sum_of_taps(views, rows, out)
                    columns = None
                else:
                    columns = _columns.array(views.shape, dtype)
                    columns[...] = views
            if columns is not None:
                columns = columns.reshape(len(part), groups, rows.shape[2], places)
                np.matmul(rows, columns, out=out.reshape(len(part), groups, rows.shape[1], places))
            if added is not None:
                out += added
        return y.reshape(len(x), filters, *axes)

    return product


def _pad(x: Array, padding: Pads, dtype: Any, value: float = 0.0, scratch: Scratch = _padded) -> Array:
    """Return images in a type, with numbers added around their last axes."""
    if not np.any(padding):
        return x if x.dtype == dtype else x.astype(dtype)
    shape = (*x.shape[:2], *(axis + sum(pads) for axis, pads in zip(x.shape[2:], padding, strict=True)))
    wide = scratch.array(shape, dtype)
    wide[...] = value
    inner = tuple(slice(before, before + axis) for axis, (before, _) in zip(x.shape[2:], padding, strict=True))
    wide[(slice(None), slice(None), *inner)] = x
    return wide


def _views(x: Array, size: Shape, stride: Shape, dilation: Shape, axes: Shape) -> Array:
    """Return what each place of a window sees, as a view of shape (n, channels, *size, *axes)."""
    n, channels, *steps = x.strides
    apart = tuple(step * d for step, d in zip(steps, dilation, strict=True))
    further = tuple(step * s for step, s in zip(steps, stride, strict=True))
    shape = (*x.shape[:2], *size, *axes)
    return np.lib.stride_tricks.as_strided(x, shape, (n, channels, *apart, *further), writeable=False)


def _sum_of_taps(views: Array, taps: Array, out: Array) -> None:
    """Write the sum of what each place of the window sees, times its number of each channel, to `out`."""
    channels = views.shape[1]
    numbers = taps.reshape(channels, -1)
    spatial = (views.ndim - 2) // 2
    for i, place in enumerate(np.ndindex(views.shape[2 : 2 + spatial])):
        tap = numbers[:, i].reshape(channels, *[1] * spatial)
        term = views[(slice(None), slice(None), *place)] * tap
        if i:
            out += term.reshape(out.shape)
        else:
            out[...] = term.reshape(out.shape)


def max_pool(x: Array, *, size: Shape, stride: Shape, padding: Pads, dilation: Shape, ceil: bool = False) -> Array:
    """Return the largest number of each window, one axis after the other; the arguments are those of the op."""
    least = np.iinfo(x.dtype).min if x.dtype.kind in "iu" else -math.inf
    for axis, (k, step, (before, behind), apart) in enumerate(
        zip(size, stride, padding, dilation, strict=True), start=2
    ):
        reach, room = apart * (k - 1) + 1, x.shape[axis] + before + behind
        count = -(-(room - reach) // step) + 1 if ceil else (room - reach) // step + 1
        if ceil and (count - 1) * step >= x.shape[axis] + before:  # it would begin in the padding behind
            count -= 1
        more = max(behind, (count - 1) * step + reach - x.shape[axis] - before)
        if before or more:
            pads = tuple((before, more) if i == axis - 2 else (0, 0) for i in range(x.ndim - 2))
            x = _pad(x, pads, x.dtype, least, Scratch())
        cuts = [slice(i * apart, i * apart + (count - 1) * step + 1, step) for i in range(k)]
        first, *others = [x[(*[slice(None)] * axis, cut)] for cut in cuts]
        x = np.maximum(first, others[0]) if others else first.copy()
        for other in others[1:]:
            np.maximum(x, other, out=x)
    return x
