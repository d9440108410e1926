"""Ops that libraries compute in another order than the op's own function does: their bounds hold for every order."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from anyback.bounds._bounded import Bounded, gamma
from anyback.numbers import FLOATS
from anyback.ops import Op, known_op
from anyback.ops._windows import Pads, padded, seen, spatial
from anyback.ops.pooling import average_pool
from anyback.plan import Shape

__all__ = ["bounded"]


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
    return mean.widened(gamma(np.asarray(math.prod(size) * FLOATS[x.dtype.name].roundoff)) * of_sizes.value)


_RULES: Mapping[str, Callable[..., Bounded]] = {"linear": _linear, "conv": _conv, "average_pool": _average_pool}


def bounded(op: Op) -> Callable[..., Any]:
    """Return the function that computes an op on `Bounded` arrays: its own, where that holds for every library."""
    rule = _RULES.get(op.name, op.compute) if known_op(op) else op.compute
    return rule if op.casts.apply is None else functools.partial(op.casts.apply, rule)
