"""Numbers of fewer significant bits, to which a library may shorten the operands of a product."""

from __future__ import annotations

import numpy as np

__all__ = ["Interval", "as_it_is", "cut_off", "round_to", "to_nearest"]

#: Significant bits of float64, including the leading one, which is not stored.
_SIGNIFICANT = 53

#: The middles and the half widths of intervals.
Interval = tuple[np.ndarray, np.ndarray]


def round_to(x: np.ndarray, bits: int) -> np.ndarray:
    """Return numbers rounded to `bits` significant bits, to nearest with ties to even, in the same type.

    Parameters
    ----------
    x : numpy.ndarray, floating-point
        Any shape.
    bits : int
        Significant bits, including the leading one: 11 for TF32, 8 for bfloat16.

    Returns
    -------
    numpy.ndarray
        Shape and dtype of `x`.

    Examples
    --------
    >>> round_to(np.asarray([1.0, 1.00390625, -0.1]), 8)
    array([ 1.        ,  1.        , -0.10009766])
    """
    fraction, exponent = np.frexp(x)
    return np.ldexp(np.rint(np.ldexp(fraction, bits)), exponent - bits)


# What a library may do to an operand of a product. Rounding is monotone, so the rounded ends of an interval enclose the
# rounded form of every number inside. Each function takes float64 values and bounds.


def as_it_is(value: np.ndarray, bound: np.ndarray) -> Interval:
    """Return the interval itself."""
    return value, bound


def to_nearest(value: np.ndarray, bound: np.ndarray, bits: int) -> Interval:
    """Return the interval of the numbers rounded to nearest, ties either way."""
    return _middle(_nearest(value - bound, bits, up=False), _nearest(value + bound, bits, up=True))


def cut_off(value: np.ndarray, bound: np.ndarray, bits: int) -> Interval:
    """Return the interval of the numbers whose last bits are cut off."""
    return _middle(_cut(value - bound, bits), _cut(value + bound, bits))


def _cut(x: np.ndarray, bits: int) -> np.ndarray:
    """Return float64 numbers without their last bits."""
    return (x.view(np.int64) & -(1 << _SIGNIFICANT - bits)).view(np.float64)


def _nearest(x: np.ndarray, bits: int, *, up: bool) -> np.ndarray:
    """Return float64 numbers rounded to nearest, ties up or down.

    The bits of a float64 are a sign and a magnitude. Adding half of the last bit that is kept to the magnitude, and
    then cutting off the bits behind it, rounds to nearest with ties away from 0; adding one less rounds ties towards 0.
    A carry into the exponent gives the next power of 2, which is right.
    """
    half = 1 << _SIGNIFICANT - bits - 1
    towards_0 = (x > 0) != up
    return _cut((x.view(np.int64) + (half - towards_0)).view(np.float64), bits)


def _middle(low: np.ndarray, high: np.ndarray) -> Interval:
    return (low + high) / 2, (high - low) / 2
