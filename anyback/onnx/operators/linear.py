"""Products of matrices: MatMul, Gemm, Einsum."""

from __future__ import annotations

from anyback._typing import Array
from anyback.backends import array_namespace, is_float
from anyback.errors import ShapeError
from anyback.onnx._einsum import einsum
from anyback.onnx._operator import operator

__all__ = ["Einsum", "Gemm", "Gemm_1", "MatMul"]


@operator()
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
