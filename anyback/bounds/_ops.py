"""Ops that libraries compute in another order than the op's own function does: their bounds hold for every order."""

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
    # The op adds in one order: in another, parts of the sum may be larger, but never than that of the absolute values.
    return mean.widened(gamma(np.asarray(math.prod(size) * limits(x.dtype).roundoff)) * of_sizes.value)


def _sigmoid(x: Bounded) -> Bounded:
    """Return the sigmoid, which rises and stays between 0 and 1; tests/test_activations.py holds it to 4 units."""
    value, (low, high) = _logistic(x.value), x.ends()
    reach = np.where(x.exact, 0, np.maximum(_logistic(high) - value, value - _logistic(low)))
    reach = np.where(np.isfinite(x.bound), reach, np.inf)
    return x.rounded(value, reach + limits(x.dtype).smallest, 8)


def _logistic(x: np.ndarray) -> np.ndarray:
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, e) / (1 + e)


def _softmax(x: Bounded) -> Bounded:
    """Return the softmax along the last axis, 4 units in the last place off, as tests/test_activations.py holds it to.

    It rises with its own number and falls with each of the others. So it is largest where that one is at its upper end
    and the others are at their lower ones, and smallest where it is the other way round.
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
    # Sums here are rounded too, by no more than so much of what they are.
    reach = np.maximum(above, below) + 4 * value.shape[-1] * OURS
    return x.rounded(y, _known_in_rows(x, reach) + limits(x.dtype).smallest, 8)


def _log_softmax(x: Bounded) -> Bounded:
    """Return the logarithm of the softmax along the last axis, whose ends lie where those of the softmax do.

    A library takes the largest away, ``d = x - max(x)``, and then ``d - log(sum(exp(d)))``. Rounding d by u changes the
    sum by u times the mean of the sizes of d with the weights of the softmax, at most by u log n; the exponentials are
    off by 4 units, and so is the logarithm, which is at most log n, of a sum that is rounded. All that is less than
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
    # The largest finite numbers may stand for infinities, which are taken apart in the type itself.
    reach = reach + 16 * kind.roundoff * (1 + np.log(count)) + 4 * OURS * (count + size)
    return x.rounded(y, _known_in_rows(x, reach), 2)


def _of_finite(x: Bounded) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return values and ends, in which infinities count as the largest finite numbers of the type."""
    largest = limits(x.dtype).largest
    value, low, high = (np.clip(part, -largest, largest) for part in (x.value, *x.ends()))
    return value, low, high


def _known_in_rows(x: Bounded, reach: np.ndarray) -> np.ndarray:
    """Return bounds, without any in rows of which one number may be anything, and may be nan."""
    return np.where(np.all(np.isfinite(x.bound) & ~np.isnan(x.value), axis=-1, keepdims=True), reach, np.inf)


_RULES: Mapping[str, Callable[..., Bounded]] = {
    "linear": _linear,
    "conv": _conv,
    "average_pool": _average_pool,
    "sigmoid": _sigmoid,
    "softmax": _softmax,
    "log_softmax": _log_softmax,
}
#: The same as kernels, which calls of ops inside an operator or a body find.
KERNELS: Mapping[str, Kernel] = {name: Kernel(rule) for name, rule in _RULES.items()}


def bounded(op: Op) -> Callable[..., Any]:
    """Return the function that computes an op on `Bounded` arrays: its own, where that holds for every library."""
    rule = _RULES.get(op.name, op.compute) if known_op(op) else op.compute
    return rule if op.casts.apply is None else functools.partial(op.casts.apply, rule)
