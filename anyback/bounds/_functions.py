"""The rules of functions of one number and of two numbers; `anyback.bounds.arithmetic` states and justifies them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar, TypeAlias

import numpy as np

from anyback.bounds._bounded import Bounded
from anyback.bounds._limits import limits

__all__ = ["ULPS", "Functions"]

_Rule: TypeAlias = Callable[[Any, Bounded], Bounded]

#: How many units in the last place a library's function may be off by.
ULPS = 4


def _monotone(function: Callable[[np.ndarray], np.ndarray], ulps: Callable[[Bounded], Any] = lambda x: ULPS) -> _Rule:
    """Return the rule of a monotone function whose results are off by at most so many units in the last place."""

    def rule(self: Any, x: Bounded) -> Bounded:
        value = function(x.value)
        low, high = x.ends()
        reach = np.where(x.exact, 0, np.maximum(np.abs(function(high) - value), np.abs(value - function(low))))
        reach = np.where(np.isfinite(x.bound), reach, np.inf)  # a number that may be anything may be nan: so its result
        smallest = limits(x.dtype).smallest  # a library's function of an exact 0 need not be an exact 0
        return x.rounded(value, reach + smallest, 2 * ulps(x))

    return rule


def _steps(function: Callable[[np.ndarray], np.ndarray]) -> _Rule:
    """Return the rule of a function that rises in steps, which every library computes without rounding.

    It never falls, so its values at the ends of an interval enclose all its values in the interval.
    """

    def rule(self: Any, x: Bounded) -> Bounded:
        value = function(x.value)
        low, high = x.ends()
        return x.with_bound(value, np.maximum(function(high) - value, value - function(low)))

    return rule


def _asked(function: Callable[[np.ndarray], np.ndarray]) -> _Rule:
    """Return the rule of a question such as `isnan`, with one answer for all finite numbers; not known elsewhere."""

    def rule(self: Any, x: Bounded) -> Bounded:
        return x.truth(function(x.value), np.isfinite(x.bound))

    return rule


class Functions:
    """The part of `Arithmetic` that computes number by number."""

    exp: ClassVar[_Rule] = _monotone(np.exp)
    expm1: ClassVar[_Rule] = _monotone(np.expm1)
    log: ClassVar[_Rule] = _monotone(np.log)
    log1p: ClassVar[_Rule] = _monotone(np.log1p)
    sqrt: ClassVar[_Rule] = _monotone(np.sqrt)
    tanh: ClassVar[_Rule] = _monotone(np.tanh)
    erf: ClassVar[_Rule] = _monotone(np.vectorize(math.erf, otypes=[np.float64]), lambda x: 2 * ULPS)
    erfc: ClassVar[_Rule] = _monotone(
        np.vectorize(math.erfc, otypes=[np.float64]), lambda x: ULPS * np.maximum(1, (np.abs(x.value) + x.bound) ** 2)
    )
    floor: ClassVar[_Rule] = _steps(np.floor)
    ceil: ClassVar[_Rule] = _steps(np.ceil)
    round: ClassVar[_Rule] = _steps(np.rint)
    trunc: ClassVar[_Rule] = _steps(np.trunc)
    isnan: ClassVar[_Rule] = _asked(np.isnan)
    isinf: ClassVar[_Rule] = _asked(np.isinf)
    isfinite: ClassVar[_Rule] = _asked(np.isfinite)

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
        """Return the sign; it is not known where the interval holds 0."""
        known = (np.abs(x.value) > x.bound) | ((x.value == 0) & x.exact)  # false where either is nan
        return x.with_bound(np.sign(x.value), np.where(known, 0.0, np.where(np.isfinite(x.bound), 2.0, np.inf)))

    def pow(self, x: Bounded, y: Any) -> Bounded:
        """Return ``x ** y``: of integers exact where both operands are, else by the rule of `_power`."""
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
        # Exact infinities, as in the padding of a window: the result is exact where one is inf, or both are -inf.
        exact = np.where(value > 0, ((x.value == value) & x.exact) | ((y.value == value) & y.exact), x.exact & y.exact)
        return found.known(infinite & exact & np.isfinite(x.bound) & np.isfinite(y.bound))

    def minimum(self, x: Bounded, y: Any) -> Bounded:
        """Return the smaller of two."""
        return -self.maximum(-x, -x.other(y))

    def clip(self, x: Bounded, min: Any = None, max: Any = None) -> Bounded:
        """Return ``minimum(maximum(x, min), max)``."""
        x = x if min is None else self.maximum(x, min)
        return x if max is None else self.minimum(x, max)

    def where(self, condition: Bounded, x: Any, y: Any) -> Bounded:
        """Return `x` or `y` by a condition; where it is not known, the interval encloses both."""
        x, y = x.pair(y) if isinstance(x, Bounded) else y.pair(x)[::-1]
        value = np.where(condition.value, x.value, y.value)
        both = np.abs(np.where(condition.value, y.value, x.value) - value) + np.maximum(x.bound, y.bound)
        chosen = np.where(condition.value, x.bound, y.bound)
        return x.with_bound(value, np.where(condition.exact, chosen, both))

    def logical_not(self, x: Bounded) -> Bounded:
        """Return where `x` is false."""
        return ~x

    def logical_and(self, x: Bounded, y: Bounded) -> Bounded:
        """Return where both are true."""
        return x & y

    def logical_or(self, x: Bounded, y: Bounded) -> Bounded:
        """Return where at least one is true."""
        return x | y

    def logical_xor(self, x: Bounded, y: Bounded) -> Bounded:
        """Return where exactly one is true."""
        return x ^ y


def _power(x: Bounded, y: Bounded) -> Bounded:
    """Return powers of floating-point numbers.

    A power of a positive base is monotone in the base and in the exponent, so its values at the four corners enclose
    all others. Other bases have powers to whole numbers alone: these are monotone on either side of 0, so the values at
    the ends and at 0 enclose all. A library may compute ``exp(y log(x))``, in which a relative rounding error of
    ``y log(x)`` becomes an error of ``y log(x)`` times as much, or it may multiply `y` times.
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
    # Where ``y log(x)`` is beyond the range of the type, the result is 0 or infinite.
    exponent = np.minimum(
        np.nan_to_num(np.maximum(np.abs(least), np.abs(most)) * farthest, nan=np.inf), -math.log(kind.smallest)
    )
    roundoffs = 2 * ULPS * np.maximum(1, exponent) + np.where(whole, np.abs(y.value), 0)
    return x.rounded(value, reach + kind.smallest, roundoffs)
