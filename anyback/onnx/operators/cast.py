"""Operators that change the type of numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

from anyback import backends
from anyback._typing import Array, Namespace
from anyback.backends import array_namespace, is_float
from anyback.errors import OperatorError
from anyback.numbers import dtype_name
from anyback.onnx._operator import TypeName, operator
from anyback.onnx._types import HELD_AS, cast, held_as, integer_range
from anyback.plan import Rows

__all__ = ["BitCast", "Cast", "CastLike"]

#: Bits of the fraction, the least exponent of a normal number, the largest number, and whether infinity exists.
_SMALL = {
    "bfloat16": (7, -126, 3.3895313892515355e38, True),
    "float8e4m3fn": (3, -6, 448.0, False),
    "float8e4m3fnuz": (3, -7, 240.0, False),
    "float8e5m2": (2, -14, 57344.0, True),
    "float8e5m2fnuz": (2, -15, 57344.0, False),
    "float4e2m1": (1, 0, 6.0, False),
}
#: Types of integers that no array library has.
_SHORT = tuple(name for name in HELD_AS if integer_range(name) is not None)


@operator(types=("to",), elementwise=True)
def Cast(input: Any, *, to: TypeName, saturate: int = 1, round_mode: str = "up") -> Any:
    """Return numbers in another type; those that no library has are held in a wider one, rounded to their digits."""
    if to == "string" or (isinstance(input, (np.ndarray, np.generic)) and input.dtype.kind in "OU"):
        return _of_text(input, to)
    xp = array_namespace(input)
    if to in _SMALL:
        if to == "bfloat16" and dtype_name(held_as(xp, to)) == "bfloat16":
            return cast(input, to)
        wide = cast(input, "float64") if input.dtype == xp.float64 else cast(input, "float32")
        return cast(_rounded(xp, wide, to, bool(saturate)), HELD_AS[to])
    if to == "float8e8m0":
        return _power_of_two(xp, cast(input, "float32"), bool(saturate), round_mode)
    if to in _SHORT:
        return _short(xp, input, to)
    if to.startswith(("int", "uint")) and is_float(input):
        return _whole(xp, input, to)
    return cast(input, to, "Cast")


def _whole(xp: Namespace, x: Array, to: str) -> Array:
    """Return floating-point numbers cut off towards zero; negative ones of an unsigned type by way of a signed one."""
    if to.startswith("uint") and to != "uint64":
        return cast(cast(xp.trunc(x), "int64" if to == "uint32" else "int32"), to, "Cast")
    return cast(x, to, "Cast")


def _short(xp: Namespace, x: Array, to: str) -> Array:
    """Return numbers as integers of 2 or 4 bits, of which the low bits count."""
    low, high = integer_range(to) or (0, 0)
    x = cast(xp.trunc(x) if is_float(x) else x, "int32")
    if low:
        span = 2 * (high + 1)
        return cast(xp.remainder(x - low, span) + low, HELD_AS[to])
    return cast(xp.remainder(x, high + 1), HELD_AS[to])


def _rounded(xp: Namespace, x: Array, to: str, saturate: bool) -> Array:
    """Return numbers rounded to the nearest of a type with fewer digits; of two, the even one."""
    digits, least, largest, has_infinity = _SMALL[to]
    magnitude = xp.abs(x)
    usable = xp.where(xp.isfinite(x) & (magnitude > 0), magnitude, xp.ones_like(x))
    exponent = xp.maximum(xp.floor(xp.log2(usable)), xp.full_like(x, float(least)))
    # A logarithm that was rounded up: the number is below that power of two.
    exponent = xp.where(_power(xp, exponent) > usable, exponent - 1, exponent)
    exponent = xp.where(_power(xp, exponent) * 2 <= usable, exponent + 1, exponent)
    exponent = xp.maximum(exponent, xp.full_like(x, float(least)))
    unit = _power(xp, exponent - digits)
    y = xp.where(xp.isfinite(x), xp.round(xp.where(xp.isfinite(x), x, xp.zeros_like(x)) / unit) * unit, x)
    beyond = xp.abs(y) > largest
    top = xp.copysign(xp.full_like(x, largest), x)
    if to == "float4e2m1":
        return xp.where(xp.isnan(x), xp.zeros_like(x), xp.where(beyond, top, y))  # it has neither nan nor infinity
    if to == "bfloat16" or (not saturate and has_infinity):
        y = xp.where(beyond, xp.copysign(xp.full_like(x, float("inf")), x), y)
    elif saturate:
        y = xp.where(beyond, top, y)
    else:
        y = xp.where(beyond, xp.full_like(x, float("nan")), y)
    return y + 0.0 if to.endswith("uz") else y  # no zero with a sign


def _power(xp: Namespace, exponent: Array) -> Array:
    """Return powers of two, exactly: those of half the exponent twice, so that none is below the least number."""
    half = xp.floor(exponent / 2)
    return xp.round(xp.pow(xp.full_like(exponent, 2.0), xp.abs(half))) ** xp.sign(half) * (
        xp.round(xp.pow(xp.full_like(exponent, 2.0), xp.abs(exponent - half))) ** xp.sign(exponent - half)
    )


def _power_of_two(xp: Namespace, x: Array, saturate: bool, mode: str) -> Array:
    """Return numbers as powers of two: rounded up, down or to the nearest."""
    magnitude = xp.abs(x)
    usable = xp.where(xp.isfinite(x) & (magnitude > 0), magnitude, xp.ones_like(x))
    low = xp.floor(xp.log2(usable))
    low = xp.where(_power(xp, low) > usable, low - 1, low)
    power = _power(xp, low)
    if mode == "up":
        up = power < usable
    elif mode == "nearest":
        up = usable >= 1.5 * power
    else:
        up = xp.zeros(x.shape, dtype=xp.bool)
    y = xp.where(up, power * 2, power)
    y = xp.where(magnitude == 0, xp.full_like(x, 2.0**-127), y)
    infinite = xp.isinf(x) | (y > 2.0**127)
    y = xp.where(infinite, xp.full_like(x, 2.0**127 if saturate else float("nan")), y)
    return xp.where(xp.isnan(x), x, y)


def _of_text(x: Any, to: str) -> Any:
    """Return numbers as texts, or texts as numbers, on the host."""
    if not isinstance(x, (np.ndarray, np.generic)):
        if not backends.is_concrete(x):
            raise OperatorError("Cast: texts cannot be made while a program is being traced")
        x = backends.to_numpy(x)
    if to != "string":
        return np.asarray(x.astype(to)) if to not in HELD_AS else Cast.compute(np.asarray(x.astype(np.float64)), to=to)
    texts = [_text(v) for v in np.reshape(x, -1)]
    return np.asarray(texts, object).reshape(x.shape)


def _text(value: Any) -> str:
    if isinstance(value, np.floating):
        if np.isnan(value):
            return "NaN"
        if np.isinf(value):
            return "INF" if value > 0 else "-INF"
        return np.format_float_positional(value, trim="-") if 1e-5 < abs(value) < 1e16 else f"{value:.8g}"
    return str(value)


@operator()
def CastLike(
    input: Any, target_type: Array, *, saturate: int = 1, round_mode: str = "up", held: tuple[str, ...] = ()
) -> Any:
    """Return numbers in the type of other numbers."""
    if isinstance(target_type, (np.ndarray, np.generic)) and target_type.dtype.kind in "OU":
        return _of_text(input, "string")
    to = (held[1] if len(held) > 1 else "") or dtype_name(target_type.dtype)
    return Cast.compute(input, to=to, saturate=saturate, round_mode=round_mode)


@operator(rows=Rows.UNKNOWN)
def BitCast(input: Array, *, to: TypeName) -> Array:
    """Return the bytes of numbers as numbers of another type of the same size."""
    x = backends.to_numpy(input)
    found = np.ascontiguousarray(x).view(np.dtype(to)).reshape(x.shape)
    return found if isinstance(input, np.ndarray) else backends.asarray(found, backend=backends.backend_of(input))
