"""What ops compute, in float64 on NumPy by loops over single numbers: slow, and as plain as the definition."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

Sizes = tuple[int, ...]
Pads = tuple[tuple[int, int], ...]


def starts(axis: int, size: int, stride: int, pads: tuple[int, int], dilation: int, ceil: bool = False) -> list[int]:
    """Return where windows begin along an axis, counted from the first number of the array."""
    (before, behind), reach = pads, dilation * (size - 1) + 1
    found, start = [], -before
    while start + reach <= axis + behind:
        found.append(start)
        start += stride
    # One more, where the last window does not end at the end and the next begins in front of the padding behind.
    unseen = (found[-1] + reach if found else start) < axis + behind
    if ceil and unseen and start < axis and start + reach - stride < axis + behind:
        found.append(start)
    return found


def windows(x: np.ndarray, size: Sizes, stride: Sizes, padding: Pads, dilation: Sizes, ceil: bool = False) -> Any:
    """Yield (place among the windows, coordinates that the window has there); some lie outside of the array."""
    along = [starts(*of, ceil) for of in zip(x.shape[2:], size, stride, padding, dilation, strict=True)]
    for place in itertools.product(*[range(len(line)) for line in along]):
        first = [line[i] for line, i in zip(along, place, strict=True)]
        places = itertools.product(*[range(k) for k in size])
        yield place, [tuple(s + d * k for s, d, k in zip(first, dilation, at, strict=True)) for at in places]


def counts(x: np.ndarray, size: Sizes, stride: Sizes, padding: Pads, dilation: Sizes, ceil: bool = False) -> Sizes:
    """Return how many windows there are along each axis."""
    return tuple(len(starts(*of, ceil)) for of in zip(x.shape[2:], size, stride, padding, dilation, strict=True))


def inside(x: np.ndarray, at: Sizes) -> bool:
    return all(0 <= i < axis for i, axis in zip(at, x.shape[2:], strict=True))


def conv(
    x: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray | None = None,
    *,
    stride: Sizes,
    padding: Pads,
    dilation: Sizes,
    groups: int,
) -> np.ndarray:
    size, depth, filters = weight.shape[2:], weight.shape[1], weight.shape[0]
    y = np.zeros((len(x), filters, *counts(x, size, stride, padding, dilation)))
    for place, coordinates in windows(x, size, stride, padding, dilation):
        for f in range(filters):
            first = f // (filters // groups) * depth  # the first channel that this filter sees
            total = np.zeros(len(x)) if bias is None else np.full(len(x), float(bias[f]))
            for k, at in zip(np.ndindex(*size), coordinates, strict=True):
                if inside(x, at):
                    for c in range(depth):
                        total = total + x[(slice(None), first + c, *at)] * weight[(f, c, *k)]
            y[(slice(None), f, *place)] = total
    return y


def products_of_conv(x: np.ndarray, weight: np.ndarray, **attributes: Any) -> int:
    """Return how many products a convolution adds up, zeros of the padding included."""
    size = weight.shape[2:]
    places = attributes["stride"], attributes["padding"], attributes["dilation"]
    return (
        sum(len(coordinates) for _, coordinates in windows(x, size, *places))
        * len(x)
        * weight.shape[0]
        * weight.shape[1]
    )


def max_pool(
    x: np.ndarray, *, size: Sizes, stride: Sizes, padding: Pads, dilation: Sizes, ceil: bool = False
) -> np.ndarray:
    y = np.full((*x.shape[:2], *counts(x, size, stride, padding, dilation, ceil)), -np.inf)
    for place, coordinates in windows(x, size, stride, padding, dilation, ceil):
        for at in filter(lambda at: inside(x, at), coordinates):
            here = (slice(None), slice(None), *place)
            y[here] = np.maximum(y[here], x[(slice(None), slice(None), *at)])
    return y


def average_pool(
    x: np.ndarray, *, size: Sizes, stride: Sizes, padding: Pads, ceil: bool = False, count_padding: bool = True
) -> np.ndarray:
    ones = (1,) * len(size)
    y = np.zeros((*x.shape[:2], *counts(x, size, stride, padding, ones, ceil)))
    for place, coordinates in windows(x, size, stride, padding, ones, ceil):
        total, number = np.zeros(x.shape[:2]), 0
        for at in coordinates:
            if inside(x, at):
                total = total + x[(slice(None), slice(None), *at)]
            padded = all(-b <= i < n + e for i, n, (b, e) in zip(at, x.shape[2:], padding, strict=True))
            number += padded if count_padding else inside(x, at)
        y[(slice(None), slice(None), *place)] = total / number
    return y


def batch_norm(
    x: np.ndarray, mean: np.ndarray, variance: np.ndarray, weight: Any = None, bias: Any = None, *, epsilon: float
) -> np.ndarray:
    y = np.empty(x.shape)
    for c in range(x.shape[1]):
        y[:, c] = (x[:, c] - mean[c]) / np.sqrt(variance[c] + epsilon)
        y[:, c] *= 1 if weight is None else weight[c]
        y[:, c] += 0 if bias is None else bias[c]
    return y


def layer_norm(x: np.ndarray, weight: Any = None, bias: Any = None, *, shape: Sizes, epsilon: float) -> np.ndarray:
    y = np.empty(x.shape)
    for place in np.ndindex(*x.shape[: x.ndim - len(shape)]):
        row = x[place]
        y[place] = (row - row.mean()) / np.sqrt(((row - row.mean()) ** 2).mean() + epsilon)
        y[place] *= 1 if weight is None else weight
        y[place] += 0 if bias is None else bias
    return y


def attention(q: np.ndarray, k: np.ndarray, v: np.ndarray, mask: Any = None, *, scale: float) -> np.ndarray:
    y = np.empty((*q.shape[:3], v.shape[3]))
    for n, head, place in np.ndindex(*q.shape[:3]):
        keys, values = (part[n if len(part) > 1 else 0, head] for part in (k, v))
        scores = np.asarray([scale * np.dot(q[n, head, place], key) for key in keys])
        scores += 0 if mask is None else np.broadcast_to(mask, (q.shape[2], len(keys)))[place]
        powers = np.exp(scores - scores.max())
        y[n, head, place] = sum(p * value for p, value in zip(powers, values, strict=True)) / powers.sum()
    return y


def pixels(x: np.ndarray, largest: np.ndarray) -> np.ndarray:
    return x / largest if np.issubdtype(x.dtype, np.integer) else np.asarray(x, np.float64)


#: The references by the names of ops.
REFERENCES: dict[str, Callable[..., np.ndarray]] = {
    "conv": conv,
    "max_pool": max_pool,
    "average_pool": average_pool,
    "batch_norm": batch_norm,
    "layer_norm": layer_norm,
    "attention": attention,
    "pick": lambda x, *, axis, index: np.moveaxis(x, axis, 0)[index],
    "pixels": pixels,
    "add": lambda x, y: np.asarray([a + b for a, b in zip(x.ravel(), y.ravel(), strict=True)], float).reshape(x.shape),
    "scale": lambda x, *, factor: np.asarray([factor * float(a) for a in x.ravel()]).reshape(x.shape),
    "flatten": lambda x, *, shape=None: np.asarray([row.ravel() for row in x]).reshape(
        len(x), int(np.prod(x.shape[1:]))
    ),
    "reshape": lambda x, *, shape: np.asarray([row.reshape(shape) for row in x]).reshape(len(x), *shape),
    "permute": lambda x, *, axes: np.asarray([row.transpose([a - 1 for a in axes]) for row in x]).reshape(
        len(x), *[x.shape[a] for a in axes]
    ),
    "global_average_pool": lambda x: np.asarray([[c.mean() for c in row] for row in x]).reshape(
        *x.shape[:2], *[1] * (x.ndim - 2)
    ),
    "linear": lambda x, weight, bias=None: x @ weight + (0 if bias is None else bias),
    "dense": lambda x, weight, bias=None: np.einsum("...i,io->...o", x, weight) + (0 if bias is None else bias),
}
