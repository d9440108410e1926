"""Pooling of regions of images: RoiAlign, MaxRoiPool."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from anyback._typing import Array
from anyback.backends import array_namespace, is_concrete, to_numpy
from anyback.errors import DataError, OperatorError, ShapeError
from anyback.onnx._arrays import beside, index_dtype, narrowed, rows_at, widened
from anyback.onnx._operator import Ints, operator
from anyback.onnx._types import check_size

__all__ = ["MaxRoiPool", "RoiAlign", "RoiAlign_10"]

#: Numbers of images that are multiplied at once.
_MOST_AT_ONCE = 1 << 24

#: Samples and bins of MaxRoiPool along an axis, each of which is a step of its own.
_MOST_STEPS = 1 << 10

#: Coordinates of samples along an axis, which of them count, and the size of the axis.
_Along = tuple[Array, Array | None, int]


@operator(since=16)
def RoiAlign(
    X: Array,
    rois: Array,
    batch_indices: Array,
    *,
    coordinate_transformation_mode: str = "half_pixel",
    mode: str = "avg",
    output_height: int = 1,
    output_width: int = 1,
    sampling_ratio: int = 0,
    spatial_scale: float = 1.0,
) -> Array:
    """Return regions ``x1, y1, x2, y2`` of images, cut into bins: the mean of some samples in each, or the largest.

    A sample is a linear interpolation; the mean is one product by the weights of all samples for each axis, since
    samples lie on a grid. He et al., "Mask R-CNN", 2017. As elsewhere, the largest is that of the four parts which an
    interpolation adds up.
    """
    if coordinate_transformation_mode not in ("half_pixel", "output_half_pixel"):
        raise DataError(f"RoiAlign has coordinate_transformation_mode {coordinate_transformation_mode[:40]!r}")
    half = coordinate_transformation_mode == "half_pixel"
    return _aligned(X, rois, batch_indices, half, mode, (output_height, output_width), sampling_ratio, spatial_scale)


@operator(name="RoiAlign", since=10)
def RoiAlign_10(
    X: Array,
    rois: Array,
    batch_indices: Array,
    *,
    mode: str = "avg",
    output_height: int = 1,
    output_width: int = 1,
    sampling_ratio: int = 0,
    spatial_scale: float = 1.0,
) -> Array:
    """Return regions of images, cut into bins, as before version 16: not moved by half a pixel."""
    return _aligned(X, rois, batch_indices, False, mode, (output_height, output_width), sampling_ratio, spatial_scale)


def _aligned(
    x: Array,
    rois: Array,
    images: Array,
    half: bool,
    mode: str,
    bins: tuple[int, int],
    ratio: int,
    scale: float,
) -> Array:
    if x.ndim != 4 or rois.ndim != 2 or rois.shape[1] != 4 or tuple(images.shape) != (rois.shape[0],):
        raise ShapeError(f"RoiAlign: regions {tuple(rois.shape)} and {tuple(images.shape)} do not fit {tuple(x.shape)}")
    if mode not in ("avg", "max") or min(bins) < 1 or ratio > _MOST_STEPS:
        raise DataError(f"RoiAlign has mode {mode[:40]!r}, an output of {bins} and sampling_ratio {ratio}")
    check_size((rois.shape[0], x.shape[1], *bins), "RoiAlign")
    xp, wide = array_namespace(x, rois), widened(x)
    corners = narrowed(rois, wide.dtype) * scale - (0.5 if half else 0.0)
    along = []
    for axis, count in enumerate(bins):
        start, length = corners[:, 1 - axis], corners[:, 3 - axis] - corners[:, 1 - axis]
        if not half:  # too small ones are of size 1
            length = xp.maximum(length, xp.ones_like(length))
        along.append(_samples(start, length, count, ratio, x.shape[2 + axis]))
    if mode == "avg" and ratio <= 0:
        return narrowed(_by_matrices(wide, images, along), x.dtype)
    y = _by_samples(wide, images, along, mode)
    return narrowed(y if mode == "max" else y / ratio**2, x.dtype)


def _samples(start: Array, length: Array, bins: int, ratio: int, size: int) -> _Along:
    """Return coordinates of samples along an axis, shape (regions, bins, samples), and which of them count."""
    xp, used = array_namespace(start), None
    step = length / bins
    most, each = ratio, None
    if ratio <= 0:  # as many as a bin has pixels
        if not is_concrete(length):
            raise OperatorError("RoiAlign with sampling_ratio 0 takes samples by the size of regions: not under jit")
        counts = np.maximum(np.ceil(to_numpy(step)), 0)
        if not np.all(np.isfinite(counts)):
            raise DataError("RoiAlign has a region that is not finite")
        most = max(1, int(counts.max(initial=1)))
        check_size((length.shape[0], bins, most), "RoiAlign")
        each = xp.ceil(step)[:, None, None]
        numbers = beside(np.arange(most).astype(np.float32), start)
        used = numbers < each
        each = xp.maximum(each, xp.ones_like(each))
    offsets = beside((np.arange(most) + 0.5).astype(np.float32), start)
    offsets = narrowed(offsets, start.dtype)
    inner = offsets / (most if each is None else each)
    places = narrowed(beside(np.arange(bins).astype(np.float32).reshape(1, bins, 1), start), start.dtype)
    at = start[:, None, None] + (places + inner) * step[:, None, None]
    return at, used, size


def _inside(at: Array, size: int) -> tuple[Array, Array, Array]:
    """Return coordinates moved into an axis, the number before each, and whether it was at most 1 outside."""
    xp = array_namespace(at)
    within = (at >= -1.0) & (at <= float(size))
    at = xp.minimum(xp.maximum(at, xp.zeros_like(at)), xp.full_like(at, size - 1.0))
    at = xp.where(within, at, xp.zeros_like(at))
    return at, xp.floor(at), within


def _weights(at: Array, used: Array | None, size: int) -> Array:
    """Return the weight of each number of an axis in the mean of each bin: shape (regions, bins, size)."""
    xp, total = array_namespace(at), None
    at, _, within = _inside(at, size)
    within = within if used is None else within & used
    numbers = narrowed(beside(np.arange(size).astype(np.float32), at), at.dtype)
    for sample in range(at.shape[2]):
        distance = xp.abs(at[:, :, sample, None] - numbers)
        share = xp.maximum(1 - distance, xp.zeros_like(distance))
        share = xp.where(within[:, :, sample, None], share, xp.zeros_like(share))
        total = share if total is None else total + share
    if used is None:
        return total / at.shape[2]
    count = xp.sum(xp.astype(used, at.dtype), axis=2)
    return total / xp.maximum(count, xp.ones_like(count))[..., None]


def _by_matrices(x: Array, images: Array, along: list[_Along]) -> Array:
    """Return the means of many samples: products by their weights along each axis, for some regions at a time."""
    xp, parts = array_namespace(x), []
    down, right = (_weights(at, used, size) for at, used, size in along)
    right = xp.matrix_transpose(right)
    most = max(1, _MOST_AT_ONCE // max(1, math.prod(x.shape[1:])))
    images = xp.astype(images, index_dtype(x))
    for start in range(0, images.shape[0], most):
        some = slice(start, min(start + most, images.shape[0]))
        chosen = xp.take(x, images[some], axis=0)  # (regions, channels, height, width)
        rows = xp.matmul(down[some, None, :, :], chosen)
        parts.append(xp.matmul(rows, right[some, None, :, :]))
    if not parts:
        return xp.zeros_like(x[:0, :, :1, :1]) + xp.zeros((1, 1, down.shape[1], right.shape[2]), dtype=x.dtype)
    return parts[0] if len(parts) == 1 else xp.concat(parts, axis=0)


def _by_samples(x: Array, images: Array, along: list[_Along], mode: str) -> Array:
    """Return the sum of the parts of all interpolations of each bin, or the largest part; 0 without samples."""
    xp, (n, channels, height, width) = array_namespace(x), x.shape
    table = xp.reshape(xp.permute_dims(xp.reshape(x, (n, channels, height * width)), (0, 2, 1)), (-1, channels))
    first = xp.astype(images, index_dtype(x))[:, None, None] * (height * width)
    best = None
    for rows, down, used in _parts(*along[0]):
        for columns, right, also in _parts(*along[1]):
            flat = first + rows[:, :, None] * width + columns[:, None, :]
            term = rows_at(table, flat) * (down[:, :, None] * right[:, None, :])[..., None]
            if used is not None and also is not None:
                counts = (used[:, :, None] & also[:, None, :])[..., None]
                term = xp.where(counts, term, xp.full_like(term, -math.inf))
            best = term if best is None else best + term if mode == "avg" else xp.maximum(best, term)
    best = xp.where(best == -math.inf, xp.zeros_like(best), best)
    return xp.permute_dims(best, (0, 3, 1, 2))


def _parts(at: Array, used: Array | None, size: int) -> list[tuple[Array, Array, Array | None]]:
    """Return the numbers of an axis that samples take, with their weights, and whether the samples count."""
    xp, index = array_namespace(at), index_dtype(at)
    at, low, within = _inside(at, size)
    above = at - low
    high = xp.minimum(low + 1, xp.full_like(low, size - 1.0))
    zero = xp.zeros_like(above)
    pairs = [(low, xp.where(within, 1 - above, zero)), (high, xp.where(within, above, zero))]
    return [
        (xp.astype(number[:, :, s], index), share[:, :, s], None if used is None else used[:, :, s])
        for s in range(at.shape[2])
        for number, share in pairs
    ]


@operator()
def MaxRoiPool(X: Array, rois: Array, *, pooled_shape: Ints, spatial_scale: float = 1.0) -> Array:
    """Return regions ``image, x1, y1, x2, y2`` of images, each cut into bins: the largest number of each, or 0.

    The ends of regions are rounded to pixels, and belong to them; bins may overlap. Girshick, "Fast R-CNN", 2015.
    """
    if X.ndim != 4 or rois.ndim != 2 or rois.shape[1] != 5 or len(pooled_shape) != 2 or not _few(pooled_shape):
        raise ShapeError(f"MaxRoiPool: regions {tuple(rois.shape)} cut into {pooled_shape} do not fit {tuple(X.shape)}")
    check_size((rois.shape[0], X.shape[1], *pooled_shape), "MaxRoiPool")
    xp = array_namespace(X, rois)
    images = xp.astype(rois[:, 0], index_dtype(X))
    scaled = widened(rois)[:, 1:] * spatial_scale
    pixels = xp.where(scaled < 0, xp.ceil(scaled - 0.5), xp.floor(scaled + 0.5))  # halves away from 0
    most = max(1, _MOST_AT_ONCE // max(1, math.prod(X.shape[1:])))
    parts = []
    for start in range(0, max(1, rois.shape[0]), most):
        some = slice(start, min(start + most, rois.shape[0]))
        y = xp.take(X, images[some], axis=0)
        for axis, bins in ((1, pooled_shape[1]), (0, pooled_shape[0])):
            y = _largest(y, pixels[some, (1 - axis) :: 2], bins, 2 + axis)
        parts.append(xp.where(y == -math.inf, xp.zeros_like(y), y))
    return parts[0] if len(parts) == 1 else xp.concat(parts, axis=0)


def _few(counts: Sequence[int]) -> bool:
    return all(1 <= count <= _MOST_STEPS for count in counts)


def _largest(y: Array, ends: Array, bins: int, axis: int) -> Array:
    """Return the largest number of each bin of a part of an axis, from the first of its ends to the last."""
    xp, size = array_namespace(y), y.shape[axis]
    start, length = ends[:, 0], ends[:, 1] - ends[:, 0] + 1
    step = xp.maximum(length, xp.ones_like(length)) / bins
    numbers = narrowed(beside(np.arange(size).astype(np.float32), y), start.dtype)
    shape = (-1, 1, 1, size) if axis == 3 else (-1, 1, size, 1)
    parts = []
    for place in range(bins):
        low, high = start + xp.floor(place * step), start + xp.ceil((place + 1) * step)
        seen = xp.reshape((numbers >= low[:, None]) & (numbers < high[:, None]), shape)
        parts.append(xp.max(xp.where(seen, y, xp.full_like(y, -math.inf)), axis=axis, keepdims=True))
    return xp.concat(parts, axis=axis)
