"""Functions that activations use, and that the standard lacks or libraries have their own kernels for."""

from __future__ import annotations

import math

from anyback._typing import Array
from anyback.backends import array_namespace
from anyback.ops._op import op, same
from anyback.plan import Rows

__all__ = ["clip", "erf", "erfc", "gelu_by_erf"]

# log(erfc(z) / t) + z**2 for z >= 0, with t = 2 / (2 + z), as a Chebyshev series in 2 t - 1. The map takes
# [0, inf) to (0, 1], on which the function is smooth: the method of Schonfelder, Mathematics of Computation 32
# (1978). Coefficients by interpolation at 60 Chebyshev nodes in 60-digit arithmetic; the next one is below 1e-16.
_ERFC = (
    -0.6513268598908547,
    0.6419697923564902,
    0.019476473204185836,
    -0.009561514786808632,
    -0.0009465953444820369,
    0.00036683949785276145,
    4.252332480690777e-05,
    -2.0278578112534242e-05,
    -1.6242900046470256e-06,
    1.3036558355805232e-06,
    1.5626441722066142e-08,
    -8.523809591492654e-08,
    6.5290544390988515e-09,
    5.059343495551469e-09,
    -9.91364156493033e-10,
    -2.273651222931836e-10,
    9.646791102015527e-11,
    2.3940380830391146e-12,
    -6.886027526497553e-12,
    8.944879273090725e-13,
    3.130921399342958e-13,
    -1.1270822361367252e-13,
    3.810905255189232e-16,
    7.106097613609237e-15,
    -1.5230282014571043e-15,
    -9.457494571291233e-17,
)


@op(same, rows=Rows.ALONE)
def clip(x: Array, *, low: float | None = None, high: float | None = None) -> Array:
    """Return ``min(max(x, low), high)``; nan stays nan.

    Parameters
    ----------
    x : array, real
        Any shape.
    low, high : float or None
        The bounds; None is no bound.

    Returns
    -------
    array, floating-point
        Shape of `x`.

    Examples
    --------
    >>> import numpy as np
    >>> clip(np.asarray([-1.0, 0.5, 2.0]), low=0.0, high=1.0)
    array([0. , 0.5, 1. ])
    """
    xp = array_namespace(x)
    x = x if low is None else xp.maximum(x, low)
    return x if high is None else xp.minimum(x, high)


@op(same, rows=Rows.ALONE, fresh=True)
def erfc(x: Array) -> Array:
    """Return the complementary error function, ``2 / sqrt(pi) * integral of exp(-t**2) from x to infinity``.

    Parameters
    ----------
    x : array, real
        Any shape.

    Returns
    -------
    array, floating-point
        Shape of `x`. The error is a few units in the last place times ``max(1, x**2)``, since the rounding of ``x**2``
        passes through the exponential.

    Examples
    --------
    >>> import numpy as np
    >>> erfc(np.asarray([0.0, 40.0]))
    array([1., 0.])
    """
    xp = array_namespace(x)
    own = getattr(xp, "erfc", None)  # the standard has none
    if own is not None:
        return own(x)
    z = xp.abs(x)
    t = 2 / (2 + z)
    y = 2 * t - 1
    ahead, series = 0 * t, 0 * t + _ERFC[-1]
    for coefficient in _ERFC[-2:0:-1]:  # Clenshaw's recurrence
        ahead, series = series, 2 * y * series - ahead + coefficient
    # exp(-z**2) is 0 beyond z = 30 even in float64; the bound keeps z**2 finite.
    square = xp.square(xp.minimum(z, 30.0))
    tail = t * xp.exp(y * series - ahead + _ERFC[0] - square)
    return xp.where(x < 0, 2 - tail, tail)


@op(same, rows=Rows.ALONE, fresh=True)
def erf(x: Array) -> Array:
    """Return the error function: ``1 - erfc(x)``, near 0 by a series that does not cancel.

    DLMF 7.6.1 (https://dlmf.nist.gov/7.6).

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
    >>> erf(np.asarray([0.0, -40.0]))
    array([ 0., -1.])
    """
    xp = array_namespace(x)
    near = xp.clip(x, -0.5, 0.5)
    square = -near * near
    series, term = xp.ones_like(x), xp.ones_like(x)
    for k in range(1, 14 if x.dtype == xp.float64 else 8):
        term = term * square / k
        series = series + term / (2 * k + 1)
    close = 2 / math.sqrt(math.pi) * near * series
    away = xp.sign(x) * (1 - erfc(xp.abs(x)))
    return xp.where(xp.abs(x) < 0.5, close, away)


@op(same, rows=Rows.ALONE, fresh=True)
def gelu_by_erf(x: Array) -> Array:
    """Return ``0.5 * x * (1 + erf(x / sqrt(2)))``, as libraries and files write `gelu`.

    Parameters
    ----------
    x : array, real
        Any shape.

    Returns
    -------
    array, floating-point
        Shape of `x`; nan at minus infinity. Below 0 the sum cancels: far to the left, where `gelu` keeps its digits,
        all are lost.

    Examples
    --------
    >>> import numpy as np
    >>> gelu_by_erf(np.asarray([-1000.0, 0.0, 1000.0]))
    array([  -0.,    0., 1000.])
    """
    return 0.5 * x * (1 + erf.formula(x * math.sqrt(0.5)))
