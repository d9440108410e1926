"""Activation functions: one array in, one of the same shape and library out, of the same floating-point type.

Integers and booleans become the library's default floating-point type. float16 and bfloat16 are computed in
float32 and rounded once. Which one ends a network follows from its task: `identity` for regression, `sigmoid` for
two classes, `softmax` for many.

In float32 and float64, wherever the true value is a normal number, `sigmoid`, `tanh`, `silu`, `softplus` and
`softmax` are within 4 units in the last place (ulp) of it; in float16 within 2. tests/test_activations.py holds
them to it on every library.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from types import MappingProxyType

from anyback._typing import Array, DType, Namespace
from anyback.backends import array_namespace, backend_of, dtype_name, dtype_of, largest_of
from anyback.errors import AnybackError

__all__ = [
    "ACTIVATIONS",
    "elu",
    "gelu",
    "get",
    "identity",
    "leaky_relu",
    "log_softmax",
    "relu",
    "sigmoid",
    "silu",
    "softmax",
    "softplus",
    "step",
    "tanh",
]


def _wide(x: Array) -> tuple[Namespace, Array, DType]:
    """Return the namespace, `x` in the type to compute in, and the type of the result."""
    xp = array_namespace(x)
    name = dtype_of(x)
    if name in {"float32", "float64"}:
        return xp, x, x.dtype
    if name in {"float16", "bfloat16"}:
        return xp, xp.astype(x, xp.float32), x.dtype
    default = backend_of(x).default_float(x)
    return xp, xp.astype(x, default), default


def _narrow(xp: Namespace, y: Array, dtype: DType) -> Array:
    """Return `y` in the type of the result."""
    return y if y.dtype == dtype else xp.astype(y, dtype)


def _clipped(xp: Namespace, x: Array, low: float | None = None, high: float | None = None) -> Array:
    """Return `x`, in which no number is below `low` or above `high`; nan stays."""
    return backend_of(x).clipped(xp, x, low, high)


def identity(x: Array) -> Array:
    """Return `x` as it is: the output activation for regression.

    Parameters
    ----------
    x : array
        Any shape and dtype.

    Returns
    -------
    array
        `x` itself.

    Examples
    --------
    >>> import numpy as np
    >>> identity(np.asarray([-1.0, 2.0]))
    array([-1.,  2.])
    """
    return x


def step(x: Array) -> Array:
    """Return 1 where `x` is above 0, and 0 elsewhere; nan stays.

    Parameters
    ----------
    x : array, real
        Any shape.

    Returns
    -------
    array, floating-point
        Shape of `x`.

    Examples
    --------
    >>> import numpy as np
    >>> step(np.asarray([-1.0, 0.0, 2.0]))
    array([0., 0., 1.])
    """
    xp, wide, dtype = _wide(x)
    return _narrow(xp, xp.where(xp.isnan(wide), wide, xp.astype(wide > 0, wide.dtype)), dtype)


def sigmoid(x: Array) -> Array:
    """Return ``1 / (1 + exp(-x))``: the output activation for two classes.

    Parameters
    ----------
    x : array, real
        Any shape.

    Returns
    -------
    array, floating-point
        Shape of `x`; values from 0 to 1.

    Examples
    --------
    >>> import numpy as np
    >>> sigmoid(np.asarray([-1000.0, 0.0, 1000.0]))
    array([0. , 0.5, 1. ])
    """
    xp, wide, dtype = _wide(x)
    return _narrow(xp, backend_of(wide).sigmoid(wide), dtype)


def relu(x: Array) -> Array:
    """Return ``max(x, 0)``.

    Parameters
    ----------
    x : array, real
        Any shape.

    Returns
    -------
    array, floating-point
        Shape of `x`.

    Examples
    --------
    >>> import numpy as np
    >>> relu(np.asarray([-1.0, 2.0]))
    array([0., 2.])
    """
    xp, wide, dtype = _wide(x)
    return _narrow(xp, _clipped(xp, wide, low=0.0), dtype)


def leaky_relu(x: Array, slope: float = 0.01) -> Array:
    """Return `x` where it is positive, and ``slope * x`` elsewhere.

    Parameters
    ----------
    x : array, real
        Any shape.
    slope : float
        Slope below 0.

    Returns
    -------
    array, floating-point
        Shape of `x`.

    Examples
    --------
    >>> import numpy as np
    >>> leaky_relu(np.asarray([-1.0, 2.0]))
    array([-0.01,  2.  ])
    """
    xp, wide, dtype = _wide(x)
    return _narrow(xp, xp.where(wide > 0, wide, slope * wide), dtype)


def elu(x: Array, alpha: float = 1.0) -> Array:
    """Return `x` where it is positive, and ``alpha * (exp(x) - 1)`` elsewhere.

    Parameters
    ----------
    x : array, real
        Any shape.
    alpha : float
        The value that is approached at minus infinity, with its sign changed.

    Returns
    -------
    array, floating-point
        Shape of `x`.

    References
    ----------
    Clevert, Unterthiner, Hochreiter, "Fast and accurate deep network learning by exponential linear units", 2016.

    Examples
    --------
    >>> import numpy as np
    >>> elu(np.asarray([-1000.0, 2.0]))
    array([-1.,  2.])
    """
    xp, wide, dtype = _wide(x)
    return _narrow(xp, xp.where(wide > 0, wide, alpha * xp.expm1(_clipped(xp, wide, high=0.0))), dtype)


def gelu(x: Array) -> Array:
    """Return ``x * P(X <= x)`` for a standard normal `X`: the exact form, not the one with tanh.

    Parameters
    ----------
    x : array, real
        Any shape.

    Returns
    -------
    array, floating-point
        Shape of `x`.

    Notes
    -----
    With the complementary error function, ``x * erfc(-x / sqrt(2)) / 2``, the left tail keeps its digits,
    which ``1 + erf`` loses. The standard has neither; the backend decides where it comes from.

    References
    ----------
    Hendrycks, Gimpel, "Gaussian error linear units", 2016.

    Examples
    --------
    >>> import numpy as np
    >>> gelu(np.asarray([-1000.0, 0.0, 1000.0]))
    array([  -0.,    0., 1000.])
    """
    xp, wide, dtype = _wide(x)
    # Below -40 the answer is 0 in float64 too; the bound keeps -inf * 0 out.
    bounded = _clipped(xp, wide, low=-40.0)
    return _narrow(xp, 0.5 * bounded * backend_of(wide).erfc(bounded * -math.sqrt(0.5)), dtype)


def silu(x: Array) -> Array:
    """Return ``x * sigmoid(x)``, also known as swish.

    Parameters
    ----------
    x : array, real
        Any shape.

    Returns
    -------
    array, floating-point
        Shape of `x`.

    Notes
    -----
    Far left, ``exp(x)`` leaves the range of normal numbers before ``x * exp(x)`` does, and loses its digits or,
    on libraries that flush such numbers, all of it. So the exponential is taken in two parts there.

    References
    ----------
    Elfwing, Uchibe, Doya, "Sigmoid-weighted linear units for neural network function approximation", 2018.

    Examples
    --------
    >>> import numpy as np
    >>> silu(np.asarray([-1000.0, 0.0, 1000.0]))
    array([  -0.,    0., 1000.])
    """
    xp, wide, dtype = _wide(x)
    below = _clipped(xp, wide, high=0.0)
    near = _clipped(xp, below, low=-64.0)
    # Below -1000 the answer is 0 in float64 too; the bound keeps -inf * 0 out.
    scaled = _clipped(xp, wide, low=-1000.0) * xp.exp(below - near)
    return _narrow(xp, scaled * xp.exp(near) / (1 + xp.exp(-xp.abs(wide))), dtype)


def tanh(x: Array) -> Array:
    """Return the hyperbolic tangent.

    Parameters
    ----------
    x : array, real
        Any shape.

    Returns
    -------
    array, floating-point
        Shape of `x`; values from -1 to 1.

    Examples
    --------
    >>> import numpy as np
    >>> tanh(np.asarray([-1000.0, 0.0, 1000.0]))
    array([-1.,  0.,  1.])
    """
    xp, wide, dtype = _wide(x)
    return _narrow(xp, backend_of(wide).tanh(wide), dtype)


def softplus(x: Array) -> Array:
    """Return ``log(1 + exp(x))``, a smooth form of `relu`.

    Parameters
    ----------
    x : array, real
        Any shape.

    Returns
    -------
    array, floating-point
        Shape of `x`.

    Examples
    --------
    >>> import numpy as np
    >>> softplus(np.asarray([-1000.0, 0.0]))
    array([0.        , 0.69314718])
    """
    xp, wide, dtype = _wide(x)
    return _narrow(xp, _clipped(xp, wide, low=0.0) + xp.log1p(xp.exp(-xp.abs(wide))), dtype)


def _finite(xp: Namespace, x: Array, dtype: DType) -> Array:
    """Return `x`, in which infinities count as the largest finite numbers of `dtype`."""
    largest = largest_of(dtype)
    return _clipped(xp, x, -largest, largest)


def _below_largest(xp: Namespace, x: Array) -> tuple[Array, Array]:
    """Return the halves of ``x - max(x)`` along the last axis and of its rounding error.

    The error, exact by Knuth's two-sum, matters where there is no wider type: exp would pass on half a unit in the
    last place of a difference of 60 as a relative error of 30 units. Halves, since the whole may not fit the type.
    """
    half = 0.5 * x
    top = xp.max(half, axis=-1, keepdims=True)
    difference = half - top
    of_top = difference - half
    return difference, (half - (difference - of_top)) - (top + of_top)


def _sum(xp: Namespace, x: Array) -> Array:
    """Return the sum of numbers from 0 to 1 along the last axis, kept as an axis, rounded once.

    The leading half of the bits of each number add up without error, and the rest is too small for its rounding
    to matter: the extraction of Rump, Ogita, Oishi, "Accurate floating-point summation, part I", SIAM Journal on
    Scientific Computing 31 (2008).
    """
    grid = 2.0 ** (26 if dtype_of(x) == "float64" else 12)
    # Rounded as such: a compiler may undo the addition and subtraction of a large number.
    leading = xp.round(x * grid) / grid
    rest = xp.sum(x - leading, axis=-1, keepdims=True)
    return xp.sum(leading, axis=-1, keepdims=True) + rest


def softmax(x: Array) -> Array:
    """Return ``exp(x) / sum(exp(x))`` along the last axis: the output activation for many classes.

    Parameters
    ----------
    x : array, real
        Shape (..., classes).

    Returns
    -------
    array, floating-point
        Shape of `x`; along the last axis the values are from 0 to 1 and add up to 1.

    Notes
    -----
    Taking the largest value away first changes nothing in the quotient, and keeps the exponentials at or below 1.
    Infinities count as the largest finite numbers, so a single ``inf`` takes all; nan makes its row nan.

    Examples
    --------
    >>> import numpy as np
    >>> softmax(np.asarray([0.3, 2.9, 4.0]))
    array([0.01821127, 0.24519181, 0.73659691])
    >>> softmax(np.asarray([1010.0, 1000.0, 990.0]))
    array([9.99954600e-01, 4.53978686e-05, 2.06106005e-09])
    """
    xp, wide, dtype = _wide(x)
    backend = backend_of(wide)
    if 0 in wide.shape:  # there is no largest
        return _narrow(xp, wide, dtype)
    if backend.widest_float(wide) != dtype_name(dtype):
        return backend.softmax(wide, dtype)
    difference, error = _below_largest(xp, _finite(xp, wide, dtype))
    # Below -1000 the exponential is 0 in float64 too; the bound keeps the doubled difference finite.
    exponential = xp.exp(2 * _clipped(xp, difference, low=-500.0))
    total = _sum(xp, exponential + exponential * (2 * error))
    # Scaled, since some libraries flush the correction of a small quotient to 0.
    quotient = exponential * 2.0**64 / total
    return _narrow(xp, (quotient + quotient * (2 * error)) * 2.0**-64, dtype)


def log_softmax(x: Array) -> Array:
    """Return the logarithm of `softmax`, without the underflow of taking it afterwards.

    Parameters
    ----------
    x : array, real
        Shape (..., classes).

    Returns
    -------
    array, floating-point
        Shape of `x`; values at or below 0.

    Examples
    --------
    >>> import numpy as np
    >>> log_softmax(np.asarray([1000.0, 0.0]))
    array([    0., -1000.])
    """
    xp, wide, dtype = _wide(x)
    if 0 in wide.shape:  # there is no largest
        return _narrow(xp, wide, dtype)
    largest = largest_of(dtype)
    name = backend_of(wide).widest_float(wide)
    if name != dtype_name(dtype):  # where the rounding of differences and sums is too small to matter
        x = _finite(xp, wide if dtype_of(wide) == name else xp.astype(wide, getattr(xp, name)), dtype)
        difference = x - xp.max(x, axis=-1, keepdims=True)
        y = difference - xp.log(xp.sum(xp.exp(difference), axis=-1, keepdims=True))
        return _narrow(xp, _clipped(xp, y, low=-largest), dtype)
    difference, error = _below_largest(xp, _finite(xp, wide, dtype))
    difference = 2 * _clipped(xp, difference, low=-0.5 * largest)
    total = _sum(xp, xp.exp(difference))
    return _narrow(xp, difference + (2 * error - xp.log(total)), dtype)


#: The activations by name, for `load_model`, the command line and error messages.
ACTIVATIONS: MappingProxyType[str, Callable[[Array], Array]] = MappingProxyType(
    {
        function.__name__: function
        for function in (
            identity,
            step,
            sigmoid,
            relu,
            leaky_relu,
            elu,
            gelu,
            silu,
            tanh,
            softplus,
            softmax,
            log_softmax,
        )
    }
)


def get(name: str | Callable[[Array], Array]) -> Callable[[Array], Array]:
    """Return an activation by name; a function is returned as it is.

    Parameters
    ----------
    name : str or callable
        A name in `ACTIVATIONS`.

    Returns
    -------
    callable

    Raises
    ------
    AnybackError
        If the name is unknown.

    Examples
    --------
    >>> get("relu").__name__
    'relu'
    """
    if callable(name):
        return name
    if str(name) in ACTIVATIONS:
        return ACTIVATIONS[str(name)]
    raise AnybackError(f"unknown activation {str(name)[:40]!r}; known: {', '.join(ACTIVATIONS)}")
