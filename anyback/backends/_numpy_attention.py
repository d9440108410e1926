"""NumPy's kernels of what transformers are made of: in few passes, and float32 stays float32."""

from __future__ import annotations

import numpy as np

from anyback._typing import Array
from anyback.backends._ways import Kernel
from anyback.plan import Shape

__all__ = ["KERNELS"]

_FLOATS = (np.float32, np.float64)
#: Numbers that are computed while they are in the cache.
_SOME = 2**14
#: atanh(erf(x / sqrt(2))) / x as a polynomial in x**2, up to where erf is 1 in float32: to within 3e-8, and so
#: `gelu_by_erf` above 0 to within 1.3e-7 of itself. By least squares, weighted anew until the error was level.
_GELU = (1.70197882e-09, -1.30249787e-07, 3.93824292e-06, -5.51528867e-05, -3.29873359e-05, 0.0363334743, 0.797884841)
_ERF_IS_ONE = 5.558


def _gelu_by_erf(x: Array) -> Array:
    # A quarter of the time of five calls of NumPy and the error function: benchmarks/run.py, the transformer.
    if x.dtype != np.float32:
        return NotImplemented
    y = np.empty(x.shape, np.float32)
    flat, outs = x.reshape(-1), y.reshape(-1)
    for start in range(0, x.size, _SOME):
        part, out = flat[start : start + _SOME], outs[start : start + _SOME]
        z = np.clip(part, -_ERF_IS_ONE, _ERF_IS_ONE)
        square = np.multiply(z, z, out=out)
        error = square * _GELU[0]
        error += _GELU[1]
        for number in _GELU[2:]:
            error *= square
            error += number
        error *= z
        np.tanh(error, out=error)
        np.multiply(part, 0.5, out=out)
        error *= out
        out += error
    return y


def _layer_norm(
    x: Array, weight: Array | None = None, bias: Array | None = None, *, shape: Shape, epsilon: float
) -> Array:
    # A third of the time of the op's function; einsum adds up short rows in a third of the time of sum.
    if len(shape) != 1 or not x.size or x.dtype not in _FLOATS:
        return NotImplemented
    mean = np.einsum("...i->...", x)[..., None] / x.dtype.type(shape[0])
    y = np.subtract(x, mean)
    spread = np.einsum("...i,...i->...", y, y)[..., None]
    spread /= shape[0]
    spread += epsilon
    y /= np.sqrt(spread, out=spread)
    if weight is not None:
        y *= weight
    return y if bias is None else np.add(y, bias, out=y)


def _dense(x: Array, weight: Array, bias: Array | None = None) -> Array:
    y = np.matmul(x, weight)  # a matrix of each row is a product of its own: its bits do not depend on the others
    return y if bias is None else np.add(y, bias, out=y)


def _attention(q: Array, k: Array, v: Array, mask: Array | None = None, *, scale: float) -> Array:
    # A quarter of the time of the op's function, whose softmax is in float64.
    if q.dtype not in _FLOATS or not k.shape[2]:
        return NotImplemented
    scores = np.matmul(q * q.dtype.type(scale), k.swapaxes(-1, -2))
    if mask is not None:
        scores += mask
    # NumPy takes short rows one by one; the columns of a transposed copy it takes all at a time.
    # Not where a row of the batch is a line or a column of them: it would be added up in another order alone.
    short = scores.shape[-1] <= 64 and scores.shape[1] * scores.shape[2] > 1 and v.shape[-1] > 1
    powers, axis = (scores.transpose(3, 0, 1, 2).copy(), 0) if short else (scores, -1)
    powers -= np.maximum.reduce(powers, axis, keepdims=True)
    np.exp(powers, out=powers)
    total = np.add.reduce(powers, axis)
    y = np.matmul(powers.transpose(1, 2, 3, 0) if short else powers, v)
    y /= total[..., None]
    return y


#: The kernels by the names of ops.
KERNELS = {
    "gelu_by_erf": Kernel(_gelu_by_erf, partial=True),
    "layer_norm": Kernel(_layer_norm, partial=True),
    "dense": Kernel(_dense),
    "attention": Kernel(_attention, partial=True),
}
