"""Convolution and pooling on NumPy: columns of a few images at a time, and one matrix product for each image."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from anyback._typing import Array
from anyback.backends._blas import QUIET
from anyback.backends._scratch import Scratch
from anyback.plan import Shape

__all__ = ["conv", "convolved", "max_pool"]

#: Bytes of the columns that are made at a time, so that they are multiplied while they are in the cache.
_COLUMNS = 2**20

#: The most numbers of a block of channels in a depthwise convolution, so that they stay in the cache.
_BLOCK = 2**17

_columns, _padded = Scratch(), Scratch()

Pads = tuple[tuple[int, int], ...]


def conv(x: Array, weight: Array, bias: Array | None = None, **attributes: Any) -> Array:
    """Return the convolution of images with filters; the arguments are those of the op."""
    return convolved(weight, bias, **attributes)(x)


def convolved(
    weight: Array, bias: Array | None = None, *, stride: Shape, padding: Pads, dilation: Shape, groups: int
) -> Callable[[Array], Array]:
    """Return the convolution of images, of the filters' type or of integers, with these filters."""
    filters, depth, *window = weight.shape
    size, dtype = tuple(window), weight.dtype.newbyteorder("=")
    rows = np.ascontiguousarray(weight, dtype).reshape(groups, filters // groups, depth * math.prod(size))
    added = None if bias is None else bias.reshape(filters, 1)
    bare = set(size) == set(stride) == {1} and not np.any(padding)
    depthwise = depth == 1 and filters == groups

    @QUIET
    def product(x: Array) -> Array:
        axes = tuple(
            (axis + sum(pads) - apart * (k - 1) - 1) // step + 1
            for axis, k, step, pads, apart in zip(x.shape[2:], size, stride, padding, dilation, strict=True)
        )
        places = math.prod(axes)
        y = np.empty((len(x), filters, places), dtype)
        numbers = x.shape[1] * math.prod(size if not depthwise else stride) * places
        images = max(1, _COLUMNS // max(1, numbers * dtype.itemsize))
        for start in range(0, len(x), images):
            part, out = x[start : start + images], y[start : start + images]
            if depthwise:
                _depthwise(part, rows, size, stride, padding, dilation, out.reshape(len(part), filters, *axes))
            else:
                if bare:
                    columns = np.ascontiguousarray(part, dtype)
                else:
                    views = _views(_pad(part, padding, dtype), size, stride, dilation, axes)
                    columns = _columns.array(views.shape, dtype)
                    columns[...] = views
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
    """Return a view of shape (n, channels, *size, *axes): for each place of the window, its numbers in all windows."""
    n, channels, *steps = x.strides
    apart = tuple(step * d for step, d in zip(steps, dilation, strict=True))
    further = tuple(step * s for step, s in zip(steps, stride, strict=True))
    shape = (*x.shape[:2], *size, *axes)
    return np.lib.stride_tricks.as_strided(x, shape, (n, channels, *apart, *further), writeable=False)


def _depthwise(x: Array, taps: Array, size: Shape, stride: Shape, padding: Pads, dilation: Shape, out: Array) -> None:
    """Write the convolution of each channel with its own filter to `out`, of shape (n, channels, *axes).

    Numbers whose places have the same remainder by the stride are put together, and each channel of them is one line in
    memory. For each place of the window, its numbers in all windows are then one piece of that line, with some numbers
    between the lines of the result, which are left out.
    """
    (n, channels), axes = x.shape[:2], out.shape[2:]
    reach = [
        count + apart * (k - 1) // step for count, k, step, apart in zip(axes, size, stride, dilation, strict=True)
    ]
    parts = _by_remainder(x, reach, stride, padding, taps.dtype)
    rows = parts.reshape(math.prod(stride), n, channels, -1)
    # The distance in the line between neighbours along each axis.
    further = [math.prod(reach[i + 1 :]) for i in range(len(reach))]
    length = sum((count - 1) * step for count, step in zip(axes, further, strict=True)) + 1
    seen = []
    for place in itertools.product(*map(range, size)):
        at = [i * apart for i, apart in zip(place, dilation, strict=True)]
        remainder = np.ravel_multi_index([i % step for i, step in zip(at, stride, strict=True)], stride)
        first = sum(i // step * far for i, step, far in zip(at, stride, further, strict=True))
        seen.append((remainder, slice(first, first + length)))
    numbers = taps.reshape(channels, len(seen), 1)
    whole = (axes[0], *reach[1:])
    some = max(1, _BLOCK // math.prod(whole))
    images, some = max(1, some // channels), min(some, channels)
    inner = (slice(None), slice(None), *map(slice, axes))
    for image in range(0, n, images):
        for channel in range(0, channels, some):
            block = slice(image, image + images), slice(channel, channel + some)
            tap = numbers[block[1]]
            shape = out[block].shape[:2]
            total = np.empty((*shape, math.prod(whole)), out.dtype)
            sums, term = total[..., :length], np.empty((*shape, length), out.dtype)
            for i, (remainder, piece) in enumerate(seen):
                part = rows[remainder][(*block, piece)]
                if i:
                    np.add(sums, np.multiply(part, tap[:, i], out=term), out=sums)
                else:
                    np.multiply(part, tap[:, i], out=sums)
            out[block] = total.reshape(*shape, *whole)[inner]


def _by_remainder(x: Array, reach: Sequence[int], stride: Shape, padding: Pads, dtype: Any) -> Array:
    """Return images by the remainder of places by the stride: shape (*stride, n, channels, *reach), zeros around."""
    fronts = [before for before, _ in padding]
    wholes = [count * step for count, step in zip(reach, stride, strict=True)]
    kept = tuple(slice(0, whole - front) for whole, front in zip(wholes, fronts, strict=True))
    inner = x[(slice(None), slice(None), *kept)]
    if set(stride) == {1} and inner.shape[2:] == tuple(wholes):
        return np.ascontiguousarray(inner, dtype)
    wide = _padded.array((*x.shape[:2], *wholes), dtype)
    wide[...] = 0
    filled = tuple(slice(front, front + k) for front, k in zip(fronts, inner.shape[2:], strict=True))
    wide[(slice(None), slice(None), *filled)] = inner
    if set(stride) == {1}:
        return wide
    axes = len(stride)
    split = wide.reshape(*x.shape[:2], *[k for pair in zip(reach, stride, strict=True) for k in pair])
    order = (*range(3, 3 + 2 * axes, 2), 0, 1, *range(2, 2 + 2 * axes, 2))
    parts = _columns.array((*stride, *x.shape[:2], *reach), dtype)
    parts[...] = split.transpose(order)
    return parts


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
