"""The rules of functions of one number, and of two: see `anyback.bounds.arithmetic` for what they are."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from anyback.bounds._bounded import Bounded
from anyback.bounds._limits import limits

__all__ = ["ULPS", "Functions"]

#: Units in the last place by which a library's functions may be off.
ULPS = 4


def _monotone(
    function: Callable[[np.ndarray], np.ndarray], ulps: Callable[[Bounded], Any] = lambda x: ULPS
) -> Callable[[Any, Bounded], Bounded]:
    """Return the rule of a function that only rises or only falls, whose results are off by so many units."""

    def rule(self: Any, x: Bounded) -> Bounded:
        value = function(x.value)
        low, high = x.ends()
        reach = np.where(x.exact, 0, np.maximum(np.abs(function(high) - value), np.abs(value - function(low))))
        reach = np.where(np.isfinite(x.bound), reach, np.inf)  # what may be anything may be nan, and stays it
        smallest = limits(x.dtype).smallest  # a library's own function of 0 need not be 0 exactly
        return x.rounded(value, reach + smallest, 2 * ulps(x))

    return rule


def _steps(function: Callable[[np.ndarray], np.ndarray]) -> Callable[[Any, Bounded], Bounded]:
    """Return the rule of a function that rises in steps, which every library computes exactly.

    It rises, so its values at the ends of an interval hold those inside; between two steps they are the same.
    """

    def rule(self: Any, x: Bounded) -> Bounded:
        value = function(x.value)
        low, high = x.ends()
        return x.with_bound(value, np.maximum(function(high) - value, value - function(low)))

    return rule


def _asked(function: Callable[[np.ndarray], np.ndarray]) -> Callable[[Any, Bounded], Bounded]:
    """Return the rule of a question that has one answer for all finite numbers: open where a number may be anything."""

    def rule(self: Any, x: Bounded) -> Bounded:
        return x.truth(function(x.value), np.isfinite(x.bound))

    return rule


class Functions:
    """The part of `Arithmetic` that computes number by number."""

    exp = _monotone(np.exp)
    expm1 = _monotone(np.expm1)
    log = _monotone(np.log)
    log1p = _monotone(np.log1p)
    sqrt = _monotone(np.sqrt)
    tanh = _monotone(np.tanh)
    erfc = _monotone(
        np.vectorize(math.erfc, otypes=[np.float64]), lambda x: ULPS * np.maximum(1, (np.abs(x.value) + x.bound) ** 2)
    )
    floor, ceil, round, trunc = _steps(np.floor), _steps(np.ceil), _steps(np.rint), _steps(np.trunc)
    isnan, isinf, isfinite = _asked(np.isnan), _asked(np.isinf), _asked(np.isfinite)

    def abs(self, x: Bounded) -> Bounded:
        """Return the absolute value."""
        return abs(x)

    def negative(self, x: Bounded) -> Bounded:
        """Return the number with the other sign."""
        return -x

    def square(self, x: Bounded) -> Bounded:
        """Return the square."""
        return x * x

    def sign(self, x: Bounded) -> Bounded:
        """Return the sign, unknown where the interval holds 0."""
        known = (np.abs(x.value) > x.bound) | ((x.value == 0) & x.exact)  # false where either is nan
        return x.with_bound(np.sign(x.value), np.where(known, 0.0, np.where(np.isfinite(x.bound), 2.0, np.inf)))

    def pow(self, x: Bounded, y: Any) -> Bounded:
        """Return a power of integers, exact where both are, or of floating-point numbers."""
        x, y = x.pair(y)
        if not limits(x.dtype).roundoff:
            known = x.exact & y.exact & (y.value >= 0)
            return x.with_bound(np.where(known, x.value, 0) ** np.where(known, y.value, 1), np.where(known, 0, np.inf))
        return _power(x, y)

    def maximum(self, x: Bounded, y: Any) -> Bounded:
        """Return the larger of two: no more than the larger upper end, and no less than the larger lower one."""
        x, y = x.pair(y)
        value = np.maximum(x.value, y.value)
        with np.errstate(invalid="ignore"):  # of infinities
            above = np.maximum(x.value + x.bound, y.value + y.bound) - value
            below = value - np.maximum(x.value - x.bound, y.value - y.bound)
        found = x.with_bound(value, np.maximum(above, below, out=above if np.ndim(above) else None))
        if not np.any(infinite := np.isinf(value)):
            return found
        # Infinities that were put in, as in the padding of a window: the largest is the one, or both are the lowest.
        exact = np.where(value > 0, ((x.value == value) & x.exact) | ((y.value == value) & y.exact), x.exact & y.exact)
        return found.known(infinite & exact & np.isfinite(x.bound) & np.isfinite(y.bound))

    def minimum(self, x: Bounded, y: Any) -> Bounded:
        """Return the smaller of two."""
        return -self.maximum(-x, -x.other(y))

    def clip(self, x: Bounded, min: Any = None, max: Any = None) -> Bounded:
        """Return the numbers brought between two."""
        x = x if min is None else self.maximum(x, min)
        return x if max is None else self.minimum(x, max)

    def where(self, condition: Bounded, x: Any, y: Any) -> Bounded:
        """Return `x` or `y`; where the condition is open, the bound holds both."""
        x, y = x.pair(y) if isinstance(x, Bounded) else y.pair(x)[::-1]
        value = np.where(condition.value, x.value, y.value)
        both = np.abs(np.where(condition.value, y.value, x.value) - value) + np.maximum(x.bound, y.bound)
        chosen = np.where(condition.value, x.bound, y.bound)
        return x.with_bound(value, np.where(condition.exact, chosen, both))

    def logical_not(self, x: Bounded) -> Bounded:
        """Return the other truth values."""
        return ~x

    def logical_and(self, x: Bounded, y: Bounded) -> Bounded:
        """Return where both are true."""
        return x & y

    def logical_or(self, x: Bounded, y: Bounded) -> Bounded:
        """Return where one is true."""
        return x | y

    def logical_xor(self, x: Bounded, y: Bounded) -> Bounded:
        """Return where one alone is true."""
        return x ^ y


def _power(x: Bounded, y: Bounded) -> Bounded:
    """Return powers of floating-point numbers.

    Of positive numbers a power only rises or only falls with the base, and so it does with the exponent: the values at
    the four corners hold all. Of others there are powers to whole numbers alone: these only rise or fall on either side
    of 0, so the ends hold all, with the value at 0 between them. A library may take ``exp(y log(x))``, where the
    rounding of what it takes the exponential of counts as often as that is large, or multiply `y` times.
    """
    (low, high), (least, most) = x.ends(), y.ends()
    whole = y.exact & (y.value == np.rint(y.value))
    value = np.power(x.value, y.value)
    corners = [np.power(a, b) for a in (low, high) for b in (least, most)]
    top, bottom = np.maximum.reduce(corners), np.minimum.reduce(corners)
    around = (low <= 0) & (high >= 0)
    top, bottom = (
        np.where(around & (y.value > 0), end, part)
        for end, part in ((np.maximum(top, 0), top), (np.minimum(bottom, 0), bottom))
    )
    known = (low > 0) | (whole & ~(around & (y.value < 0))) | ((low >= 0) & (least > 0))
    known = known & np.isfinite(x.bound) & np.isfinite(y.bound)
    reach = np.where(known, np.maximum(top - value, value - bottom), np.inf)
    kind = limits(x.dtype)
    farthest = np.maximum(np.abs(np.log(np.abs(low))), np.abs(np.log(np.abs(high))))
    # Where it is farther from 1 than the range of the type, the result is 0 or infinite.
    exponent = np.minimum(
        np.nan_to_num(np.maximum(np.abs(least), np.abs(most)) * farthest, nan=np.inf), -math.log(kind.smallest)
    )
    roundoffs = 2 * ULPS * np.maximum(1, exponent) + np.where(whole, np.abs(y.value), 0)
    return x.rounded(value, reach + kind.smallest, roundoffs)
