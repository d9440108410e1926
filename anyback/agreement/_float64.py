"""Ops in plain NumPy, float64, written a second time: without the code that is compared with them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np

from anyback.plan import Shape

__all__ = ["BY_HAND"]

Pads = tuple[tuple[int, int], ...]
_complementary = np.vectorize(math.erfc, otypes=[np.float64])
_error = np.vectorize(math.erf, otypes=[np.float64])


def _floats(x: np.ndarray) -> np.ndarray:
    return x.astype(np.float64)


def _elementwise(function: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    return lambda x, **attributes: function(_floats(x), **attributes)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    right = 1 / (1 + np.exp(-np.abs(x)))
    return np.where(x >= 0, right, np.exp(-np.abs(x)) * right)


def _gelu(x: np.ndarray) -> np.ndarray:
    # Below -40 the answer is 0; the bound keeps -inf * 0 out.
    return np.maximum(x, -40) * _complementary(-np.maximum(x, -40) / math.sqrt(2)) / 2


def _silu(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, -1000) * _sigmoid(x)


def _below_largest(x: np.ndarray) -> np.ndarray:
    finite = np.clip(_floats(x), np.finfo(np.float64).min, np.finfo(np.float64).max)
    with np.errstate(over="ignore"):
        return finite - finite.max(axis=-1, keepdims=True)


def _softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(_below_largest(x))
    return e / e.sum(axis=-1, keepdims=True)


def _log_softmax(x: np.ndarray) -> np.ndarray:
    below = _below_largest(x)
    return below - np.log(np.exp(below).sum(axis=-1, keepdims=True))


def _linear(x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None = None) -> np.ndarray:
    y = _floats(x) @ weight
    return y if bias is None else y + bias


def _attention(
    q: np.ndarray, k: np.ndarray, v: np.ndarray, mask: np.ndarray | None = None, *, scale: float
) -> np.ndarray:
    scores = scale * (_floats(q) @ np.swapaxes(_floats(k), -1, -2))
    return _softmax(scores if mask is None else scores + mask) @ _floats(v)


def _pixels(x: np.ndarray, largest: np.ndarray) -> np.ndarray:
    return x / float(largest) if x.dtype.kind in "iu" else _floats(x)


def _flatten(x: np.ndarray, *, shape: Shape | None = None) -> np.ndarray:
    return x.reshape(len(x), -1) if x.size else x.reshape(len(x), math.prod(x.shape[1:]))


def _reshape(x: np.ndarray, *, shape: Shape) -> np.ndarray:
    return x.reshape(len(x), *shape)


def _windows(x: np.ndarray, size: Shape, stride: Shape, padding: Pads, dilation: Shape, fill: float) -> np.ndarray:
    """Return the numbers of all windows: shape (n, channels, *windows, *size)."""
    x = np.pad(_floats(x), ((0, 0), (0, 0), *padding), constant_values=fill)
    reach = tuple(apart * (k - 1) + 1 for k, apart in zip(size, dilation, strict=True))
    views = np.lib.stride_tricks.sliding_window_view(x, reach, axis=tuple(range(2, x.ndim)))
    every = (slice(None), slice(None))
    return views[(*every, *(slice(None, None, step) for step in (*stride, *dilation)))]


def _conv(
    x: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray | None = None,
    *,
    stride: Shape,
    padding: Pads,
    dilation: Shape,
    groups: int,
) -> np.ndarray:
    size = weight.shape[2:]
    views = _windows(x, size, stride, padding, dilation, 0.0)
    window = tuple(range(views.ndim - len(size), views.ndim))
    parts = [
        np.tensordot(seen, filters, ((1, *window), tuple(range(1, weight.ndim))))  # (n, *windows, filters)
        for seen, filters in zip(np.split(views, groups, axis=1), np.split(weight, groups), strict=True)
    ]
    y = np.concatenate(parts, axis=-1)
    return np.moveaxis(y if bias is None else y + bias, -1, 1)


def _with_last_windows(x: np.ndarray, size: Shape, stride: Shape, padding: Pads, dilation: Shape, ceil: bool) -> Pads:
    """Return the padding, enlarged behind each axis as far as a last window reaches that begins inside."""
    found = []
    for axis, k, step, (before, behind), apart in zip(x.shape[2:], size, stride, padding, dilation, strict=True):
        reach, start = apart * (k - 1) + 1, 0
        while start + step + reach <= before + axis + behind:
            start += step
        begins_inside = start + step < before + axis and start + reach < before + axis + behind
        more = start + step + reach - (before + axis + behind) if ceil and begins_inside else 0
        found.append((before, behind + more))
    return tuple(found)


def _max_pool(
    x: np.ndarray, *, size: Shape, stride: Shape, padding: Pads, dilation: Shape, ceil: bool = False
) -> np.ndarray:
    padding = _with_last_windows(x, size, stride, padding, dilation, ceil)
    views = _windows(x, size, stride, padding, dilation, -math.inf)
    return views.max(axis=tuple(range(views.ndim - len(size), views.ndim)))


def _average_pool(
    x: np.ndarray,
    *,
    size: Shape,
    stride: Shape,
    padding: Pads,
    ceil: bool = False,
    count_padding: bool = True,
    dilation: Shape | None = None,
) -> np.ndarray:
    apart = dilation or (1,) * len(size)
    wide = _with_last_windows(x, size, stride, padding, apart, ceil)
    window = tuple(range(2 + len(size), 2 + 2 * len(size)))
    counted = np.ones((1, 1, *x.shape[2:]))
    counted = np.pad(counted, ((0, 0), (0, 0), *padding), constant_values=float(count_padding))
    beyond = tuple((0, w[1] - p[1]) for w, p in zip(wide, padding, strict=True))
    sums = _windows(x, size, stride, wide, apart, 0.0).sum(axis=window)
    return sums / _windows(counted, size, stride, beyond, apart, 0.0).sum(axis=window)


def _batch_norm(
    x: np.ndarray,
    mean: np.ndarray,
    variance: np.ndarray,
    weight: np.ndarray | None = None,
    bias: np.ndarray | None = None,
    *,
    epsilon: float,
) -> np.ndarray:
    last = np.moveaxis(_floats(x), 1, -1)  # channels
    return np.moveaxis(_affine((last - mean) / np.sqrt(variance + epsilon), weight, bias), -1, 1)


def _layer_norm(
    x: np.ndarray, weight: np.ndarray | None = None, bias: np.ndarray | None = None, *, shape: Shape, epsilon: float
) -> np.ndarray:
    rows = _floats(x).reshape(*x.shape[: x.ndim - len(shape)], math.prod(shape))
    y = (rows - rows.mean(axis=-1, keepdims=True)) / np.sqrt(rows.var(axis=-1, keepdims=True) + epsilon)
    return _affine(y.reshape(x.shape), weight, bias)


def _affine(x: np.ndarray, weight: np.ndarray | None, bias: np.ndarray | None) -> np.ndarray:
    return x * (1 if weight is None else weight) + (0 if bias is None else bias)


#: The functions of this module by the names of the ops that they compute. Floating-point arrays are float64.
BY_HAND: Mapping[str, Callable[..., np.ndarray]] = {
    "identity": lambda x: x,
    "step": _elementwise(lambda x: np.where(np.isnan(x), x, x > 0)),
    "sigmoid": _elementwise(_sigmoid),
    "relu": _elementwise(lambda x: np.maximum(x, 0)),
    "leaky_relu": _elementwise(lambda x, slope=0.01: np.where(x > 0, x, slope * x)),
    "elu": _elementwise(lambda x, alpha=1.0: np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))),
    "gelu": _elementwise(_gelu),
    "silu": _elementwise(_silu),
    "tanh": _elementwise(np.tanh),
    "softplus": _elementwise(lambda x: np.logaddexp(0, x)),
    "softmax": _softmax,
    "log_softmax": _log_softmax,
    "clip": _elementwise(lambda x, low=None, high=None: x if low is None and high is None else np.clip(x, low, high)),
    "erf": _elementwise(_error),
    "erfc": _elementwise(_complementary),
    "gelu_by_erf": _elementwise(_gelu),
    "linear": _linear,
    "dense": _linear,
    "attention": _attention,
    "add": lambda x, y: _floats(x) + _floats(y),
    "scale": _elementwise(lambda x, factor=1.0: factor * x),
    "pixels": _pixels,
    "flatten": _flatten,
    "reshape": _reshape,
    "permute": lambda x, axes: np.transpose(x, (0, *axes)),
    "pick": lambda x, axis, index: np.take(x, index, axis=axis),
    "conv": _conv,
    "max_pool": _max_pool,
    "average_pool": _average_pool,
    "global_average_pool": lambda x: np.mean(_floats(x), axis=tuple(range(2, x.ndim)), keepdims=True),
    "batch_norm": _batch_norm,
    "layer_norm": _layer_norm,
}
