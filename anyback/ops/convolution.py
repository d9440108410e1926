"""Convolution, in the standard alone: columns and one matrix product for each image."""

from __future__ import annotations

import math
from typing import Any

from anyback._typing import Array
from anyback.backends import array_namespace
from anyback.errors import ShapeError
from anyback.ops._casts import PRODUCTS
from anyback.ops._op import op
from anyback.ops._windows import Pads, padded, seen, spatial
from anyback.plan import Rows, Shape

__all__ = ["conv"]


def _shape(
    x: Shape | None,
    weight: Shape,
    bias: Shape | None = None,
    *,
    stride: Shape,
    padding: Pads,
    dilation: Shape,
    groups: int,
) -> Shape | None:
    if x is None or None in x[1:]:
        return None
    if len(x) != len(weight) or x[1] != weight[1] * groups:
        wanted = ", ".join(["n", str(weight[1] * groups), *["size"] * (len(weight) - 2)])
        raise ShapeError(f"conv expected shape ({wanted}), found {tuple(x)}")
    return (x[0], weight[0], *spatial("conv", tuple(x[2:]), tuple(weight[2:]), stride, padding, dilation))


def _takes(
    weight: Shape, bias: Shape | None = None, *, groups: int, **attributes: Any
) -> tuple[tuple[int | None, ...], ...]:
    return ((weight[1] * groups, *[None] * (len(weight) - 2)),)


def _multiply_adds(x: Shape, weight: Shape, bias: Shape | None = None, **attributes: Any) -> int:
    y = _shape(x, weight, bias, **attributes)
    return 0 if y is None else math.prod(y) * math.prod(weight[1:])


@op(
    _shape,
    rows=Rows.PRODUCT,
    casts=PRODUCTS,
    takes=_takes,
    multiply_adds=_multiply_adds,
    fresh=True,
    products=True,
    trained=("weight", "bias"),
)
def conv(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    *,
    stride: Shape,
    padding: Pads,
    dilation: Shape,
    groups: int,
) -> Array:
    """Return the cross-correlation of images with filters, as every framework's convolution layer computes it.

    Parameters
    ----------
    x : array, real
        Shape (n, in_channels, *axes), of one to three axes.
    weight : array, floating-point
        Shape (out_channels, in_channels / groups, *window).
    bias : array, floating-point, or None
        Shape (out_channels,).
    stride, dilation : tuple of int
        For each axis, the step between windows, and the distance between the places of a window.
    padding : tuple of (int, int)
        For each axis, how many zeros are added in front and behind.
    groups : int
        The number of groups that the channels are cut into; each filter takes one group.

    Returns
    -------
    array, floating-point
        Shape (n, out_channels, *windows).

    Raises
    ------
    ShapeError
        If the image has another number of axes or channels, or no window fits.

    Examples
    --------
    >>> import numpy as np
    >>> x, weight = np.ones((1, 1, 3, 3)), np.ones((1, 1, 2, 2))
    >>> conv(x, weight, stride=(1, 1), padding=((0, 0), (0, 0)), dilation=(1, 1), groups=1)
    array([[[[4., 4.],
             [4., 4.]]]])
    """
    xp, size = array_namespace(x), tuple(weight.shape[2:])
    axes = spatial("conv", tuple(x.shape[2:]), size, stride, padding, dilation)
    x = padded(x, padding, 0.0)
    n, channels, filters, places = x.shape[0], x.shape[1], weight.shape[0], math.prod(axes)
    views = list(seen(x, size, stride, dilation, axes))  # (n, channels, *axes) for each place of the window
    if weight.shape[1] == 1 and filters == channels:  # depthwise: a sum of taps
        taps = xp.reshape(weight, (1, filters, len(views), *[1] * len(size)))
        y = views[0] * taps[:, :, 0, ...]
        for i, view in enumerate(views[1:], start=1):
            y = y + view * taps[:, :, i, ...]
    else:
        columns = views[0] if len(views) == 1 else xp.stack(views, axis=2)  # (n, channels, window, *axes)
        depth = channels // groups * len(views)
        columns = xp.reshape(columns, (n, groups * depth, places))
        rows = xp.reshape(weight, (filters, depth))
        if groups == 1:
            y = xp.matmul(rows, columns)
        else:  # axes are merged or cut one at a time, as Dask asks for
            rows = xp.reshape(rows, (groups, filters // groups, depth))
            y = xp.matmul(rows, xp.reshape(columns, (n, groups, depth, places)))
            y = xp.reshape(y, (n, filters, places))
        y = xp.reshape(y, (n, filters, *axes))
    return y if bias is None else y + xp.reshape(bias, (1, filters, *[1] * len(size)))
