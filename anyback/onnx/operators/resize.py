"""Resizing: Resize and Upsample, one axis after the other."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from anyback._typing import Array
from anyback.backends import array_namespace, is_float, is_integer
from anyback.errors import DataError, ShapeError
from anyback.numbers import dtype_name
from anyback.onnx._arrays import beside, narrowed, widened
from anyback.onnx._operator import Floats, Ints, operator
from anyback.onnx._resizing import Axis, Rule, matrix, taps
from anyback.onnx._types import check_size

__all__ = ["Resize", "Resize_10", "Upsample", "Upsample_1"]

#: Numbers of a matrix, and of an axis, up to which a product by it is quicker than a sum of a few numbers each.
_LARGEST_MATRIX, _LONGEST = 1 << 18, 512


@operator(since=11)
def Resize(
    X: Array,
    roi: Floats | None = None,
    scales: Floats | None = None,
    sizes: Ints | None = None,
    *,
    antialias: int = 0,
    axes: Ints | None = None,
    coordinate_transformation_mode: str = "half_pixel",
    cubic_coeff_a: float = -0.75,
    exclude_outside: int = 0,
    extrapolation_value: float = 0.0,
    keep_aspect_ratio_policy: str = "stretch",
    mode: str = "nearest",
    nearest_mode: str = "round_prefer_floor",
) -> Array:
    """Return an array of other sizes, with numbers interpolated between those that are there."""
    rule = Rule(
        mode,
        coordinate_transformation_mode,
        nearest_mode,
        float(cubic_coeff_a),
        bool(antialias),
        bool(exclude_outside),
    )
    chosen = tuple(range(X.ndim)) if axes is None else tuple(axis % max(1, X.ndim) for axis in axes)
    crops = roi if coordinate_transformation_mode == "tf_crop_and_resize" else None
    found = _axes(X.shape, chosen, crops, scales, sizes, keep_aspect_ratio_policy)
    return _resized(X, found, rule, float(extrapolation_value))


def _axes(
    shape: Sequence[int],
    chosen: tuple[int, ...],
    roi: Sequence[float] | None,
    scales: Sequence[float] | None,
    sizes: Sequence[int] | None,
    policy: str,
) -> dict[int, Axis]:
    """Return how each of the chosen axes is resized."""
    old = [shape[axis] for axis in chosen]
    count = len(chosen)
    if bool(scales) == bool(sizes) and count:
        raise DataError("Resize expected either scales or sizes")
    given = scales or sizes or ()
    if len(given) != count or (roi and len(roi) != 2 * count) or not all(0 <= one < math.inf for one in given):
        raise ShapeError(
            f"Resize expected {count} scales or sizes from 0 on, and twice as many roi, found {given}, {roi}"
        )
    parts = [(0.0, 1.0)] * count if not roi else [(float(roi[i]), float(roi[count + i])) for i in range(count)]
    if sizes:
        quotients = [new / n if n else 1.0 for new, n in zip(sizes, old, strict=True)]
        if policy == "stretch":
            rows = zip(chosen, old, sizes, quotients, parts, strict=True)
            return {axis: Axis(n, int(new), quotient, part, True) for axis, n, new, quotient, part in rows}
        if policy not in ("not_larger", "not_smaller"):
            raise DataError(f"Resize has keep_aspect_ratio_policy {policy[:40]!r}, which is not known")
        scale = (min if policy == "not_larger" else max)(quotients)
        return {
            axis: Axis(n, math.floor(scale * n + 0.5), scale, part)
            for axis, n, part in zip(chosen, old, parts, strict=True)
        }
    # In float32, as they are meant: 10 times 0.7 is 7.
    new = [
        int(np.floor(np.float32(n) * np.float32(end - start) * np.float32(scale)))
        for n, scale, (start, end) in zip(old, scales or (), parts, strict=True)
    ]
    rows = zip(chosen, old, new, scales or (), parts, strict=True)
    return {axis: Axis(n, size, float(scale), part) for axis, n, size, scale, part in rows}


def _resized(x: Array, axes: dict[int, Axis], rule: Rule, beyond: float) -> Array:
    """Return an array with axes resized, those that become smaller first."""
    shape = tuple(axes[i].new if i in axes else size for i, size in enumerate(x.shape))
    check_size(shape, "Resize")
    changed = {i: axis for i, axis in axes.items() if not axis.same}
    if not changed:
        return x
    xp = array_namespace(x)
    if not math.prod(shape) or not math.prod(x.shape):
        if math.prod(shape):
            raise ShapeError(f"Resize cannot make shape {shape} of {tuple(x.shape)}, which has no numbers")
        return xp.zeros_like(xp.broadcast_to(xp.sum(x, axis=None, dtype=x.dtype), shape))
    y = x if rule.mode == "nearest" else _floats(x)
    outside = []
    for i, axis in sorted(changed.items(), key=lambda item: item[1].new / item[1].old):
        found = taps(axis, rule)
        if found.outside is not None:
            outside.append(found.outside.reshape(-1, *[1] * (x.ndim - 1 - i)))
        if rule.mode == "nearest":
            y = xp.take(y, beside(found.places[:, 0], y), axis=i)
        elif axis.old <= _LONGEST and axis.old * axis.new <= _LARGEST_MATRIX:
            y = _by_matrix(y, i, matrix(axis, rule))
        else:
            y = _by_taps(y, i, found.places, found.weights)
    y = _back(y, x)
    for mask in outside:
        y = xp.where(beside(mask, y), xp.full_like(y, beyond), y)
    return y


def _floats(x: Array) -> Array:
    """Return floating-point numbers to compute with: large integers need float64."""
    if is_float(x):
        return widened(x)
    xp = array_namespace(x)
    return xp.astype(x, xp.float64 if dtype_name(x.dtype) in ("int32", "int64", "uint32", "uint64") else xp.float32)


def _back(y: Array, x: Array) -> Array:
    """Return numbers in the type of `x`: integers rounded, and within the limits of the type."""
    xp = array_namespace(y)
    if y.dtype == x.dtype or is_float(x):
        return narrowed(y, x.dtype)
    if is_integer(x):
        limits = xp.iinfo(x.dtype)
        y = xp.clip(xp.round(y), float(limits.min), float(limits.max))
    return xp.astype(y, x.dtype)


def _by_matrix(x: Array, axis: int, weights: np.ndarray) -> Array:
    """Return an axis multiplied by a matrix (new, old)."""
    xp = array_namespace(x)
    host = weights.astype(dtype_name(x.dtype))
    if axis == x.ndim - 1:
        columns = beside(np.ascontiguousarray(host.T), x)
        return xp.matmul(x, columns)
    if axis == x.ndim - 2:
        return xp.matmul(beside(host, x), x)
    y = xp.matmul(beside(host, x), xp.moveaxis(x, axis, -2))
    return xp.moveaxis(y, -2, axis)


def _by_taps(x: Array, axis: int, places: np.ndarray, weights: np.ndarray) -> Array:
    """Return an axis as the sum of its numbers at some places, times weights."""
    xp, shape, y = array_namespace(x), (-1, *[1] * (x.ndim - 1 - axis)), None
    for t in range(places.shape[1]):
        shares = beside(weights[:, t].astype(dtype_name(x.dtype)).reshape(shape), x)
        term = xp.take(x, beside(np.ascontiguousarray(places[:, t]), x), axis=axis) * shares
        y = term if y is None else y + term
    return y


@operator(name="Resize", since=10)
def Resize_10(X: Array, scales: Floats, *, mode: str = "nearest") -> Array:
    """Return an array of other sizes; the nearest is the one before or, of an axis that becomes smaller, behind."""
    return _simple("Resize", X, scales, mode)


@operator(since=7)
def Upsample(X: Array, scales: Floats, *, mode: str = "nearest") -> Array:
    """Return an array of larger sizes."""
    return _simple("Upsample", X, scales, mode)


@operator(name="Upsample")
def Upsample_1(X: Array, *, height_scale: float, mode: str = "nearest", width_scale: float) -> Array:
    """Return images (n, channels, height, width) of larger sizes."""
    return _simple("Upsample", X, (1.0, 1.0, height_scale, width_scale), mode)


def _simple(operator: str, x: Array, scales: Sequence[float], mode: str) -> Array:
    if mode not in ("nearest", "linear", "bilinear"):
        raise DataError(f"{operator} has mode {mode[:40]!r}; known: nearest, linear")
    axes = _axes(x.shape, tuple(range(x.ndim)), None, scales, None, "stretch")
    if mode != "nearest":
        return _resized(x, axes, Rule("linear", "asymmetric"), 0.0)
    for nearest in ("floor", "ceil"):
        some = {i: axis for i, axis in axes.items() if (axis.scale < 1) == (nearest == "ceil")}
        x = _resized(x, some, Rule("nearest", "asymmetric", nearest), 0.0)
    return x
