"""Activations that are computed number by number, in the standard alone.

In float32 and float64, wherever the true value is a normal number, `sigmoid`, `tanh`, `silu` and `softplus` are within
4 units in the last place (ulp) of it; in float16 within 2. tests/test_activations.py checks that on every library.
"""

from __future__ import annotations

import functools
import math
from typing import Any

from anyback._typing import Array
from anyback.backends import array_namespace
from anyback.ops._casts import KEEP
from anyback.ops._op import op, same
from anyback.ops.special import clip, erfc
from anyback.plan import Rows, Shape

__all__ = ["elu", "gelu", "identity", "leaky_relu", "relu", "sigmoid", "silu", "softplus", "step", "tanh"]


def _of_one(shape: Shape | None, **attributes: Any) -> bool:
    """Return whether a row has one output. Of several, more than one may be rounded to 1, which loses their order."""
    return shape is not None and shape[-1] == 1


_elementwise = functools.partial(op, same, rows=Rows.ALONE, fresh=True)


@op(rows=Rows.ALONE, casts=KEEP, keeps_order=lambda shape: True)
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


@_elementwise()
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
    xp = array_namespace(x)
    return xp.where(xp.isnan(x), x, xp.astype(x > 0, x.dtype))


@_elementwise(gives="probabilities", keeps_order=_of_one)
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
    # As exp(min(x, 0)) / (1 + exp(-abs(x))): no exponential overflows, nothing cancels, and no mask is needed.
    xp = array_namespace(x)
    return xp.exp(clip(x, high=0.0)) / (1 + xp.exp(-xp.abs(x)))


@_elementwise()
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
    return clip(x, low=0.0)


@_elementwise()
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
    return array_namespace(x).where(x > 0, x, slope * x)


@_elementwise()
def elu(x: Array, alpha: float = 1.0) -> Array:
    """Return `x` where it is positive, and ``alpha * (exp(x) - 1)`` elsewhere.

    Parameters
    ----------
    x : array, real
        Any shape.
    alpha : float
        The limit at minus infinity is ``-alpha``.

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
    xp = array_namespace(x)
    return xp.where(x > 0, x, alpha * xp.expm1(clip(x, high=0.0)))


@_elementwise()
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
    which ``1 + erf`` loses. The standard has neither function; `erfc` is an op.

    References
    ----------
    Hendrycks, Gimpel, "Gaussian error linear units", 2016.

    Examples
    --------
    >>> import numpy as np
    >>> gelu(np.asarray([-1000.0, 0.0, 1000.0]))
    array([  -0.,    0., 1000.])
    """
    # Below -40 the answer is 0 in float64 too; the bound keeps -inf * 0 out.
    bounded = clip(x, low=-40.0)
    return 0.5 * bounded * erfc(bounded * -math.sqrt(0.5))


@_elementwise()
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
    For large negative `x`, ``exp(x)`` is below the smallest normal number before ``x * exp(x)`` is: it has lost digits,
    or is 0 on libraries that flush such numbers. So the exponential is taken in two parts there.

    References
    ----------
    Elfwing, Uchibe, Doya, "Sigmoid-weighted linear units for neural network function approximation", 2018.

    Examples
    --------
    >>> import numpy as np
    >>> silu(np.asarray([-1000.0, 0.0, 1000.0]))
    array([  -0.,    0., 1000.])
    """
    xp = array_namespace(x)
    below = clip(x, high=0.0)
    near = clip(below, low=-64.0)
    # Below -1000 the answer is 0 in float64 too; the bound keeps -inf * 0 out.
    scaled = clip(x, low=-1000.0) * xp.exp(below - near)
    return scaled * xp.exp(near) / (1 + xp.exp(-xp.abs(x)))


@_elementwise()
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
    return array_namespace(x).tanh(x)


@_elementwise()
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
    xp = array_namespace(x)
    return clip(x, low=0.0) + xp.log1p(xp.exp(-xp.abs(x)))
