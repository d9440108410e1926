"""Convolution and pooling on NumPy.

Many filters are applied place by place, as `_numpy_channels` has it. Few filters, groups of them and those that may
change are applied to columns of a few images at a time, in one matrix product for each image.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from anyback._typing import Array
from anyback.backends._blas import QUIET
from anyback.backends._numpy_channels import by_place
from anyback.backends._scratch import Scratch
from anyback.plan import Shape

__all__ = ["Convolution", "conv", "convolved", "max_pool"]

#: Bytes of the columns that are made at a time, so that they are multiplied while they are in the cache.
_COLUMNS = 2**21

#: Up to this number of filters, the columns take longer to copy than to multiply, and are copied in long pieces. More
#: of them are applied place by place, if they have more terms than that as well.
_FEW = 32

_columns, _padded, _sums = Scratch(), Scratch(), Scratch()

Pads = tuple[tuple[int, int], ...]


def conv(x: Array, weight: Array, bias: Array | None = None, **attributes: Any) -> Array:
    """Return the convolution of images with filters; the arguments are those of the op."""
    return _by_channel(weight, bias, **attributes)(x)


class Convolution:
    """The convolution of one call of a network: filters that cannot change are brought into another order once."""

    __slots__ = ("_kept",)

    def __init__(self) -> None:
        #: The filters and the function that they were made ready for; replaced as a whole, so threads may share it.
        self._kept: tuple[Array, Callable[..., Array]] | None = None

    def __call__(self, x: Array, weight: Array, bias: Array | None = None, **attributes: Any) -> Array:
        kept = self._kept
        if kept is None or kept[0] is not weight:
            if not _unchanging(weight):
                return conv(x, weight, bias, **attributes)
            kept = self._kept = weight, _filtered(weight, **attributes)
        if any(a is not None and a.dtype != weight.dtype for a in (x, bias)):
            return conv(x, weight, bias, **attributes)
        return kept[1](x, bias)


def _unchanging(x: Any) -> bool:
    """Return whether nobody can change the numbers of an array."""
    while isinstance(x, np.ndarray):
        if x.flags.writeable:
            return False
        x = x.base
    return True


def convolved(weight: Array, bias: Array | None = None, **attributes: Any) -> Callable[[Array], Array]:
    """Return the convolution of images, of the filters' type or of integers, with these filters, and a bias."""
    product = _filtered(weight, **attributes)
    return lambda x: product(x, bias)


def _filtered(weight: Array, *, groups: int, **attributes: Any) -> Callable[..., Array]:
    """Return the convolution of images and perhaps a bias with these filters.

    The filters are brought into another order, which pays where they are used more than once.
    """
    many = weight.shape[0] > _FEW and math.prod(weight.shape[1:]) > _FEW
    if many and groups == 1 and weight.ndim <= 4 and weight.dtype.name in ("float32", "float64"):
        return by_place(weight, **attributes)

    def by_channel(x: Array, bias: Array | None = None) -> Array:
        return _by_channel(weight, bias, groups=groups, **attributes)(x)

    return by_channel


def _by_channel(
    weight: Array, bias: Array | None = None, *, stride: Shape, padding: Pads, dilation: Shape, groups: int
) -> Callable[[Array], Array]:
    """Return the convolution with filters as they lie, of images whose channels lie one behind the other."""
    filters, depth, *window = weight.shape
    size, dtype = tuple(window), weight.dtype.newbyteorder("=")
    each, terms = filters // groups, depth * math.prod(size)
    rows = np.ascontiguousarray(weight, dtype).reshape(groups, each, terms)
    added = None if bias is None else bias.reshape(groups, each, 1)
    bare = set(size) == set(stride) == {1} and not np.any(padding)
    long = each <= _FEW and set(stride) == {1}

    @QUIET
    def product(x: Array) -> Array:
        axes = tuple(
            (axis + sum(pads) - apart * (k - 1) - 1) // step + 1
            for axis, k, step, pads, apart in zip(x.shape[2:], size, stride, padding, dilation, strict=True)
        )
        y = np.empty((len(x), groups, each, math.prod(axes)), dtype)
        row = math.prod(axes[1:])  # numbers of what is behind the first axis
        images, some, band = _blocks(groups, axes[0], terms * row * dtype.itemsize)
        for start in range(0, len(x), images):
            part, out = _pad(x[start : start + images], padding, dtype), y[start : start + images]
            if bare:
                np.matmul(rows, np.ascontiguousarray(part).reshape(*out.shape[:2], depth, -1), out=out)
                if added is not None:
                    out += added
                continue
            seen = _seen(part, groups, size, stride, dilation, axes, long)
            for group, top in itertools.product(range(0, groups, some), range(0, axes[0], band)):
                mine, height = slice(group, group + some), min(band, axes[0] - top)
                sums = out[:, mine, :, top * row : (top + height) * row]
                if long:
                    wide = part.shape[3:]
                    piece = seen[:, mine, ..., top * math.prod(wide) : (top + height) * math.prod(wide)]
                    _multiply_wide(rows[mine], piece, wide, sums, (height, *axes[1:]))
                else:
                    places = slice(top, top + height), *[slice(None)] * (len(axes) - 1)
                    np.matmul(rows[mine], _made(seen[(slice(None), mine, ..., *places)], terms), out=sums)
                if added is not None:
                    sums += added[mine]
        return y.reshape(len(x), filters, *axes)

    return product


def _seen(x: Array, groups: int, size: Shape, stride: Shape, dilation: Shape, axes: Shape, long: bool) -> Array:
    """Return what each place of a window sees, as a view of shape (n, groups, channels / groups, *size, *axes).

    With `long`, for windows that move by one place, the last axis takes the place of `axes`: it is one piece of memory
    of each channel, from the first window to the last. Some windows in it reach from the end of one row into the next.
    """
    x = np.ascontiguousarray(x)
    n, channels, *steps = x.strides
    depth = x.shape[1] // groups
    apart = [step * d for step, d in zip(steps, dilation, strict=True)]
    further = [step * s for step, s in zip(steps, stride, strict=True)]
    length = sum((k - 1) * step for k, step in zip(axes, steps, strict=True)) // x.itemsize + 1
    shape = (len(x), groups, depth, *size, *((length,) if long else axes))
    strides = (n, depth * channels, channels, *apart, *((x.itemsize,) if long else further))
    return np.ndarray(shape, x.dtype, x, 0, strides)


def _made(seen: Array, terms: int) -> Array:
    """Return columns in memory of their own, of shape (n, groups, terms, places)."""
    columns = _columns.array(seen.shape, seen.dtype)
    columns[...] = seen
    return columns.reshape(*seen.shape[:2], terms, -1)


def _multiply_wide(rows: Array, seen: Array, wide: Shape, out: Array, axes: Shape) -> None:
    """Write the products of filters and long pieces to `out`, without the windows that reach into the next row."""
    sums = _sums.array((*out.shape[:3], axes[0], *wide), out.dtype)
    flat = sums.reshape(*out.shape[:3], -1)[..., : seen.shape[-1]]
    with np.errstate(invalid="ignore", over="ignore"):  # in the numbers that are left out
        np.matmul(rows, _made(seen, rows.shape[2]), out=flat)
    inner: tuple[Any, ...] = (..., *map(slice, axes))
    out.reshape(*out.shape[:3], *axes)[...] = sums[inner]


def _blocks(groups: int, height: int, row: int) -> tuple[int, int, int]:
    """Return how many images, groups of channels and rows of the result have columns that stay in the cache together.

    One row of the result takes `row` bytes of columns in each group.
    """
    one = max(1, height * row)
    if groups * one <= _COLUMNS:
        return _COLUMNS // (groups * one), groups, height
    if one <= _COLUMNS:
        return 1, _COLUMNS // one, height
    return 1, 1, -(-height // -(-one // _COLUMNS))


def _pad(x: Array, padding: Pads, dtype: Any) -> Array:
    """Return images in a type, with zeros around their last axes."""
    if not np.any(padding):
        return x if x.dtype == dtype else x.astype(dtype)
    shape = (*x.shape[:2], *(axis + sum(pads) for axis, pads in zip(x.shape[2:], padding, strict=True)))
    wide = _padded.array(shape, dtype)
    wide[...] = 0
    inner = tuple(slice(before, before + axis) for axis, (before, _) in zip(x.shape[2:], padding, strict=True))
    wide[(slice(None), slice(None), *inner)] = x
    return wide


def max_pool(x: Array, *, size: Shape, stride: Shape, padding: Pads, dilation: Shape, ceil: bool = False) -> Array:
    """Return the largest number of each window, one axis after the other; the arguments are those of the op."""
    least = np.iinfo(x.dtype).min if x.dtype.kind in "iu" else -math.inf
    for axis, (k, step, (before, behind), apart) in enumerate(
        zip(size, stride, padding, dilation, strict=True), start=2
    ):
        length, reach = x.shape[axis], apart * (k - 1) + 1
        room = length + before + behind - reach
        count = -(-room // step) + 1 if ceil else room // step + 1
        if ceil and (count - 1) * step >= length + before:  # it would begin in the padding behind
            count -= 1
        pairs = [_inside(i * apart - before, step, count, length) for i in range(k)]
        parts = [
            (here, x[(*[slice(None)] * axis, there)])
            for here, there in sorted(pairs, key=lambda pair: pair[0].start - pair[0].stop)
        ]
        whole, (here, y), *others = slice(0, count), *parts  # first where the window lies inside most often
        own = here != whole
        if own:
            y = np.full_like(y, least, shape=(*x.shape[:axis], count, *x.shape[axis + 1 :]))
            others = parts
        for here, part in others:
            if not own and here == whole:
                y, own = np.maximum(y, part), True
                continue
            y, own = y if own else y.copy("K"), True
            found = y[(*[slice(None)] * axis, here)]
            np.maximum(found, part, out=found)
        x = y if own else y.copy("K")
    return x


def _inside(first: int, step: int, count: int, length: int) -> tuple[slice, slice]:
    """Return which of `count` places, `step` apart from `first` on, lie within a length, and the places."""
    start = min(max(0, -(first // step)), count)
    stop = max(start, min(count, (length - 1 - first) // step + 1))
    return slice(start, stop), slice(first + start * step, max(0, first + (stop - 1) * step + 1), step)
