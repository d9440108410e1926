"""Sampling at places that are arrays: GridSample, AffineGrid."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np

from anyback._typing import Array
from anyback.backends import array_namespace, is_float
from anyback.errors import DataError, ShapeError
from anyback.numbers import dtype_name
from anyback.onnx._arrays import beside, index_dtype, narrowed, rows_at, widened
from anyback.onnx._operator import Ints, operator
from anyback.onnx._types import check_size

__all__ = ["AffineGrid", "GridSample", "GridSample_16"]


@operator(since=20)
def GridSample(
    X: Array, grid: Array, *, align_corners: int = 0, mode: str = "linear", padding_mode: str = "zeros"
) -> Array:
    """Return the numbers of images (n, channels, *axes) at the places of a grid (n, *new axes, number of axes).

    A place has the coordinate of the last axis first, -1 and 1 being the ends of an axis: of its outer numbers where
    `align_corners`, else of the space that they fill. Each number that the interpolation takes is found by itself
    beyond the ends: a zero, that of the border, or the one to which reflections at both ends lead.
    """
    return _sampled(X, grid, align_corners, mode, padding_mode)


@operator(name="GridSample", since=16)
def GridSample_16(
    X: Array, grid: Array, *, align_corners: int = 0, mode: str = "bilinear", padding_mode: str = "zeros"
) -> Array:
    """Return the numbers of images at the places of a grid; modes have the names of two axes."""
    return _sampled(X, grid, align_corners, mode, padding_mode)


def _nearest(above: Array) -> list[Array]:
    return []


def _linear(above: Array) -> list[Array]:
    return [1 - above, above]


def _cubic(above: Array) -> list[Array]:
    """Return the weights of four numbers around: Keys 1981, with a = -0.75 as PyTorch has it."""
    a = -0.75

    def near(d: Array) -> Array:
        return ((a + 2) * d - (a + 3)) * d * d + 1

    def far(d: Array) -> Array:
        return ((a * d - 5 * a) * d + 8 * a) * d - 4 * a

    return [far(above + 1), near(above), near(1 - above), far(2 - above)]


#: The weights of the numbers around by how far a place lies above the number before it.
_WEIGHTS: dict[str, Callable[[Array], list[Array]]] = {
    "nearest": _nearest,
    "linear": _linear,
    "bilinear": _linear,
    "cubic": _cubic,
    "bicubic": _cubic,
}


def _sampled(x: Array, grid: Array, align: int, mode: str, padding: str) -> Array:
    xp, rank = array_namespace(x, grid), x.ndim - 2
    if rank < 1 or grid.ndim != x.ndim or grid.shape[-1] != rank or grid.shape[0] != x.shape[0]:
        raise ShapeError(f"GridSample: a grid of shape {tuple(grid.shape)} does not fit {tuple(x.shape)}")
    if mode not in _WEIGHTS or padding not in ("zeros", "border", "reflection"):
        raise DataError(f"GridSample has mode {mode[:40]!r} and padding_mode {padding[:40]!r}")
    n, channels, axes, out = x.shape[0], x.shape[1], tuple(x.shape[2:]), tuple(grid.shape[1:-1])
    check_size((n, channels, *out), "GridSample")
    cells, count = math.prod(axes), math.prod(out)
    places = xp.reshape(widened(grid), (n, count, rank))
    # For each axis what it adds to the number of a cell, and its weight, for each of the numbers around.
    along = [
        _around(places[..., rank - 1 - i], axes[i], math.prod(axes[i + 1 :]), bool(align), _WEIGHTS[mode], padding)
        for i in range(rank)
    ]
    values = x if mode == "nearest" else widened(x) if is_float(x) else xp.astype(x, places.dtype)
    table = xp.reshape(xp.permute_dims(xp.reshape(values, (n, channels, cells)), (0, 2, 1)), (n * cells, channels))
    images = beside(np.arange(n).reshape(n, 1) * cells, x)
    y = None
    for corner in itertools.product(*along):
        flat, weight, inside = images, None, None
        for number, share, within in corner:
            flat = flat + number
            weight = share if weight is None or share is None else weight * share
            inside = within if inside is None or within is None else inside & within
        term = rows_at(table, flat)  # (n, count, channels)
        if weight is not None:
            term = term * narrowed(weight, term.dtype)[..., None]
        if inside is not None:
            term = xp.where(inside[..., None], term, xp.zeros_like(term))
        y = term if y is None else y + term
    y = xp.reshape(xp.permute_dims(y, (0, 2, 1)), (n, channels, *out))
    return narrowed(y, x.dtype)


def _around(
    place: Array, size: int, factor: int, align: bool, weights: Callable[[Array], list[Array]], padding: str
) -> list[tuple[Array, Array | None, Array | None]]:
    """Return for each number around places of an axis: its number times `factor`, its weight, whether it is there."""
    xp = array_namespace(place)
    at = (place + 1) / 2 * (size - 1) if align else ((place + 1) * size - 1) / 2
    if padding == "reflection":
        at = xp.where(xp.isfinite(at), at, xp.full_like(at, -4.0))
    else:  # farther away, nothing changes; the comparison is false for nan too
        at = xp.where(at > -4.0, at, xp.full_like(at, -4.0))
        at = xp.where(at < size + 3.0, at, xp.full_like(at, size + 3.0))
    low = xp.floor(at)
    shares = weights(at - low)
    if not shares:
        return [_found(xp.round(at), size, factor, align, None, padding)]
    first = 1 - len(shares) // 2
    return [_found(low + (first + t), size, factor, align, share, padding) for t, share in enumerate(shares)]


def _found(
    number: Array, size: int, factor: int, align: bool, share: Array | None, padding: str
) -> tuple[Array, Array | None, Array | None]:
    """Return where a number of an axis is found, or stands for, that may lie beyond its ends."""
    xp, inside = array_namespace(number), None
    if padding == "zeros":
        inside = (number >= 0) & (number < size)
    elif padding == "reflection":
        low, span = (0.0, size - 1.0) if align else (-0.5, float(size))
        if span:
            far = xp.abs(number - low)
            far = far - 2 * span * xp.floor(far / (2 * span))
            number = low + xp.where(far > span, 2 * span - far, far)
    last = xp.full_like(number, size - 1.0)
    number = xp.minimum(xp.maximum(xp.round(number), xp.zeros_like(number)), last)
    return xp.astype(number, index_dtype(number)) * factor, share, inside


@operator(since=20)
def AffineGrid(theta: Array, size: Ints, *, align_corners: int = 0) -> Array:
    """Return where places of images of a size (n, channels, *axes) come to lie under maps (n, axes, axes + 1)."""
    rank = len(size) - 2
    if rank not in (2, 3) or tuple(theta.shape) != (size[0], rank, rank + 1):
        raise ShapeError(f"AffineGrid expected maps of shape {(*size[:1], rank, rank + 1)}, found {tuple(theta.shape)}")
    check_size((size[0], *size[2:], rank), "AffineGrid")
    xp, wide = array_namespace(theta), widened(theta)
    ends = [1.0 if align_corners else 1.0 - 1.0 / max(1, n) for n in size[2:]]
    lines = [np.linspace(-end, end, n) if n > 1 else np.zeros(n) for n, end in zip(size[2:], ends, strict=True)]
    places = np.stack([*reversed(np.meshgrid(*lines, indexing="ij")), np.ones(tuple(size[2:]))], axis=-1)
    host = places.reshape(math.prod(size[2:]), rank + 1).astype(dtype_name(wide.dtype))
    y = xp.matmul(beside(host, theta), xp.matrix_transpose(wide))  # (n, places, axes)
    return narrowed(xp.reshape(y, (size[0], *size[2:], rank)), theta.dtype)
