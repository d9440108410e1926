"""Pooling, in the standard alone: the largest number of a window, or its mean."""

from __future__ import annotations

import math
from typing import Any

from anyback._typing import Array
from anyback.backends import array_namespace, is_float
from anyback.errors import ShapeError
from anyback.ops._casts import KEEP
from anyback.ops._op import op
from anyback.ops._windows import Pads, padded, seen, spatial
from anyback.plan import Rows, Shape

__all__ = ["average_pool", "global_average_pool", "max_pool"]


def _shape(
    x: Shape | None, *, size: Shape, stride: Shape, padding: Pads, ceil: bool = False, **attributes: Any
) -> Shape | None:
    if x is None or None in x[1:]:
        return None
    if len(x) != len(size) + 2:
        raise ShapeError(f"pooling expected shape (n, channels, {', '.join(['size'] * len(size))}), found {tuple(x)}")
    dilation = attributes.get("dilation") or (1,) * len(size)
    return (*x[:2], *spatial("pooling", tuple(x[2:]), size, stride, padding, dilation, ceil))


def _reached(x: Array, size: Shape, stride: Shape, padding: Pads, dilation: Shape, count: Shape) -> Pads:
    """Return the padding, enlarged behind each axis as far as its last window reaches."""
    ends = [
        (n - 1) * step + apart * (k - 1) + 1 for k, step, apart, n in zip(size, stride, dilation, count, strict=True)
    ]
    axes = x.shape[x.ndim - len(size) :]
    return tuple(
        (before, max(behind, end - axis - before))
        for (before, behind), end, axis in zip(padding, ends, axes, strict=True)
    )


@op(_shape, rows=Rows.ALONE, casts=KEEP)
def max_pool(x: Array, *, size: Shape, stride: Shape, padding: Pads, dilation: Shape, ceil: bool = False) -> Array:
    """Return the largest number of each window; nan where the window holds a nan.

    Parameters
    ----------
    x : array of floating-point numbers or integers
        Shape (n, channels, *axes).
    size, stride, dilation : tuple of int
        For each axis: the places of the window, the step between windows, and the distance between places.
    padding : tuple of (int, int)
        For each axis, how many places are added in front and behind; they never count as the largest.
    ceil : bool
        Whether a last window may reach beyond the padding.

    Returns
    -------
    array
        Shape (n, channels, *windows), of the same type.

    Raises
    ------
    ShapeError
        If no window fits.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.arange(16.0).reshape(1, 1, 4, 4)
    >>> max_pool(x, size=(2, 2), stride=(2, 2), padding=((0, 0), (0, 0)), dilation=(1, 1))
    array([[[[ 5.,  7.],
             [13., 15.]]]])
    """
    xp = array_namespace(x)
    count = spatial("max_pool", tuple(x.shape[2:]), size, stride, padding, dilation, ceil)
    least = -math.inf if is_float(x) else xp.iinfo(x.dtype).min
    x = padded(x, _reached(x, size, stride, padding, dilation, count), least)
    y, *views = seen(x, size, stride, dilation, count)
    for view in views:
        y = xp.maximum(y, view)
    return y


@op(_shape, rows=Rows.ALONE, fresh=True)
def average_pool(
    x: Array,
    *,
    size: Shape,
    stride: Shape,
    padding: Pads,
    ceil: bool = False,
    count_padding: bool = True,
    dilation: Shape | None = None,
) -> Array:
    """Return the mean of each window.

    Parameters
    ----------
    x : array, real
        Shape (n, channels, *axes).
    size, stride : tuple of int
        For each axis: the places of the window, and the step between windows.
    padding : tuple of (int, int)
        For each axis, how many zeros are added in front and behind.
    ceil : bool
        Whether a last window may reach beyond the padding; the places beyond never count.
    count_padding : bool
        Whether zeros of the padding count as numbers.
    dilation : tuple of int or None
        For each axis, the distance between the places of a window; None is 1 for each.

    Returns
    -------
    array, floating-point
        Shape (n, channels, *windows).

    Raises
    ------
    ShapeError
        If no window fits.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.arange(16.0).reshape(1, 1, 4, 4)
    >>> average_pool(x, size=(2, 2), stride=(2, 2), padding=((0, 0), (0, 0)))
    array([[[[ 2.5,  4.5],
             [10.5, 12.5]]]])
    """
    apart, axes = dilation or (1,) * len(size), tuple(x.shape[2:])
    count = spatial("average_pool", axes, size, stride, padding, apart, ceil)
    x = padded(x, _reached(x, size, stride, padding, apart, count), 0.0)
    if set(count) == set(apart) == {1}:
        y = _sum_of_all(x[(slice(None), slice(None), *map(slice, size))])
    else:
        y, *views = seen(x, size, stride, apart, count)
        for view in views:
            y = y + view
    rows = zip(axes, size, stride, apart, padding, count, strict=True)
    numbers = [_numbers(axis, k, step, d, pads, n, count_padding) for axis, k, step, d, pads, n in rows]
    if all(len(set(along)) == 1 for along in numbers):
        return y / float(math.prod([along[0] for along in numbers]))
    xp = array_namespace(x)
    for axis, along in enumerate(numbers, start=2):
        # One quotient for each axis, joined from parts: the standard has no array from a list on the device of `x`.
        parts = [y[(*[slice(None)] * axis, slice(i, i + 1), ...)] / float(k) for i, k in enumerate(along)]
        y = xp.concat(parts, axis=axis)
    return y


def _one_each(x: Shape | None) -> Shape | None:
    if x is None:
        return None
    if len(x) < 3:
        raise ShapeError(f"global_average_pool expected shape (n, channels, *axes), found {tuple(x)}")
    return (*x[:2], *[1] * (len(x) - 2))


@op(_one_each, rows=Rows.ALONE, fresh=True)
def global_average_pool(x: Array) -> Array:
    """Return the mean of each channel, whatever the sizes of its axes.

    Parameters
    ----------
    x : array, real
        Shape (n, channels, *axes).

    Returns
    -------
    array, floating-point
        Shape (n, channels, *ones).

    Raises
    ------
    ShapeError
        If there are no axes behind the channels.

    Examples
    --------
    >>> import numpy as np
    >>> global_average_pool(np.arange(8.0).reshape(1, 2, 2, 2)).tolist()
    [[[[1.5]], [[5.5]]]]
    """
    return _sum_of_all(x) / float(math.prod(x.shape[2:]))


def _sum_of_all(x: Array) -> Array:
    """Return the sum of each channel, shape (n, channels, *ones), added in an order that is the same for every row."""
    for axis in range(2, x.ndim):
        lead, rest = (slice(None),) * axis, None
        while (count := x.shape[axis]) > 1:
            if count % 2:
                last = x[(*lead, slice(count - 1, count), ...)]
                rest = last if rest is None else rest + last
            half = count // 2
            x = x[(*lead, slice(half), ...)] + x[(*lead, slice(half, 2 * half), ...)]
        x = x if rest is None else x + rest
    return x


def _numbers(
    axis: int, size: int, step: int, apart: int, pads: tuple[int, int], count: int, count_padding: bool
) -> list[int]:
    """Return how many numbers each window along an axis holds."""
    before, behind = pads
    low, high = (0, before + axis + behind) if count_padding else (before, before + axis)
    return [sum(low <= i * step + k * apart < high for k in range(size)) for i in range(count)]
