"""The limits of types that the rules use, and a bound on the sum of many roundings."""

from __future__ import annotations

import functools

import numpy as np

from anyback._typing import DType
from anyback.numbers import FLOATS, Float

__all__ = ["OURS", "common_type", "gamma", "limits", "ours"]

#: Unit roundoff of float64, in which values and bounds are computed.
OURS = FLOATS["float64"].roundoff
#: Bits of the widest integers that every library has: JAX has no others unless told so.
_WORD = 32


@functools.cache
def limits(dtype: DType) -> Float:
    """Return the limits of a NumPy type; for integers and booleans, the roundoff and the smallest number are 0."""
    if dtype.name in FLOATS:
        return FLOATS[dtype.name]
    bits = 1 if dtype.kind == "b" else min(8 * dtype.itemsize, _WORD)
    return Float(bits, bits, 0.0, 0.0, 2.0 ** (bits - (dtype.kind == "i")) - 1)


def ours(dtype: DType) -> float:
    """Return the unit roundoff of values of a type in float64: 0 for integers, which are exact within the limits."""
    return OURS if limits(dtype).roundoff else 0.0


def common_type(first: DType, second: DType) -> DType:
    """Return the common type of two: the floating one beside integers, float32 of both half types, else the wider."""
    if first == second:
        return first
    if (first.name in FLOATS) != (second.name in FLOATS):
        return first if first.name in FLOATS else second
    if limits(first).bits == limits(second).bits and first.name in FLOATS:  # neither half type holds the other
        return np.dtype(np.float32)
    return max(first, second, key=lambda dtype: limits(dtype).bits)


def gamma(nu: np.ndarray) -> np.ndarray:
    """Return Higham's ``n u / (1 - n u)`` for `nu` = ``n u``; infinite where ``n u`` is 1 or more."""
    with np.errstate(divide="ignore"):
        return np.where(nu < 1, nu / (1 - np.minimum(nu, 1)), np.inf)
