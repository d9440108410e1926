"""Products of matrices, and determinants."""

from __future__ import annotations

import math

import numpy as np

from anyback._typing import Array
from anyback.backends import array_namespace, is_float
from anyback.errors import ShapeError
from anyback.onnx._arrays import beside, narrowed, widened
from anyback.onnx._einsum import einsum
from anyback.onnx._operator import operator
from anyback.plan import Shape

__all__ = ["Det", "Einsum", "Gemm", "Gemm_1", "MatMul"]


def _of_stacks(a: Shape | None, b: Shape | None) -> int:
    return 0 if not a or not b else max(math.prod(a) * b[-1] if len(b) > 1 else 1, math.prod(b))


@operator(multiply_adds=_of_stacks)
def MatMul(A: Array, B: Array) -> Array:
    """Return the product of matrices, or of stacks of them."""
    return array_namespace(A, B).matmul(A, B)


@operator(since=7)
def Gemm(
    A: Array,
    B: Array,
    C: Array | None = None,
    *,
    alpha: float = 1.0,
    beta: float = 1.0,
    transA: int = 0,
    transB: int = 0,
) -> Array:
    """Return ``alpha * A @ B + beta * C``, each matrix transposed before if that is asked for."""
    xp = array_namespace(A, B)
    if A.ndim != 2 or B.ndim != 2:
        raise ShapeError(f"Gemm expected two matrices, found shapes {tuple(A.shape)} and {tuple(B.shape)}")
    y = xp.matmul(xp.matrix_transpose(A) if transA else A, xp.matrix_transpose(B) if transB else B)
    y = _times(alpha, y)
    return y if C is None else y + _times(beta, C)


@operator(name="Gemm")
def Gemm_1(
    A: Array,
    B: Array,
    C: Array,
    *,
    alpha: float = 1.0,
    beta: float = 1.0,
    broadcast: int = 0,
    transA: int = 0,
    transB: int = 0,
) -> Array:
    """Return ``alpha * A @ B + beta * C`` as before version 7, where broadcasting had to be asked for."""
    return Gemm.compute(A, B, C, alpha=alpha, beta=beta, transA=transA, transB=transB)


def _times(factor: float, x: Array) -> Array:
    """Return a multiple; of integers, cut off where the factor is no integer."""
    if factor == 1:
        return x
    if is_float(x):
        return x * factor
    if factor == int(factor):
        return x * int(factor)
    xp = array_namespace(x)
    return xp.astype(xp.astype(x, xp.float64) * factor, x.dtype)


@operator()
def Einsum(*Inputs: Array, equation: str) -> Array:
    """Return the sum of products that an equation names, such as ``"bij,bjk->bik"``."""
    return einsum(equation, *Inputs)


@operator(since=11)
def Det(X: Array) -> Array:
    """Return the determinants of square matrices, shape (..., n, n)."""
    if X.ndim < 2 or X.shape[-1] != X.shape[-2]:
        raise ShapeError(f"Det expected square matrices, found shape {tuple(X.shape)}")
    xp, wide = array_namespace(X), widened(X)
    own = getattr(getattr(xp, "linalg", None), "det", None)  # of an extension that not every library has
    return narrowed(_eliminated(wide) if own is None else own(wide), X.dtype)


def _eliminated(x: Array) -> Array:
    """Return determinants by elimination, each time with the largest number of a column."""
    xp, size = array_namespace(x), x.shape[-1]
    product = xp.ones_like(xp.sum(x, axis=(-2, -1)))
    for left in range(size, 0, -1):
        column = x[..., 0]
        best = xp.argmax(xp.abs(column), axis=-1, keepdims=True)
        chosen = best == beside(np.arange(left), best)  # (..., left)
        row = xp.sum(xp.where(xp.expand_dims(chosen, axis=-1), x, xp.zeros_like(x)), axis=-2)
        pivot = row[..., 0]
        product = product * xp.where(best[..., 0] == 0, pivot, -pivot)
        # The first row goes where the chosen one was; what is left has no first row and no first column.
        x = xp.where(xp.expand_dims(chosen, axis=-1), x[..., :1, :], x)[..., 1:, :]
        shares = x[..., 0] / xp.expand_dims(xp.where(pivot == 0, xp.ones_like(pivot), pivot), axis=-1)
        x = x[..., 1:] - xp.expand_dims(shares, axis=-1) * xp.expand_dims(row[..., 1:], axis=-2)
    return product
