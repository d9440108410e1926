"""Elementwise operators of comparison, logic and bits."""

from __future__ import annotations

from anyback._typing import Array
from anyback.backends import array_namespace
from anyback.onnx._operator import operator
from anyback.onnx.operators._before_7 import before_7
from anyback.ops import Op

__all__ = [
    "And",
    "And_1",
    "BitShift",
    "BitwiseAnd",
    "BitwiseOr",
    "BitwiseXor",
    "Equal",
    "Equal_1",
    "Greater",
    "GreaterOrEqual",
    "Greater_1",
    "Less",
    "LessOrEqual",
    "Less_1",
    "Or",
    "Or_1",
    "Where",
    "Xor",
    "Xor_1",
]


@operator(since=7)
def Equal(A: Array, B: Array) -> Array:
    """Return where numbers are equal."""
    return A == B


@operator(since=7)
def Less(A: Array, B: Array) -> Array:
    """Return where the first is less."""
    return A < B


@operator(since=7)
def Greater(A: Array, B: Array) -> Array:
    """Return where the first is greater."""
    return A > B


@operator()
def LessOrEqual(A: Array, B: Array) -> Array:
    """Return where the first is not greater."""
    return A <= B


@operator()
def GreaterOrEqual(A: Array, B: Array) -> Array:
    """Return where the first is not less."""
    return A >= B


@operator(since=7)
def And(A: Array, B: Array) -> Array:
    """Return where both are true."""
    return array_namespace(A).logical_and(A, B)


@operator(since=7)
def Or(A: Array, B: Array) -> Array:
    """Return where one is true."""
    return array_namespace(A).logical_or(A, B)


@operator(since=7)
def Xor(A: Array, B: Array) -> Array:
    """Return where one alone is true."""
    return array_namespace(A).logical_xor(A, B)


@operator()
def Where(condition: Array, X: Array, Y: Array) -> Array:
    """Return the first where a condition holds, else the second."""
    return array_namespace(condition, X, Y).where(condition, X, Y)


@operator()
def BitwiseAnd(A: Array, B: Array) -> Array:
    """Return the bits that both have."""
    return array_namespace(A).bitwise_and(A, B)


@operator()
def BitwiseOr(A: Array, B: Array) -> Array:
    """Return the bits that one has."""
    return array_namespace(A).bitwise_or(A, B)


@operator()
def BitwiseXor(A: Array, B: Array) -> Array:
    """Return the bits that one alone has."""
    return array_namespace(A).bitwise_xor(A, B)


@operator()
def BitShift(X: Array, Y: Array, *, direction: str) -> Array:
    """Return the bits moved to the left or right; none is left where they are moved as far as there are bits."""
    xp = array_namespace(X)
    bits = xp.iinfo(X.dtype).bits
    inside = bits > Y
    by = xp.where(inside, Y, xp.zeros_like(Y))
    moved = xp.bitwise_left_shift(X, by) if direction == "LEFT" else xp.bitwise_right_shift(X, by)
    return xp.where(
        inside, moved, xp.zeros_like(X) if direction == "LEFT" else xp.where(X < 0, ~xp.zeros_like(X), 0 * X)
    )


Equal_1: Op = before_7("Equal", Equal)
Less_1: Op = before_7("Less", Less)
Greater_1: Op = before_7("Greater", Greater)
And_1: Op = before_7("And", And)
Or_1: Op = before_7("Or", Or)
Xor_1: Op = before_7("Xor", Xor)
