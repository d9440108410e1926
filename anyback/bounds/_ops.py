"""Rules of whole ops, for those that libraries compute in another order or form than the op's own function does."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from anyback.backends import Kernel
from anyback.bounds._bounded import Bounded
from anyback.bounds._limits import OURS, gamma, limits
from anyback.ops import Op, known_op
from anyback.ops._windows import Pads, padded, seen, spatial
from anyback.ops.pooling import average_pool
from anyback.plan import Shape

__all__ = ["KERNELS", "bounded"]


def _linear(x: Bounded, weight: Bounded, bias: Bounded | None = None) -> Bounded:
    return x.arithmetic.inner(x, weight, bias)


def _conv(
    x: Bounded,
    weight: Bounded,
    bias: Bounded | None = None,
    *,
    stride: Shape,
    padding: Pads,
    dilation: Shape,
    groups: int,
) -> Bounded:
    xp, filters, size = x.arithmetic, weight.shape[0], tuple(weight.shape[2:])
    axes = spatial("conv", tuple(x.shape[2:]), size, stride, padding, dilation)
    views = list(seen(padded(x, padding, 0.0), size, stride, dilation, axes))
    depth, places = weight.shape[1] * len(views), math.prod(axes)
    columns = xp.reshape(xp.stack(views, axis=2), (len(x.value), groups, depth, places))
    rows = xp.reshape(weight, (groups, filters // groups, depth))
    added = None if bias is None else xp.reshape(bias, (groups, filters // groups, 1))
    return xp.reshape(x.arithmetic.inner(rows, columns, added), (len(x.value), filters, *axes))


def _average_pool(x: Bounded, *, size: Shape, **attributes: Any) -> Bounded:
    mean = average_pool.compute(x, size=size, **attributes)
    of_sizes = average_pool.compute(x.moved(lambda part: np.abs(x.value) + x.bound), size=size, **attributes)
    # The op's function adds in one order. In another order a partial sum may be larger, but never larger than the sum
    # of the absolute values.
    return mean.widened(gamma(np.asarray(math.prod(size) * limits(x.dtype).roundoff)) * of_sizes.value)


def _sigmoid(x: Bounded) -> Bounded:
    """Return the sigmoid: it never falls, lies from 0 to 1, and is within 4 units (tests/test_activations.py)."""
    value, (low, high) = _logistic(x.value), x.ends()
    reach = np.where(x.exact, 0, np.maximum(_logistic(high) - value, value - _logistic(low)))
    reach = np.where(np.isfinite(x.bound), reach, np.inf)
    return x.rounded(value, reach + limits(x.dtype).smallest, 8)


def _logistic(x: np.ndarray) -> np.ndarray:
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, e) / (1 + e)


def _softmax(x: Bounded) -> Bounded:
    """Return the softmax along the last axis; libraries are within 4 units of it (tests/test_activations.py).

    Each output rises with its own number and falls with every other number. So it is largest where its own number is at
    the upper end of its interval and the others are at their lower ends, and smallest in the opposite case.
    """
    value, low, high = _of_finite(x)
    exact = np.exp(value - np.max(value, axis=-1, keepdims=True))
    y = exact / np.sum(exact, axis=-1, keepdims=True)
    top = np.max(high, axis=-1, keepdims=True)
    least, most = (np.exp(part - top) for part in (low, high))
    largest = most + np.maximum(np.sum(least, axis=-1, keepdims=True) - least, 0)
    smallest = least + np.maximum(np.sum(most, axis=-1, keepdims=True) - most, 0)
    above = np.where(largest > 0, most / largest, 1) - y
    below = y - np.where(smallest > 0, least / smallest, 0)
    # The sums of this function are rounded too: the last term is a bound on their error.
    reach = np.maximum(above, below) + 4 * value.shape[-1] * OURS
    return x.rounded(y, _known_in_rows(x, reach) + limits(x.dtype).smallest, 8)


def _log_softmax(x: Bounded) -> Bounded:
    """Return the logarithm of the softmax along the last axis; it is largest and smallest where the softmax is.

    A library computes ``d = x - max(x)`` and then ``d - log(sum(exp(d)))``. Rounding d by u changes the logarithm of
    the sum by u times the mean of ``abs(d)``, weighted by the softmax: at most by u log n. The exponentials and the
    logarithm, which is at most log n, are off by 4 units each, and the sum is rounded. Together that is less than
    16 u (1 + log n). Then the result is rounded.
    """
    value, low, high = _of_finite(x)
    count = value.shape[-1]
    below = value - np.max(value, axis=-1, keepdims=True)
    y = below - np.log(np.sum(np.exp(below), axis=-1, keepdims=True))
    top = np.max(high, axis=-1, keepdims=True)
    least, most = (np.exp(part - top) for part in (low, high))
    largest = most + np.maximum(np.sum(least, axis=-1, keepdims=True) - least, 0)
    smallest = least + np.maximum(np.sum(most, axis=-1, keepdims=True) - most, 0)
    reach = np.maximum((high - top) - np.log(largest) - y, y - ((low - top) - np.log(smallest)))
    kind, size = limits(x.dtype), np.abs(value - top) + np.abs(top)
    # Libraries replace infinities by the largest finite numbers, whose differences are computed in the type itself.
    reach = reach + 16 * kind.roundoff * (1 + np.log(count)) + 4 * OURS * (count + size)
    return x.rounded(y, _known_in_rows(x, reach), 2)


def _of_finite(x: Bounded) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the values, lower and upper ends, with infinities replaced by the largest finite numbers of the type."""
    largest = limits(x.dtype).largest
    value, low, high = (np.clip(part, -largest, largest) for part in (x.value, *x.ends()))
    return value, low, high


def _attention(q: Bounded, k: Bounded, v: Bounded, mask: Bounded | None = None, *, scale: float) -> Bounded:
    """Return attention, whose softmax libraries compute in float32, of rounded differences and sums in any order.

    A difference to the largest score is rounded as any other, so its rule is that of a difference. The sum of the
    exponentials has an error of its own, and so has that of the values they are multiplied by, before or after the
    division.
    """
    xp = q.arithmetic
    scores = xp.matmul(q * scale, xp.matrix_transpose(k))
    if mask is not None:
        scores = scores + mask[(None,) * (4 - mask.ndim) + (...,)]
    weights = _softmax(scores - xp.max(scores, axis=-1, keepdims=True))
    sums = gamma(np.asarray((scores.shape[-1] + 4) * limits(scores.dtype).roundoff))
    return xp.matmul(weights.widened(2 * sums * (np.abs(weights.value) + weights.bound)), v)


def _erf(x: Bounded) -> Bounded:
    found: Bounded = x.arithmetic.erf(x)
    return found


def _known_in_rows(x: Bounded, reach: np.ndarray) -> np.ndarray:
    """Return the bounds `reach`, but infinite along the last axis where a number may be anything: it may be nan."""
    return np.where(np.all(np.isfinite(x.bound) & ~np.isnan(x.value), axis=-1, keepdims=True), reach, np.inf)


_RULES: Mapping[str, Callable[..., Bounded]] = {
    "linear": _linear,
    "dense": _linear,
    "attention": _attention,
    "conv": _conv,
    "average_pool": _average_pool,
    "erf": _erf,
    "sigmoid": _sigmoid,
    "softmax": _softmax,
    "log_softmax": _log_softmax,
}
#: The same rules as kernels, for ops that are called inside an ONNX operator or a body.
KERNELS: Mapping[str, Kernel] = {name: Kernel(rule) for name, rule in _RULES.items()}


def bounded(op: Op) -> Callable[..., Any]:
    """Return the function that computes an op on `Bounded` arrays: its rule here, else the op's own function."""
    rule = _RULES.get(op.name, op.compute) if known_op(op) else op.compute
    return rule if op.casts.apply is None else functools.partial(op.casts.apply, rule)
