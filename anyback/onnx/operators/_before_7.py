"""Operators of two arguments as versions before 7 have them: an axis says where the second operand lies."""

from __future__ import annotations

from anyback._typing import Array
from anyback.backends import array_namespace
from anyback.onnx._arrays import axis_of
from anyback.onnx._operator import operator
from anyback.ops import Op

__all__ = ["before_7"]


def _aligned(A: Array, B: Array, axis: int | None, broadcast: int) -> Array:
    """Return the second operand with axes of size 1 behind its own, as versions before 7 place it at an axis."""
    if not broadcast or axis is None or not B.ndim:
        return B
    at = axis_of(axis, A.ndim, "the second operand")
    return array_namespace(B).reshape(B, (*B.shape, *(1,) * (A.ndim - at - B.ndim)))


def before_7(name: str, now: Op) -> Op:
    """Declare the form of an operator of two arguments before version 7, where `axis` says how they are placed."""

    def compute(A: Array, B: Array, *, axis: int | None = None, broadcast: int = 0) -> Array:
        return now.compute(A, _aligned(A, B, axis, broadcast))

    compute.__name__ = compute.__qualname__ = f"{name}_1"
    compute.__module__ = now.__module__  # where pickle finds it
    compute.__doc__ = f"As {name}, with the second operand placed at an axis of the first."
    return operator(name=name)(compute)
