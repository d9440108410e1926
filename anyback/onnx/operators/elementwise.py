"""Elementwise operators."""

from __future__ import annotations

from anyback._typing import Array
from anyback.backends import array_namespace
from anyback.onnx._operator import operator

__all__ = ["Abs", "Add"]


@operator()
def Abs(X: Array) -> Array:
    """Return absolute values."""
    return array_namespace(X).abs(X)


@operator()
def Add(A: Array, B: Array) -> Array:
    """Return the sum, by broadcasting."""
    return A + B
