"""Elementwise operators of arithmetic, and functions of one number."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import array_api_compat

from anyback._typing import Array, Namespace
from anyback.backends import array_namespace, is_integer
from anyback.onnx._arrays import is_unsigned
from anyback.onnx._operator import operator
from anyback.onnx._sizes import together
from anyback.onnx._types import cast, in_widest_float
from anyback.onnx.operators._before_7 import before_7
from anyback.ops import OPS, Op

__all__ = [
    "Abs",
    "Acos",
    "Acosh",
    "Add",
    "Add_1",
    "Asin",
    "Asinh",
    "Atan",
    "Atanh",
    "BitwiseNot",
    "Ceil",
    "Clip",
    "Cos",
    "Cosh",
    "Div",
    "Div_1",
    "Erf",
    "Exp",
    "Floor",
    "IsInf",
    "IsNaN",
    "Log",
    "Max",
    "Mean",
    "Min",
    "Mod",
    "Mul",
    "Mul_1",
    "Neg",
    "Not",
    "Pow",
    "Pow_1",
    "Reciprocal",
    "Round",
    "Sign",
    "Sin",
    "Sinh",
    "Sqrt",
    "Sub",
    "Sub_1",
    "Sum",
    "Tan",
]


# -- Arithmetic -----------------------------------------------------------------------------------------


@operator(since=7, fresh=True, shape=together)
def Add(A: Array, B: Array) -> Array:
    """Return sums."""
    return A + B


@operator(since=7, fresh=True, shape=together)
def Sub(A: Array, B: Array) -> Array:
    """Return differences."""
    return A - B


@operator(since=7, fresh=True, shape=together)
def Mul(A: Array, B: Array) -> Array:
    """Return products."""
    return A * B


@operator(since=7, fresh=True, shape=together)
def Div(A: Array, B: Array) -> Array:
    """Return quotients; of integers, cut off towards zero."""
    xp = array_namespace(A)
    if not is_integer(A):
        return A / B
    if is_unsigned(A):
        return A // B
    down = A // B
    # The quotient rounded down is one too low where it is negative and something is left.
    left = (A - down * B) != 0
    return down + xp.astype(left & ((A < 0) != (B < 0)), A.dtype)


@operator(since=7, shape=together)
def Pow(X: Array, Y: Array) -> Array:
    """Return powers, of the type of the base."""
    xp = array_namespace(X, Y)
    if X.dtype == Y.dtype:
        if is_integer(X) and not is_unsigned(X):
            # Below 0, only the powers of 1 and of -1 are integers: the others are cut off to 0.
            up = xp.pow(X, xp.abs(Y))
            return xp.where((Y >= 0) | (X == 1) | (X == -1), up, xp.zeros_like(up))
        return X**Y
    if is_integer(X):  # a power of a fraction is computed in floating-point numbers
        wide = in_widest_float(X) if not is_integer(Y) else X
        return xp.astype(wide ** xp.astype(Y, wide.dtype), X.dtype)
    return X ** xp.astype(Y, X.dtype)


@operator()
def Mod(A: Array, B: Array, *, fmod: int = 0) -> Array:
    """Return remainders, with the sign of the divisor, or with `fmod` that of the dividend."""
    xp = array_namespace(A)
    if not fmod:
        return xp.remainder(A, B)
    if is_unsigned(A):
        return xp.remainder(A, B)
    rest = xp.remainder(xp.abs(A), xp.abs(B))
    if is_integer(A):
        return xp.where(A < 0, -rest, rest)
    return xp.where(xp.isinf(B) & xp.isfinite(A), A, xp.copysign(rest, A))


@operator(fresh=True, elementwise=True)
def Neg(X: Array) -> Array:
    """Return the numbers with the other sign."""
    return -X


@operator(elementwise=True)
def Abs(X: Array) -> Array:
    """Return absolute values."""
    xp = array_namespace(X)
    return X if is_unsigned(X) else xp.abs(X)


@operator(fresh=True, elementwise=True)
def Reciprocal(X: Array) -> Array:
    """Return inverses."""
    return 1 / X


def _folded(function: Callable[[Namespace, Array, Array], Array], arrays: tuple[Array, ...]) -> Array:
    xp = array_namespace(*arrays)
    return functools.reduce(lambda a, b: function(xp, a, b), arrays)


@operator(shape=together)
def Sum(*data_0: Array) -> Array:
    """Return sums of any number of arrays."""
    return _folded(lambda xp, a, b: a + b, data_0)


@operator(shape=together)
def Mean(*data_0: Array) -> Array:
    """Return means of any number of arrays."""
    return _folded(lambda xp, a, b: a + b, data_0) / len(data_0)


@operator(shape=together)
def Max(*data_0: Array) -> Array:
    """Return the largest of any number of arrays."""
    return _folded(lambda xp, a, b: xp.maximum(a, b), data_0)


@operator(shape=together)
def Min(*data_0: Array) -> Array:
    """Return the smallest of any number of arrays."""
    return _folded(lambda xp, a, b: xp.minimum(a, b), data_0)


@operator(elementwise=True)
def Clip(input: Array, min: Array | float | None = None, max: Array | float | None = None) -> Array:
    """Return ``minimum(maximum(input, min), max)``."""
    xp, x = array_namespace(input), input
    # The bounds are the attributes of old versions, or arrays of no axis.
    x = x if min is None else xp.maximum(x, _like(xp, min, x))
    return x if max is None else xp.minimum(x, _like(xp, max, x))


def _like(xp: Namespace, bound: Any, x: Array) -> Array:
    if hasattr(bound, "dtype"):
        return xp.reshape(bound, ()) if bound.ndim else bound
    return xp.asarray(bound, dtype=x.dtype, device=array_api_compat.device(x))


#: Operators of one argument that ONNX calls ``X``.
_OF_X = ("BitwiseNot", "Ceil", "Floor", "IsNaN", "Not", "Round", "Sqrt")


def _declared(name: str, doc: str, compute: Callable[[Namespace, Array], Array], since: int = 1) -> Op:
    """Declare an operator of one argument that the standard has; ONNX calls it ``input`` or, of some, ``X``."""

    def of_input(input: Array) -> Array:
        return compute(array_namespace(input), input)

    def of_x(X: Array) -> Array:
        return compute(array_namespace(X), X)

    applied = of_x if name in _OF_X else of_input
    applied.__name__ = applied.__qualname__ = name
    applied.__doc__ = doc
    return operator(since=since, elementwise=True)(applied)


Exp: Op = _declared("Exp", "Return exponentials.", lambda xp, x: xp.exp(x))
Log: Op = _declared("Log", "Return natural logarithms.", lambda xp, x: xp.log(x))
Sqrt: Op = _declared("Sqrt", "Return square roots.", lambda xp, x: xp.sqrt(x))
Ceil: Op = _declared("Ceil", "Return the numbers rounded up.", lambda xp, x: xp.ceil(x))
Floor: Op = _declared("Floor", "Return the numbers rounded down.", lambda xp, x: xp.floor(x))
Round: Op = _declared("Round", "Return the nearest integers; of two, the even one.", lambda xp, x: xp.round(x))
Sign: Op = _declared("Sign", "Return -1, 0 or 1.", lambda xp, x: xp.sign(x))
Sin: Op = _declared("Sin", "Return sines.", lambda xp, x: xp.sin(x))
Cos: Op = _declared("Cos", "Return cosines.", lambda xp, x: xp.cos(x))
Tan: Op = _declared("Tan", "Return tangents.", lambda xp, x: xp.tan(x))
Asin: Op = _declared("Asin", "Return inverse sines.", lambda xp, x: xp.asin(x))
Acos: Op = _declared("Acos", "Return inverse cosines.", lambda xp, x: xp.acos(x))
Atan: Op = _declared("Atan", "Return inverse tangents.", lambda xp, x: xp.atan(x))
Sinh: Op = _declared("Sinh", "Return hyperbolic sines.", lambda xp, x: xp.sinh(x))
Cosh: Op = _declared("Cosh", "Return hyperbolic cosines.", lambda xp, x: xp.cosh(x))
Asinh: Op = _declared("Asinh", "Return inverse hyperbolic sines.", lambda xp, x: xp.asinh(x))
Acosh: Op = _declared("Acosh", "Return inverse hyperbolic cosines.", lambda xp, x: xp.acosh(x))
Atanh: Op = _declared("Atanh", "Return inverse hyperbolic tangents.", lambda xp, x: xp.atanh(x))
IsNaN: Op = _declared("IsNaN", "Return where there is no number.", lambda xp, x: xp.isnan(x))
BitwiseNot: Op = _declared("BitwiseNot", "Return the other bits.", lambda xp, x: xp.bitwise_invert(x))
Not: Op = _declared("Not", "Return the other truth values.", lambda xp, x: xp.logical_not(x))


@operator(elementwise=True)
def Erf(input: Array) -> Array:
    """Return the error function."""
    xp = array_namespace(input)
    y = OPS["erf"](input if _is_wide(xp, input) else cast(input, "float32"))
    return y if y.dtype == input.dtype else xp.astype(y, input.dtype)


def _is_wide(xp: Namespace, x: Array) -> bool:
    return x.dtype in (xp.float32, xp.float64)


@operator()
def IsInf(X: Array, *, detect_negative: int = 1, detect_positive: int = 1) -> Array:
    """Return where there is infinity, of either sign or one."""
    xp = array_namespace(X)
    found = xp.isinf(X)
    if not detect_negative:
        found = found & (X > 0)
    return found if detect_positive else found & (X < 0)


Add_1: Op = before_7("Add", Add)
Sub_1: Op = before_7("Sub", Sub)
Mul_1: Op = before_7("Mul", Mul)
Div_1: Op = before_7("Div", Div)
Pow_1: Op = before_7("Pow", Pow)
