"""Convolutions: plain, transposed, and with places that move."""

from __future__ import annotations

import itertools
import math

import numpy as np

from anyback._typing import Array
from anyback.backends import array_namespace
from anyback.errors import ShapeError
from anyback.numbers import dtype_name
from anyback.onnx._arrays import beside, index_dtype, narrowed, rows_at, widened
from anyback.onnx._operator import Ints, operator
from anyback.onnx._sliding import Window, same_pads, window
from anyback.onnx._types import check_size
from anyback.ops._windows import Pads, spatial
from anyback.ops.convolution import conv

__all__ = ["Col2Im", "Conv", "ConvTranspose", "DeformConv"]


def _size(operator: str, W: Array, kernel_shape: Ints | None) -> tuple[int, ...]:
    size = tuple(W.shape[2:])
    if kernel_shape is not None and tuple(kernel_shape) != size:
        raise ShapeError(f"{operator}: the window is {size} by the weights, but {kernel_shape} by kernel_shape")
    return size


@operator()
def Conv(
    X: Array,
    W: Array,
    B: Array | None = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: Ints | None = None,
    group: int = 1,
    kernel_shape: Ints | None = None,
    pads: Ints | None = None,
    strides: Ints | None = None,
) -> Array:
    """Return the cross-correlation of images (n, channels, *axes) with filters (filters, channels / group, *window)."""
    found = window("Conv", X.shape, _size("Conv", W, kernel_shape), strides, pads, dilations, auto_pad)
    return conv(X, W, B, stride=found.stride, padding=found.padding, dilation=found.dilation, groups=group)


@operator()
def ConvTranspose(
    X: Array,
    W: Array,
    B: Array | None = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: Ints | None = None,
    group: int = 1,
    kernel_shape: Ints | None = None,
    output_padding: Ints | None = None,
    output_shape: Ints | None = None,
    pads: Ints | None = None,
    strides: Ints | None = None,
) -> Array:
    """Return the transpose of a convolution; filters have the shape (channels, filters / group, *window).

    Each number of an image adds a multiple of the window to the result; `stride` says how far the windows lie apart.
    Numbers of the result whose place has one remainder by the stride see the same places of the window. So the result
    is one convolution of stride 1, with filters for each remainder, whose results are put between each other.
    """
    size = _size("ConvTranspose", W, kernel_shape)
    found = window("ConvTranspose", X.shape, size, strides, pads, dilations, "NOTSET")
    if X.shape[1] != W.shape[0] or W.shape[0] % group:
        raise ShapeError(f"ConvTranspose expected {W.shape[0]} channels in groups of one size, found {X.shape[1]}")
    more = tuple(output_padding or (0,) * len(size))
    reach = [
        step * (n - 1) + extra + apart * (k - 1) + 1
        for n, k, step, apart, extra in zip(X.shape[2:], size, found.stride, found.dilation, more, strict=True)
    ]
    padding = found.padding
    if output_shape or auto_pad in ("SAME_UPPER", "SAME_LOWER"):
        wanted = (
            output_shape[-len(size) :]
            if output_shape
            else [n * s for n, s in zip(X.shape[2:], found.stride, strict=True)]
        )
        totals = [whole - n for whole, n in zip(reach, wanted, strict=True)]
        padding = same_pads("ConvTranspose", totals, "SAME_LOWER" if auto_pad in ("NOTSET", "VALID") else auto_pad)
        axes = tuple(wanted)
    else:
        padding = ((0, 0),) * len(size) if auto_pad == "VALID" else padding
        axes = tuple(whole - sum(both) for whole, both in zip(reach, padding, strict=True))
    if min(axes, default=1) < 1:
        raise ShapeError(f"ConvTranspose would have a result of shape {(X.shape[0], W.shape[1] * group, *axes)}")
    check_size((X.shape[0], W.shape[1] * group, *axes), "ConvTranspose")
    fronts = tuple(front for front, _ in padding)
    y = _transposed(X, W, group, found.stride, fronts, found.dilation, axes)
    return y if B is None else y + narrowed(array_namespace(y, B).reshape(B, (1, -1, *[1] * len(size))), y.dtype)


def _transposed(
    x: Array,
    weight: Array,
    group: int,
    stride: tuple[int, ...],
    fronts: tuple[int, ...],
    dilation: tuple[int, ...],
    axes: tuple[int, ...],
) -> Array:
    """Return a transposed convolution without bias: numbers `fronts` up to `fronts + axes` of all that it gives."""
    xp, rank = array_namespace(x, weight), len(axes)
    steps = math.prod(stride)
    if steps > 1:  # taps that are apart, with zeros between, and as many as are a multiple of the stride
        weight = _with_zeros(weight, dilation, stride)
        dilation = (1,) * rank
    taps = tuple(k // step for k, step in zip(weight.shape[2:], stride, strict=True))
    n, channels, filters = x.shape[0], x.shape[1], weight.shape[1]
    # (group, channels, filters, *(taps, remainders)), then the filters of all remainders behind each other
    split = [size for pair in zip(taps, stride, strict=True) for size in pair]
    weight = xp.reshape(weight, (group, channels // group, filters, *split))
    weight = xp.flip(weight, axis=tuple(range(3, 3 + 2 * rank, 2)))
    order = (0, *range(4, 4 + 2 * rank, 2), 2, 1, *range(3, 3 + 2 * rank, 2))
    weight = xp.reshape(xp.permute_dims(weight, order), (group * steps * filters, channels // group, *taps))
    # Number `u` of all that it gives is number `u // stride` of the convolution for the remainder `u % stride`.
    first = [front // step for front, step in zip(fronts, stride, strict=True)]
    last = [(front + size - 1) // step for front, size, step in zip(fronts, axes, stride, strict=True)]
    pads = [
        ((k - 1) * apart - low, high - (size - 1))
        for k, apart, low, high, size in zip(taps, dilation, first, last, x.shape[2:], strict=True)
    ]
    x = x[
        (
            slice(None),
            slice(None),
            *(slice(max(0, -a), size - max(0, -b)) for (a, b), size in zip(pads, x.shape[2:], strict=True)),
        )
    ]
    padding: Pads = tuple((max(0, a), max(0, b)) for a, b in pads)
    y = conv(x, weight, None, stride=(1,) * rank, padding=padding, dilation=dilation, groups=group)
    count = tuple(high - low + 1 for low, high in zip(first, last, strict=True))
    if steps > 1:
        y = xp.reshape(y, (n, group, *stride, filters, *count))
        inner = [axis for i in range(rank) for axis in (3 + rank + i, 2 + i)]
        y = xp.permute_dims(y, (0, 1, 2 + rank, *inner))
    y = xp.reshape(y, (n, group * filters, *(c * step for c, step in zip(count, stride, strict=True))))
    cuts = [
        slice(front - low * step, front - low * step + size)
        for front, low, step, size in zip(fronts, first, stride, axes, strict=True)
    ]
    return y[(slice(None), slice(None), *cuts)]


def _with_zeros(weight: Array, dilation: tuple[int, ...], stride: tuple[int, ...]) -> Array:
    """Return filters with the zeros of a dilation between their places, and behind, up to a multiple of the stride."""
    xp = array_namespace(weight)
    for axis, (apart, step) in enumerate(zip(dilation, stride, strict=True), start=2):
        if apart > 1:
            zeros = xp.zeros_like(weight)
            weight = xp.stack([weight, *[zeros] * (apart - 1)], axis=axis + 1)
            shape = (*weight.shape[:axis], weight.shape[axis] * apart, *weight.shape[axis + 2 :])
            weight = xp.reshape(weight, shape)[(*[slice(None)] * axis, slice(0, shape[axis] - apart + 1), ...)]
        behind = -weight.shape[axis] % step
        if behind:
            zeros = xp.zeros_like(weight[(*[slice(None)] * axis, slice(0, 1), ...)])
            weight = xp.concat([weight, *[zeros] * behind], axis=axis)
    return weight


@operator()
def DeformConv(
    X: Array,
    W: Array,
    offset: Array,
    B: Array | None = None,
    mask: Array | None = None,
    *,
    dilations: Ints | None = None,
    group: int = 1,
    kernel_shape: Ints | None = None,
    offset_group: int = 1,
    pads: Ints | None = None,
    strides: Ints | None = None,
) -> Array:
    """Return a convolution in which each place of a window is moved by an offset: Dai et al. 2017, Zhu et al. 2018.

    Between the numbers of an image it takes the linear interpolation; beyond them, zeros.
    """
    size = _size("DeformConv", W, kernel_shape)
    found = window("DeformConv", X.shape, size, strides, pads, dilations, "NOTSET")
    n, channels, rank, count = X.shape[0], X.shape[1], len(size), math.prod(size)
    axes = tuple(X.shape[2:])
    out = spatial("DeformConv", axes, size, found.stride, found.padding, found.dilation)
    for name, x, depth in (("offset", offset, rank), ("mask", mask, 1)):
        if x is not None and tuple(x.shape) != (n, offset_group * count * depth, *out):
            raise ShapeError(
                f"DeformConv expected {name} of shape {(n, offset_group * count * depth, *out)}, found {x.shape}"
            )
    check_size((n, channels, count, *out), "DeformConv")
    xp, places = array_namespace(X, W, offset), math.prod(out)
    offsets = xp.reshape(widened(offset), (n, offset_group, count, rank, places))
    at = offsets + beside(_places(found, out).astype(dtype_name(offsets.dtype)), X)  # (n, groups, count, axes, places)
    most = beside(np.asarray(axes).reshape(rank, 1).astype(dtype_name(at.dtype)), X)
    at = xp.minimum(xp.maximum(at, xp.full_like(at, -2.0)), most + 1)  # farther away is all zeros too
    values = _interpolated(widened(X), at, offset_group)  # (n, offset groups, count, places, depth)
    if mask is not None:
        values = values * xp.reshape(widened(mask), (n, offset_group, count, places))[..., None]
    columns = xp.permute_dims(values, (0, 1, 4, 2, 3))
    columns = xp.reshape(columns, (n, group, channels // group * count, places))
    filters = W.shape[0]
    y = xp.matmul(xp.reshape(widened(W), (group, filters // group, W.shape[1] * count)), columns)
    y = xp.reshape(y, (n, filters, *out))
    y = y if B is None else y + xp.reshape(widened(B), (1, filters, *[1] * rank))
    return narrowed(y, X.dtype)


@operator(since=18)
def Col2Im(
    input: Array,
    image_shape: Ints,
    block_shape: Ints,
    *,
    dilations: Ints | None = None,
    pads: Ints | None = None,
    strides: Ints | None = None,
) -> Array:
    """Return images as the sum of the blocks of their windows: input (n, channels * places, windows).

    For each number of an image the host finds which numbers of the input fall on it; a table of them for each turn is
    all that the library sees.
    """
    size, axes = tuple(block_shape), tuple(image_shape)
    count = math.prod(size)
    if input.ndim != 3 or not count or input.shape[1] % count:
        raise ShapeError(f"Col2Im expected (n, channels * {count}, windows), found {tuple(input.shape)}")
    n, channels = input.shape[0], input.shape[1] // count
    found = window("Col2Im", (n, channels, *axes), size, strides, pads, dilations, "NOTSET")
    out = spatial("Col2Im", axes, size, found.stride, found.padding, found.dilation)
    if input.shape[2] != math.prod(out):
        raise ShapeError(f"Col2Im expected {math.prod(out)} windows of {size} in {axes}, found {input.shape[2]}")
    check_size((n, channels, *axes), "Col2Im")
    xp, columns = array_namespace(input), count * math.prod(out)
    flat = xp.reshape(input, (n, channels, columns))
    flat = xp.concat([flat, xp.zeros_like(flat[..., :1])], axis=2)  # behind all, a zero for what no number falls on
    turns = _sources(_places(found, out), axes)
    y = xp.take(flat, beside(turns[0], flat), axis=2)
    for places in turns[1:]:
        y = y + xp.take(flat, beside(places, flat), axis=2)
    return xp.reshape(y, (n, channels, *axes))


def _sources(places: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """Return which places of windows fall on each number of an image: rows of their numbers, behind all for none."""
    # (places of the window, axes, windows), then the number in the image of each that is inside
    inside = np.all((places >= 0) & (places < np.asarray(axes).reshape(-1, 1)), axis=1).reshape(-1)
    targets = np.sum(places * np.cumprod((1, *axes[:0:-1]))[::-1].reshape(-1, 1), axis=1).reshape(-1)
    columns = np.flatnonzero(inside)
    columns = columns[np.argsort(targets[columns], kind="stable")]
    counts = np.bincount(targets[columns], minlength=math.prod(axes))
    turns = np.arange(len(columns)) - np.repeat(np.cumsum(counts) - counts, counts)
    table = np.full((max(1, int(counts.max(initial=0))), len(counts)), inside.size)
    table[turns, targets[columns]] = columns
    return table


def _interpolated(x: Array, at: Array, groups: int) -> Array:
    """Return numbers of images between places, zeros beyond: `at` has shape (n, groups, ..., axes, places)."""
    xp, n, channels, axes = array_namespace(x, at), x.shape[0], x.shape[1], tuple(x.shape[2:])
    rank, cells, depth = len(axes), math.prod(axes), channels // groups
    low = xp.floor(at)
    above = at - low
    low = xp.astype(low, index_dtype(x))
    sizes = beside(np.asarray(axes).reshape(rank, 1), x)
    table = xp.permute_dims(xp.reshape(x, (n, groups, depth, cells)), (0, 1, 3, 2))
    table = xp.reshape(table, (n * groups * cells, depth))
    images = beside(np.arange(n * groups).reshape(n, groups, *[1] * (at.ndim - 3)) * cells, x)
    values = None
    for corner in itertools.product((0, 1), repeat=rank):
        ups = beside(np.asarray(corner).reshape(rank, 1), x)
        here = low + ups
        inside = xp.all((here >= 0) & (here < sizes), axis=-2)
        shares = xp.prod(xp.where(ups == 1, above, 1 - above), axis=-2)
        shares = narrowed(xp.where(inside, shares, xp.zeros_like(shares)), x.dtype)
        here = xp.minimum(xp.maximum(here, xp.zeros_like(here)), sizes - 1)
        flat = images
        for axis in range(rank):
            flat = flat + here[..., axis, :] * math.prod(axes[axis + 1 :])
        term = rows_at(table, flat) * shares[..., None]
        values = term if values is None else values + term
    return values


def _places(of: Window, out: tuple[int, ...]) -> np.ndarray:
    """Return where each place of each window lies: shape (places of the window, axes, windows)."""
    rank, whole = len(out), []
    along = zip(of.size, of.stride, of.padding, of.dilation, out, strict=True)
    for axis, (k, step, (front, _), apart, count) in enumerate(along):
        places = np.arange(k)[:, None] * apart + np.arange(count) * step - front
        shape = [1] * 2 * rank
        shape[axis], shape[rank + axis] = places.shape
        whole.append(
            np.broadcast_to(places.reshape(shape), (*of.size, *out)).reshape(math.prod(of.size), math.prod(out))
        )
    return np.stack(whole, axis=1)
