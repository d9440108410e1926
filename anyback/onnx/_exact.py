"""Exact products of 8-bit integers less a zero point, by products in float32."""

from __future__ import annotations

import math

import numpy as np

from anyback._typing import Array
from anyback.backends import array_namespace
from anyback.onnx._arrays import beside
from anyback.onnx._sliding import Window
from anyback.ops.convolution import conv

__all__ = ["exact_conv", "exact_product"]

#: How many products of two integers, each at most 255 in magnitude, float32 adds exactly: the sum stays below 2**24.
_DEPTH = (1 << 24) // 255**2


def exact_product(a: Array, b: Array) -> Array:
    """Return the product of stacks of matrices as int32.

    Parameters
    ----------
    a, b : array of float32
        Integers of at most 255 in size.
    """
    xp, depth, total = array_namespace(a, b), a.shape[-1], None
    for low in range(0, max(depth, 1), _DEPTH):
        if depth <= _DEPTH:
            part = xp.matmul(a, b)
        else:
            high = min(low + _DEPTH, depth)
            part = xp.matmul(a[..., low:high], b[low:high] if b.ndim == 1 else b[..., low:high, :])
        part = xp.astype(part, xp.int32)
        total = part if total is None else total + part
    return total


def exact_conv(x: Array, weight: Array, window: Window, groups: int) -> Array:
    """Return the convolution of images (n, channels, *axes) with filters as int32.

    Parameters
    ----------
    x, weight : array of float32
        Integers of at most 255 in size.
    window : Window
        The window and its step, padding and dilation.
    groups : int
        The number of groups that the channels are cut into; each filter takes one group.
    """
    xp, total = array_namespace(x, weight), None
    n, channels, axes, places = x.shape[0], weight.shape[1], tuple(x.shape[2:]), math.prod(window.size)
    step = max(1, min(channels, _DEPTH // places))
    for low in range(0, max(channels, 1), step):
        images, filters, count = x, weight, min(step, channels - low)
        if count < channels:
            grouped = xp.reshape(x, (n, groups, channels, *axes))[:, :, low : low + count, ...]
            images, filters = xp.reshape(grouped, (n, groups * count, *axes)), weight[:, low : low + count, ...]
        for first in range(0, places, _DEPTH):
            taps = filters
            if places > _DEPTH:  # one channel alone has too many places: the window is cut, with zeros elsewhere
                part = np.arange(places).reshape(window.size) // _DEPTH == first // _DEPTH
                taps = xp.where(beside(part, filters), filters, xp.zeros_like(filters))
            y = conv.compute(
                images,
                taps,
                None,
                stride=window.stride,
                padding=window.padding,
                dilation=window.dilation,
                groups=groups,
            )
            y = xp.astype(y, xp.int32)
            total = y if total is None else total + y
    return total
