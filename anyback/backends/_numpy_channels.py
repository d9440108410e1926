"""Convolution on NumPy with the channels of a place side by side in memory: products of places and filters.

The result has the op's shape, (n, filters, *axes), but in memory its channels are innermost. Elementwise functions keep
that order, and the next convolution reads it: nothing is moved between the two.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from anyback._typing import Array
from anyback.backends._blas import QUIET, blas_threads
from anyback.backends._machine import SMALL_PRODUCT, multiplies_small
from anyback.backends._scratch import Scratch, aligned
from anyback.plan import Shape

__all__ = ["by_place"]

#: Bytes of the windows that are copied at a time: of 2**19 to 2**23, ResNet-18 takes 3 % longer at 2**20 and below.
_BAND = 2**22
#: Filters of one small product, as many as one of these that divides their number; and the most terms of its sums. In
#: products of 40 places, 384 terms and so many filters, a convolution of 128 channels and filters runs at 247 GFLOP/s;
#: with half as many filters at 239, and with twice as many at 234.
_FILTERS, _TERMS = (64, 48, 40, 32), 600
#: Images of fewer channels are copied with the places innermost: a window's channels would be pieces too short to copy.
_CHANNELS = 16

_images, _copies, _sums = Scratch(), Scratch(), Scratch()

#: The axes of images with their channels innermost, and of those with their channels in front again.
_INNER, _OUTER = (0, 2, 3, 1), (0, 3, 1, 2)
#: The axes of sums with the blocks of filters in front of the blocks of places, by the number of axes before both.
_BLOCKS_FIRST = {1: (0, 3, 1, 2, 4), 2: (0, 1, 4, 2, 3, 5)}

Pads = tuple[tuple[int, int], ...]


class _Piece(NamedTuple):
    """Filters of a part of the terms; their sums are added up piece by piece."""

    row: int  # of the window
    terms: slice  # of the row
    filters: Array  # (blocks, 1, terms, filters of a block)
    most: int  # rows of one product


class _Window(NamedTuple):
    """The attributes of a convolution along two axes."""

    size: Shape
    stride: Shape
    padding: Pads
    dilation: Shape


def by_place(weight: Array, *, stride: Shape, padding: Pads, dilation: Shape) -> Callable[..., Array]:
    """Return the convolution along one or two axes with these filters, of images and perhaps a bias.

    OpenBLAS's kernels for AVX-512 multiply small matrices as they lie, without copying them into an order of their own
    first. In such products the convolutions of ResNet-18 run at 227 to 253 GFLOP/s on a Zen 5, and in one product for
    each image at 180 to 226; and what a place sees of a row of channels is copied in long pieces: all in all, 19 ms
    instead of 26. Other kernels take all places and filters at a time.

    Each image has products of its own, of a shape that depends on the shape of an image alone.
    """
    flat = weight.ndim == 3
    if flat:
        weight = weight[:, :, None]
        stride, padding, dilation = (1, *stride), ((0, 0), *padding), (1, *dilation)
    window = _Window(tuple(weight.shape[2:]), stride, padding, dilation)
    short = weight.shape[1] < _CHANNELS and (dilation[0] == 1 or window.size[0] == 1)
    dtype = weight.dtype.newbyteorder("=")
    made: dict[bool, list[_Piece]] = {}

    @QUIET
    def product(x: Array, bias: Array | None = None) -> Array:
        small = multiplies_small() and blas_threads() == 1
        if small not in made:
            made[small] = _pieces(weight.astype(dtype, copy=False), short, small)
        x = (x[:, :, None] if flat else x).astype(dtype, copy=False)
        y = _convolved(x, bias, window, made[small], short, weight.shape[0])
        return y[:, :, 0] if flat else y

    return product


def _pieces(weight: Array, short: bool, small: bool) -> list[_Piece]:
    """Return the filters, of shape (filters, depth, *size), cut into pieces: for small products or for large ones.

    With `short`, a piece has the terms of all rows of the window.
    """
    filters, _, *size = weight.shape
    rows = weight.transpose(2, 3, 1, 0).reshape(1 if short else size[0], -1, filters)
    each = next((k for k in _FILTERS if filters % k == 0), filters) if small else filters
    length = -(-rows.shape[1] // -(-rows.shape[1] // _TERMS)) if small and not short else rows.shape[1]
    memory, found = aligned((weight.size,), weight.dtype), list[_Piece]()  # one piece, in large pages where it is large
    for row, first in itertools.product(range(len(rows)), range(0, rows.shape[1], length)):
        terms = slice(first, min(first + length, rows.shape[1]))
        blocks = rows[row, terms].reshape(-1, filters // each, each).transpose(1, 0, 2)
        mine, memory = memory[: blocks.size].reshape(blocks.shape), memory[blocks.size :]
        mine[...] = blocks
        most = max(1, SMALL_PRODUCT // (blocks.shape[1] * each)) if small else 2**62
        found.append(_Piece(row, terms, mine[:, None], most))
    return found


def _convolved(x: Array, bias: Array | None, window: _Window, pieces: list[_Piece], short: bool, filters: int) -> Array:
    n, depth, *axes = x.shape
    height, width, images, band = _bands(tuple(axes), window, depth * x.itemsize)
    y = np.empty((n, height, width, filters), x.dtype)
    added = None if bias is None else bias[None].repeat(width, axis=0).reshape(-1)
    for start in range(0, n, images):
        wide = _wide(x[start : start + images], window.padding, short)
        for top in range(0, height, band):
            out = y[start : start + images, top : top + band]
            rows = (_lines if short else _windows)(wide, window, top, out.shape[1], width)
            _add_up(rows, pieces, out if short else out.reshape(len(out), -1, filters))
            if added is not None:
                of_rows = out.reshape(*out.shape[:2], -1)
                of_rows += added
    return y.transpose(_OUTER)


@functools.lru_cache
def _bands(axes: Shape, window: _Window, place: int) -> tuple[int, int, int, int]:
    """Return the height and the width of the result, and how many images and rows to compute at a time.

    All channels of a place take `place` bytes.
    """
    height, width = (
        (axis + before + behind - apart * (k - 1) - 1) // step + 1
        for axis, k, step, (before, behind), apart in zip(axes, *window, strict=True)
    )
    whole = max(1, height * width * window.size[1] * place)
    images, band = (_BAND // whole, height) if whole <= _BAND else (1, -(-height // -(-whole // _BAND)))
    return height, width, images, band


def _add_up(rows: list[Array], pieces: list[_Piece], out: Array) -> None:
    """Write the sums of products to `out`, of shape (..., places, filters)."""
    first, *others = pieces
    _multiply(rows[first.row][..., first.terms], first, out)
    if others:
        sums = _sums.array(out.shape, out.dtype)
        for piece in others:
            _multiply(rows[piece.row][..., piece.terms], piece, sums)
            np.add(out, sums, out=out)


def _multiply(x: Array, piece: _Piece, out: Array) -> None:
    """Write the products of places, of shape (..., places, terms), with one piece of the filters."""
    places = x.shape[-2]
    each = _each(places, piece.most)
    rest = places % each
    _products(x[..., : places - rest, :] if rest else x, each, piece.filters, out[..., : places - rest, :])
    if rest:
        _products(x[..., places - rest :, :], rest, piece.filters, out[..., places - rest :, :])


def _products(x: Array, each: int, filters: Array, out: Array) -> None:
    """Write the products of places, `each` of them at a time."""
    *lead, places, terms = x.shape
    blocks, _, _, some = filters.shape
    sums = out.reshape(*lead, places // each, each, blocks, some)
    sums = sums.transpose(_BLOCKS_FIRST[len(lead)])
    np.matmul(x.reshape(*lead, 1, places // each, each, terms), filters, out=sums)


@functools.cache
def _each(places: int, most: int) -> int:
    """Return how many places to multiply at a time: the number of them in equal parts, if such parts are large."""
    count = -(-places // most)
    equal = (places // parts for parts in range(count, 2 * count) if places % parts == 0)
    return next(equal, -(-places // count))


# -- What each place sees -------------------------------------------------------------------------------


def _wide(x: Array, padding: Pads, short: bool) -> Array:
    """Return images with zeros around them, of shape (n, height, width, channels), in one piece of memory.

    The last axis is innermost in memory, or with `short` the width.
    """
    x = x.transpose(_INNER)
    n, height, width, depth = x.shape
    (above, below), (left, right) = padding
    whole = x.transpose(_OUTER) if short else x
    if above == below == left == right == 0 and whole.flags.c_contiguous:
        return x
    shape = (n, above + height + below, left + width + right, depth)
    wide = _images.array((n, depth, *shape[1:3]) if short else shape, x.dtype)
    wide = wide.transpose(_INNER) if short else wide
    wide[:, :above] = 0
    wide[:, above + height :] = 0
    rows = wide[:, above : above + height]
    rows[:, :, :left] = 0
    rows[:, :, left + width :] = 0
    rows[:, :, left : left + width] = x
    return wide


def _windows(wide: Array, window: _Window, top: int, band: int, width: int) -> list[Array]:
    """Return for each row of the window what the places see there, of shape (n, places, terms).

    `top` is the first of `band` rows of the result.
    """
    (rows, columns), (step, along), (apart, beside) = window.size, window.stride, window.dilation
    n, *_, depth = wide.shape
    if columns == along == step == 1:
        return [wide[:, top + i : top + i + band].reshape(n, -1, depth) for i in range(0, rows * apart, apart)]
    # Rows of the images are sorted by their remainder, divided by the stride, so that those which a row of all windows
    # sees lie one behind the other.
    places = [divmod(i, step) for i in range(0, rows * apart, apart)]
    count = band + (rows - 1) * apart // step
    copy = _copies.array((n, step, count, width, columns * depth), wide.dtype)
    image, line, place, number = wide.strides
    for group, last in {group: first for first, group in places}.items():
        seen = np.ndarray(
            (n, band + last, width, columns, depth),
            wide.dtype,
            wide,
            (top * step + group) * line,
            (image, step * line, along * place, beside * place, number),
        )
        copy[:, group, : band + last].reshape(seen.shape)[...] = seen
    return [copy[:, group, first : first + band].reshape(n, -1, columns * depth) for first, group in places]


def _lines(wide: Array, window: _Window, top: int, band: int, width: int) -> list[Array]:
    """Return what the places see in all rows of the window, of shape (n, band, width, terms).

    The places are innermost in memory, as in `wide`, and the windows share their rows.
    """
    (rows, columns), (step, along) = window.size, window.stride
    n, *_, depth = wide.shape
    image, line, number, channel = wide.strides
    seen = np.ndarray(
        (n, (band - 1) * step + rows, columns, depth, width),
        wide.dtype,
        wide.transpose(_OUTER),
        top * step * line,
        (image, line, window.dilation[1] * number, channel, along * number),
    )
    copy = _copies.array(seen.shape, wide.dtype)
    copy[...] = seen
    terms = columns * depth
    image, line, _, term, number = copy.strides
    strides = (image, step * line, number, term)
    return [np.ndarray((n, band, width, rows * terms), copy.dtype, copy, 0, strides)]
