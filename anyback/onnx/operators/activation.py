"""Activations, softmax and its relatives."""

from __future__ import annotations

import math
from typing import Any

import array_api_compat

from anyback._typing import Array, Namespace
from anyback.backends import array_namespace
from anyback.onnx._arrays import axis_of, narrowed
from anyback.onnx._operator import operator
from anyback.onnx._types import cast
from anyback.ops import OPS

__all__ = [
    "Celu",
    "Elu",
    "Gelu",
    "HardSigmoid",
    "HardSwish",
    "Hardmax",
    "Hardmax_1",
    "LeakyRelu",
    "LogSoftmax",
    "LogSoftmax_1",
    "Mish",
    "PRelu",
    "PRelu_1",
    "Relu",
    "Selu",
    "Selu_1",
    "Shrink",
    "Sigmoid",
    "Softmax",
    "Softmax_1",
    "Softplus",
    "Softsign",
    "SwiGLU",
    "Swish",
    "Tanh",
    "ThresholdedRelu",
]


def _op(name: str, x: Array, *arguments: Any) -> Array:
    """Return what an op of the library gives, in the type of its argument: half types are rounded once."""
    y = OPS[name](x, *arguments)
    return y if y.dtype == x.dtype else array_namespace(x).astype(y, x.dtype)


@operator(fresh=True, elementwise=True)
def Relu(X: Array) -> Array:
    """Return the positive part; of integers too."""
    xp = array_namespace(X)
    return xp.maximum(X, xp.zeros((), dtype=X.dtype, device=array_api_compat.device(X)))


@operator(fresh=True, elementwise=True)
def Sigmoid(X: Array) -> Array:
    """Return ``1 / (1 + exp(-x))``."""
    return _op("sigmoid", X)


@operator(fresh=True, elementwise=True)
def Tanh(input: Array) -> Array:
    """Return hyperbolic tangents."""
    return _op("tanh", input)


@operator(fresh=True, elementwise=True)
def Softplus(X: Array) -> Array:
    """Return ``log(1 + exp(x))``."""
    return _op("softplus", X)


@operator(fresh=True, elementwise=True)
def Softsign(input: Array) -> Array:
    """Return ``x / (1 + |x|)``."""
    return input / (1 + array_namespace(input).abs(input))


@operator(fresh=True, elementwise=True)
def LeakyRelu(X: Array, *, alpha: float = 0.01) -> Array:
    """Return ``x``, or ``alpha x`` below 0."""
    return narrowed(array_namespace(X).where(X < 0, X * alpha, X), X.dtype)


@operator(since=7)
def PRelu(X: Array, slope: Array) -> Array:
    """Return ``x``, or ``slope x`` below 0."""
    return array_namespace(X).where(X < 0, X * slope, X)


@operator(since=1, name="PRelu")
def PRelu_1(X: Array, slope: Array) -> Array:
    """Return ``x``, or ``slope x`` below 0, with a slope for each channel."""
    xp = array_namespace(X)
    many = slope.ndim == 1 and slope.shape[0] > 1 and X.ndim > 2
    return PRelu.compute(X, xp.reshape(slope, (-1, *(1,) * (X.ndim - 2))) if many else slope)


def _below(xp: Namespace, x: Array) -> Array:
    """Return ``exp(x) - 1`` where `x` is below 0; elsewhere 0, so that nothing overflows."""
    return xp.expm1(xp.where(x < 0, x, xp.zeros_like(x)))


@operator(fresh=True, elementwise=True)
def Elu(X: Array, *, alpha: float = 1.0) -> Array:
    """Return ``x``, or ``alpha (exp(x) - 1)`` below 0."""
    xp = array_namespace(X)
    return narrowed(xp.where(X < 0, alpha * _below(xp, X), X), X.dtype)


@operator(fresh=True, elementwise=True)
def Celu(X: Array, *, alpha: float = 1.0) -> Array:
    """Return ``x``, or ``alpha (exp(x / alpha) - 1)`` below 0."""
    xp = array_namespace(X)
    return narrowed(xp.where(X < 0, alpha * _below(xp, X / alpha), X), X.dtype)


@operator(since=6, fresh=True, elementwise=True)
def Selu(X: Array, *, alpha: float = 1.67326319217681884765625, gamma: float = 1.05070102214813232421875) -> Array:
    """Return ``gamma x``, or ``gamma alpha (exp(x) - 1)`` below 0."""
    xp = array_namespace(X)
    return narrowed(gamma * xp.where(X < 0, alpha * _below(xp, X), X), X.dtype)


@operator(since=1, name="Selu", fresh=True, elementwise=True)
def Selu_1(X: Array, *, alpha: float = 1.6732, gamma: float = 1.0507) -> Array:
    """Return SELU as versions before 6 have it, whose defaults have fewer digits."""
    return Selu.compute(X, alpha=alpha, gamma=gamma)


@operator(fresh=True, elementwise=True)
def Gelu(X: Array, *, approximate: str = "none") -> Array:
    """Return ``x`` times the share of a normal distribution below it, exactly or by a hyperbolic tangent."""
    if approximate == "none":
        return _op("gelu", X)
    xp = array_namespace(X)
    x = X if X.dtype in (xp.float32, xp.float64) else cast(X, "float32")
    y = 0.5 * x * (1 + xp.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    return y if y.dtype == X.dtype else xp.astype(y, X.dtype)


@operator(fresh=True, elementwise=True)
def HardSigmoid(X: Array, *, alpha: float = 0.2, beta: float = 0.5) -> Array:
    """Return ``alpha x + beta`` between 0 and 1."""
    xp = array_namespace(X)
    return narrowed(xp.clip(alpha * X + beta, 0.0, 1.0), X.dtype)


@operator(fresh=True, elementwise=True)
def HardSwish(X: Array) -> Array:
    """Return ``x`` times its hard sigmoid."""
    xp = array_namespace(X)
    return narrowed(X * xp.clip(X / 6 + 0.5, 0.0, 1.0), X.dtype)


@operator(fresh=True, elementwise=True)
def Swish(X: Array, *, alpha: float = 1.0) -> Array:
    """Return ``x`` times the sigmoid of ``alpha x``."""
    return X * _op("sigmoid", narrowed(alpha * X, X.dtype))


@operator(fresh=True, elementwise=True)
def Mish(X: Array) -> Array:
    """Return ``x tanh(log(1 + exp(x)))``."""
    return X * _op("tanh", _op("softplus", X))


@operator(fresh=True)
def SwiGLU(A: Array, B: Array, *, alpha: float = 1.0) -> Array:
    """Return the swish of the first times the second."""
    return Swish.compute(A, alpha=alpha) * B


@operator(fresh=True, elementwise=True)
def Shrink(input: Array, *, bias: float = 0.0, lambd: float = 0.5) -> Array:
    """Return 0 between ``-lambd`` and ``lambd``, and what lies outside moved towards 0 by ``bias``."""
    xp = array_namespace(input)
    moved = xp.where(input < -lambd, input + bias, input - bias)
    return xp.astype(xp.where(xp.abs(input) > lambd, moved, xp.zeros_like(moved)), input.dtype)


@operator(fresh=True, elementwise=True)
def ThresholdedRelu(X: Array, *, alpha: float = 1.0) -> Array:
    """Return ``x`` above ``alpha``, else 0."""
    xp = array_namespace(X)
    return xp.where(alpha < X, X, xp.zeros_like(X))


# -- Along an axis -----------------------------------------------------------------------------------------


def _along(name: str, x: Array, axis: int) -> Array:
    """Return an op of the last axis along another."""
    xp = array_namespace(x)
    return _op(name, x) if axis in (-1, x.ndim - 1) else xp.moveaxis(_op(name, xp.moveaxis(x, axis, -1)), -1, axis)


def _as_rows(name: str, x: Array, axis: int) -> Array:
    """Return an op of all axes from one on, taken as one, as versions before 13 do."""
    xp, at = array_namespace(x), axis_of(axis, x.ndim, name)
    rows = xp.reshape(x, (math.prod(x.shape[:at]), math.prod(x.shape[at:])))
    return xp.reshape(_op(name, rows), x.shape)


@operator(since=13, fresh=True)
def Softmax(input: Array, *, axis: int = -1) -> Array:
    """Return ``exp(x)`` as shares of its sum along an axis."""
    return _along("softmax", input, axis)


@operator(since=1, name="Softmax", fresh=True)
def Softmax_1(input: Array, *, axis: int = 1) -> Array:
    """Return ``exp(x)`` as shares of its sum along all axes from one on."""
    return _as_rows("softmax", input, axis)


@operator(since=13, fresh=True)
def LogSoftmax(input: Array, *, axis: int = -1) -> Array:
    """Return the logarithm of the softmax along an axis."""
    return _along("log_softmax", input, axis)


@operator(since=1, name="LogSoftmax", fresh=True)
def LogSoftmax_1(input: Array, *, axis: int = 1) -> Array:
    """Return the logarithm of the softmax along all axes from one on."""
    return _as_rows("log_softmax", input, axis)


@operator(since=13, fresh=True)
def Hardmax(input: Array, *, axis: int = -1) -> Array:
    """Return 1 at the first of the largest numbers along an axis, and 0 elsewhere."""
    xp = array_namespace(input)
    best = xp.argmax(input, axis=axis, keepdims=True)
    at = axis_of(axis, input.ndim, "Hardmax")
    places = xp.arange(input.shape[at], dtype=best.dtype, device=array_api_compat.device(input))
    return xp.astype(xp.reshape(places, (-1, *(1,) * (input.ndim - at - 1))) == best, input.dtype)


@operator(since=1, name="Hardmax", fresh=True)
def Hardmax_1(input: Array, *, axis: int = 1) -> Array:
    """Return 1 at the first of the largest numbers along all axes from one on, and 0 elsewhere."""
    xp, at = array_namespace(input), axis_of(axis, input.ndim, "Hardmax")
    rows = xp.reshape(input, (math.prod(input.shape[:at]), math.prod(input.shape[at:])))
    return xp.reshape(Hardmax.compute(rows), input.shape)
