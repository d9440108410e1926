"""The limits of types as bounds see them, and what many roundings add up to."""

from __future__ import annotations

import functools

import numpy as np

from anyback._typing import DType
from anyback.numbers import FLOATS, Float

__all__ = ["OURS", "common_type", "gamma", "limits", "ours"]

#: Unit roundoff of the values and bounds here.
OURS = FLOATS["float64"].roundoff
#: Bits of the widest integers that every library has: JAX has no others unless told so.
_WORD = 32


@functools.cache
def limits(dtype: DType) -> Float:
    """Return the limits of a type of NumPy's; integers and booleans have no rounding, and nothing is flushed."""
    if dtype.name in FLOATS:
        return FLOATS[dtype.name]
    bits = 1 if dtype.kind == "b" else min(8 * dtype.itemsize, _WORD)
    return Float(bits, bits, 0.0, 0.0, 2.0 ** (bits - (dtype.kind == "i")) - 1)


def ours(dtype: DType) -> float:
    """Return the unit roundoff of what is computed here for a type: integers within the limits are exact in float64."""
    return OURS if limits(dtype).roundoff else 0.0


def common_type(first: DType, second: DType) -> DType:
    """Return the type of what two types make: a floating-point type takes integers in, the wider of two holds both."""
    if first == second:
        return first
    if (first.name in FLOATS) != (second.name in FLOATS):
        return first if first.name in FLOATS else second
    if limits(first).bits == limits(second).bits and first.name in FLOATS:  # neither half type holds the other
        return np.dtype(np.float32)
    return max(first, second, key=lambda dtype: limits(dtype).bits)


def gamma(nu: np.ndarray) -> np.ndarray:
    """Return ``n u / (1 - n u)``, Higham's bound; infinite from where it proves nothing."""
    with np.errstate(divide="ignore"):
        return np.where(nu < 1, nu / (1 - np.minimum(nu, 1)), np.inf)
