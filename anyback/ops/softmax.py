"""Softmax and its logarithm, accurate to a few units in the last place, even without a wider type to compute in."""

from __future__ import annotations

from typing import Any

from anyback._typing import Array, Namespace
from anyback.backends import array_namespace, backend_of, dtype_name, largest_of
from anyback.ops._op import op, same
from anyback.ops.special import clip
from anyback.plan import Rows, Shape

__all__ = ["log_softmax", "softmax"]


def _always(shape: Shape | None, **attributes: Any) -> bool:
    return True


def _finite(x: Array) -> Array:
    """Return `x` with infinities replaced by the largest finite numbers of its type."""
    largest = largest_of(x.dtype)
    return clip(x, low=-largest, high=largest)


def _widened(x: Array) -> Array | None:
    """Return `x` in a wider type, so that rounding in it does not matter; None where the device has none."""
    name = backend_of(x).widest_float(x)
    xp = array_namespace(x)
    return None if name == dtype_name(x.dtype) else xp.astype(_finite(x), getattr(xp, name))


def _below_largest(xp: Namespace, x: Array) -> tuple[Array, Array]:
    """Return half of ``x - max(x)`` along the last axis, and half of the rounding error of that difference.

    The error, exact by Knuth's two-sum, matters where there is no wider type: half a unit in the last place of a
    difference of 60 becomes a relative error of 30 units in the exponential. Halves, since the difference may overflow.
    """
    half = 0.5 * x
    top = xp.max(half, axis=-1, keepdims=True)
    difference = half - top
    of_top = difference - half
    return difference, (half - (difference - of_top)) - (top + of_top)


def _sum(xp: Namespace, x: Array) -> Array:
    """Return the sum of numbers from 0 to 1 along the last axis, kept as an axis, rounded once.

    The leading half of the bits of each number adds up without error, and the rounding of the rest is too small to
    matter: Rump, Ogita, Oishi, "Accurate floating-point summation, part I", SIAM Journal on Scientific Computing 31
    (2008).
    """
    grid = 2.0 ** (26 if dtype_name(x.dtype) == "float64" else 12)
    # By `round`: a compiler may remove the addition and subtraction of a large number.
    leading = xp.round(x * grid) / grid
    rest = xp.sum(x - leading, axis=-1, keepdims=True)
    return xp.sum(leading, axis=-1, keepdims=True) + rest


@op(same, rows=Rows.ALONE, fresh=True, gives="distribution", keeps_order=_always)
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
    The largest value is subtracted first: that does not change the quotient, and no exponential is above 1.
    Infinities count as the largest finite numbers, so a single ``inf`` gives 1; a nan makes all outputs of its row nan.

    Examples
    --------
    >>> import numpy as np
    >>> softmax(np.asarray([0.3, 2.9, 4.0]))
    array([0.01821127, 0.24519181, 0.73659691])
    >>> softmax(np.asarray([1010.0, 1000.0, 990.0]))
    array([9.99954600e-01, 4.53978686e-05, 2.06106005e-09])
    """
    xp = array_namespace(x)
    if 0 in x.shape:  # there is no largest
        return x
    if (wide := _widened(x)) is not None:
        exponential = xp.exp(wide - xp.max(wide, axis=-1, keepdims=True))
        return xp.astype(exponential / xp.sum(exponential, axis=-1, keepdims=True), x.dtype)
    difference, error = _below_largest(xp, _finite(x))
    # Below -1000 the exponential is 0 in float64 too; the bound keeps the doubled difference finite.
    exponential = xp.exp(2 * clip(difference, low=-500.0))
    total = _sum(xp, exponential + exponential * (2 * error))
    # Scaled, since some libraries flush the correction of a small quotient to 0.
    quotient = exponential * 2.0**64 / total
    return (quotient + quotient * (2 * error)) * 2.0**-64


@op(same, rows=Rows.ALONE, fresh=True, gives="distribution", keeps_order=_always)
def log_softmax(x: Array) -> Array:
    """Return the logarithm of `softmax`, also where `softmax` itself would underflow to 0.

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
    xp = array_namespace(x)
    if 0 in x.shape:  # there is no largest
        return x
    largest = largest_of(x.dtype)
    if (wide := _widened(x)) is not None:
        difference = wide - xp.max(wide, axis=-1, keepdims=True)
        y = difference - xp.log(xp.sum(xp.exp(difference), axis=-1, keepdims=True))
        return xp.astype(clip(y, low=-largest), x.dtype)
    difference, error = _below_largest(xp, _finite(x))
    difference = 2 * clip(difference, low=-0.5 * largest)
    total = _sum(xp, xp.exp(difference))
    return difference + (2 * error - xp.log(total))
