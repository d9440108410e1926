"""Normalization: half types are computed in float32 and rounded once, variances in two passes."""

from __future__ import annotations

import math
from typing import Any

from anyback._typing import Array
from anyback.backends import array_namespace
from anyback.errors import DataError, ShapeError
from anyback.onnx._arrays import narrowed, widened
from anyback.onnx._operator import Ints, operator, several
from anyback.ops.normalization import batch_norm, layer_norm

__all__ = [
    "LRN",
    "BatchNormalization",
    "BatchNormalization_1",
    "BatchNormalization_9",
    "GroupNormalization",
    "GroupNormalization_18",
    "InstanceNormalization",
    "LayerNormalization",
    "LpNormalization",
    "MeanVarianceNormalization",
    "RMSNormalization",
]


def _batch(x: Array, scale: Array, bias: Array, mean: Array, variance: Array, epsilon: float) -> Array:
    """Return numbers normalized by what is known of their channels; of an array of one axis there is one channel."""
    xp, wide = array_namespace(x, scale), widened(x)
    parameters = [narrowed(part, wide.dtype) for part in (mean, variance, scale, bias)]
    wide = xp.reshape(wide, (-1, 1)) if x.ndim == 1 else wide
    return narrowed(xp.reshape(batch_norm.compute(wide, *parameters, epsilon=epsilon), x.shape), x.dtype)


@operator(since=14)
def BatchNormalization(
    X: Array,
    scale: Array,
    B: Array,
    input_mean: Array,
    input_var: Array,
    *,
    epsilon: float = 1e-5,
    momentum: float = 0.9,
    training_mode: int = 0,
    outputs: int = 1,
) -> Any:
    """Return numbers normalized by the mean and variance of their channel, given or, in training, of these numbers."""
    if not training_mode:
        return several((_batch(X, scale, B, input_mean, input_var, epsilon), input_mean, input_var), outputs)
    xp, wide = array_namespace(X, scale), widened(X)
    axes = tuple(axis for axis in range(X.ndim) if axis != 1)
    mean = xp.mean(wide, axis=axes, keepdims=True)
    variance = xp.reshape(xp.mean(xp.square(wide - mean), axis=axes), (-1,))
    mean = xp.reshape(mean, (-1,))
    y = _batch(X, scale, B, mean, variance, epsilon)
    running = [
        narrowed(widened(old) * momentum + narrowed(new, widened(old).dtype) * (1 - momentum), old.dtype)
        for old, new in ((input_mean, mean), (input_var, variance))[: outputs - 1]
    ]
    return several((y, *running), outputs)


@operator(name="BatchNormalization", since=9)
def BatchNormalization_9(
    X: Array,
    scale: Array,
    B: Array,
    mean: Array,
    var: Array,
    *,
    epsilon: float = 1e-5,
    momentum: float = 0.9,
    outputs: int = 1,
) -> Any:
    """Return numbers normalized by the given mean and variance of their channel: these versions do not train here."""
    return several((_batch(X, scale, B, mean, var, epsilon), mean, var, mean, var), outputs)


@operator(name="BatchNormalization")
def BatchNormalization_1(
    X: Array,
    scale: Array,
    B: Array,
    mean: Array,
    var: Array,
    *,
    epsilon: float = 1e-5,
    is_test: int = 0,
    momentum: float = 0.9,
    spatial: int = 1,
    outputs: int = 1,
) -> Any:
    """Return numbers normalized by the given mean and variance of their channel, or else of their place."""
    if spatial or X.ndim < 3:
        y = _batch(X, scale, B, mean, var, epsilon)
    else:
        xp = array_namespace(X, scale)
        flat = xp.reshape(X, (X.shape[0], math.prod(X.shape[1:])))
        gain, bias, mid, spread = [xp.reshape(part, (flat.shape[1],)) for part in (scale, B, mean, var)]
        y = xp.reshape(_batch(flat, gain, bias, mid, spread, epsilon), X.shape)
    return several((y, mean, var, mean, var), outputs)


def _standard(x: Array, axes: tuple[int, ...], epsilon: float) -> tuple[Array, Array, Array]:
    """Return numbers of mean 0 and variance 1 along axes, their mean, and one by the root of their variance."""
    xp = array_namespace(x)
    mean = xp.mean(x, axis=axes, keepdims=True)
    centred = x - mean
    inverse = 1 / xp.sqrt(xp.mean(xp.square(centred), axis=axes, keepdims=True) + epsilon)
    return centred * inverse, mean, inverse


def _wide(part: Array, like: Array, shape: tuple[int, ...]) -> Array:
    """Return a parameter in a type and a shape."""
    return array_namespace(part, like).reshape(narrowed(part, like.dtype), shape)


@operator()
def InstanceNormalization(input: Array, scale: Array, B: Array, *, epsilon: float = 1e-5) -> Array:
    """Return numbers normalized by the mean and variance of their channel in their row."""
    if input.ndim < 3 or input.shape[1] != scale.shape[0]:
        raise ShapeError(f"InstanceNormalization expected (n, {scale.shape[0]}, *axes), found {tuple(input.shape)}")
    wide, shape = widened(input), (1, -1, *[1] * (input.ndim - 2))
    y, _, _ = _standard(wide, tuple(range(2, input.ndim)), epsilon)
    return narrowed(y * _wide(scale, wide, shape) + _wide(B, wide, shape), input.dtype)


def _groups(x: Array, scale: Array, bias: Array, count: int, epsilon: float, each: int) -> Array:
    """Return numbers normalized by group of channels; `each` is how many parameters of scale and bias there are."""
    if x.ndim < 2 or not count or x.shape[1] % count or tuple(scale.shape) != (each,):
        raise ShapeError(
            f"GroupNormalization expected (n, channels, ...) with channels in {count} groups and a scale of shape "
            f"{(each,)}, found {tuple(x.shape)} and {tuple(scale.shape)}"
        )
    xp, wide = array_namespace(x, scale), widened(x)
    n, rest = x.shape[0], tuple(x.shape[2:])
    y, _, _ = _standard(xp.reshape(wide, (n, count, x.shape[1] // count * math.prod(rest))), (2,), epsilon)
    y = xp.reshape(y, (n, each, x.shape[1] // each, *rest))
    shape = (1, each, *[1] * (1 + len(rest)))
    return narrowed(xp.reshape(y * _wide(scale, wide, shape) + _wide(bias, wide, shape), x.shape), x.dtype)


@operator(since=21)
def GroupNormalization(
    X: Array, scale: Array, bias: Array, *, epsilon: float = 1e-5, num_groups: int, stash_type: int = 1
) -> Array:
    """Return numbers normalized by the mean and variance of their group of channels in their row."""
    return _groups(X, scale, bias, num_groups, epsilon, X.shape[1])


@operator(name="GroupNormalization", since=18)
def GroupNormalization_18(X: Array, scale: Array, bias: Array, *, epsilon: float = 1e-5, num_groups: int) -> Array:
    """Return numbers normalized by group of channels; scale and bias belong to groups, not to channels."""
    return _groups(X, scale, bias, num_groups, epsilon, num_groups)


def _last_axes(x: Array, axis: int, operator: str) -> tuple[int, ...]:
    if not -x.ndim <= axis < x.ndim:
        raise ShapeError(f"{operator}: there is no axis {axis} in an array of {x.ndim}")
    return tuple(range(axis % x.ndim, x.ndim))


@operator(since=17)
def LayerNormalization(
    X: Array,
    Scale: Array,
    B: Array | None = None,
    *,
    axis: int = -1,
    epsilon: float = 1e-5,
    stash_type: int = 1,
    outputs: int = 1,
) -> Any:
    """Return numbers normalized along the axes from `axis` on, their mean, and one by the root of their variance.

    Float64 stays float64 in all results, where ONNX would round to float32 in between.
    """
    axes = _last_axes(X, axis, "LayerNormalization")
    wide, shape = widened(X), tuple(X.shape[axes[0] :])
    scale, bias = narrowed(Scale, wide.dtype), None if B is None else narrowed(B, wide.dtype)
    if outputs == 1 and tuple(scale.shape) == shape and (bias is None or tuple(bias.shape) == shape):
        return narrowed(layer_norm.compute(wide, scale, bias, shape=shape, epsilon=epsilon), X.dtype)
    y, mean, inverse = _standard(wide, axes, epsilon)
    y = y * scale if bias is None else y * scale + bias
    return several((narrowed(y, X.dtype), mean, inverse), outputs)


@operator(since=23)
def RMSNormalization(X: Array, scale: Array, *, axis: int = -1, epsilon: float = 1e-5, stash_type: int = 1) -> Array:
    """Return numbers divided by the root of the mean of their squares along the axes from `axis` on."""
    xp, axes, wide = array_namespace(X, scale), _last_axes(X, axis, "RMSNormalization"), widened(X)
    y = wide / xp.sqrt(xp.mean(xp.square(wide), axis=axes, keepdims=True) + epsilon)
    return narrowed(y * narrowed(scale, wide.dtype), X.dtype)


@operator()
def LRN(X: Array, *, alpha: float = 1e-4, beta: float = 0.75, bias: float = 1.0, size: int) -> Array:
    """Return numbers divided by a power of the sum of squares of the channels around: Krizhevsky et al. 2012, 3.3."""
    if X.ndim < 2 or size < 1:
        raise ShapeError(f"LRN expected shape (n, channels, ...) and a size from 1 on, found {tuple(X.shape)}, {size}")
    xp, wide, channels = array_namespace(X), widened(X), X.shape[1]
    squares = xp.square(wide)
    before, behind = min((size - 1) // 2, channels), min(size // 2, channels)
    zeros = xp.zeros_like(squares)
    around = xp.concat([zeros[:, :before, ...], squares, zeros[:, :behind, ...]], axis=1)
    total = squares
    for start in range(before + behind + 1):
        if start != before:
            total = total + around[:, start : start + channels, ...]
    return narrowed(wide / (bias + alpha / size * total) ** beta, X.dtype)


@operator()
def LpNormalization(input: Array, *, axis: int = -1, p: int = 2) -> Array:
    """Return numbers divided by the sum of absolute values along an axis, or the root of squares; 0 where that is 0."""
    if p not in (1, 2):
        raise DataError(f"LpNormalization has p {p}; expected 1 or 2")
    xp, wide = array_namespace(input), widened(input)
    if p == 1:
        size = xp.sum(xp.abs(wide), axis=axis, keepdims=True)
    else:
        size = xp.sqrt(xp.sum(xp.square(wide), axis=axis, keepdims=True))
    none = size == 0
    y = wide / xp.where(none, xp.ones_like(size), size)
    return narrowed(xp.where(none, xp.zeros_like(y), y), input.dtype)


@operator()
def MeanVarianceNormalization(X: Array, *, axes: Ints = (0, 2, 3)) -> Array:
    """Return numbers less their mean, divided by the root of their variance; 1e-9 keeps the root from 0."""
    xp, wide = array_namespace(X), widened(X)
    centred = wide - xp.mean(wide, axis=tuple(axes), keepdims=True)
    deviation = xp.sqrt(xp.mean(xp.square(centred), axis=tuple(axes), keepdims=True))
    return narrowed(centred / (deviation + 1e-9), X.dtype)
