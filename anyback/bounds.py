"""Arrays that carry a value and a bound on its error: which labels no rounding can change.

A `Bounded` array holds float64 values and bounds: whatever a library computes in its own floating-point type, in
any order of summation, lies within the bound of the value. It implements what the forward pass uses of the standard,
so a network runs on it unchanged. Each rule adds three things: how far the errors of the operands reach through the
exact operation, the rounding of that library, and the rounding of the float64 here.

The rules, with u the unit roundoff of the array's type (2**-24 for float32) and 2**-53 added to it for float64 here:

- Sum, difference, product: the exact operation on intervals, then a relative error of u. Quotient: 4 u, since
  some compilers multiply by a rounded reciprocal.
- Inner product of n terms: n u / (1 - n u) times the inner product of the absolute values, in every order of
  summation, with or without fused multiply-add (Higham, *Accuracy and Stability of Numerical Algorithms*, 2nd ed.,
  SIAM 2002, section 3.1). Terms that are exactly 0 add no error and are not counted.
- Operands shortened before a product, to TF32 (11 significant bits) or bfloat16 (8): rounding is monotone, so the
  rounded ends of an operand's interval hold it, and what is known exactly, as weights are, is known rounded too.
  A library may round both operands to nearest, ties either way, cut both off, or leave them; the bound holds for all.
  Tensor cores cut off where others round, so their sums take 2 u for u (Fasi, Higham, Mikaitis, Pranesh, "Numerical
  behavior of NVIDIA tensor cores", PeerJ Computer Science 7:e330, 2021).
- exp, expm1, log, log1p, tanh, sqrt, erfc: monotone, so the values at the ends of the operand's interval bound the
  result; then 4 units in the last place, and for erfc(x) x**2 times as many where that is more, since the rounding of
  x**2 passes through an exponential. The libraries' functions are within 2.5 on the CPUs measured (expm1 on JAX within
  3.2; anyback's own tanh, which JAX takes, within 4) and within 2 by CUDA's documentation.
- Results below the smallest normal number may be flushed to 0: that number is added to each bound.
- Results that may lie above the largest number may be infinite, and what follows from them anything.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np

from anyback import backends
from anyback._typing import DType
from anyback.activations import log_softmax, sigmoid, softmax
from anyback.errors import BackendError, DataError
from anyback.layers import Layer, Sequential
from anyback.network import check_outputs as check_softmax
from anyback.network import checked_network
from anyback.numbers import FLOATS, PRECISIONS, dtype_name, largest_of, unknown_precision

__all__ = ["Arithmetic", "Bounded", "Certificate", "certify", "round_to"]

#: Unit roundoff of the values and bounds here.
_OURS = FLOATS["float64"].roundoff
#: Of a bound itself, which is computed in float64 from fewer than a million terms that are not negative.
_SLACK = 1 + 2.0**-32
_ULPS = 4


@dataclass(frozen=True, eq=False)
class Bounded:
    """Values, and how far from them any library's may be.

    Parameters
    ----------
    value : numpy.ndarray
        float64, any shape.
    bound : numpy.ndarray
        float64, same shape, not negative; inf or nan where nothing is known.
    arithmetic : Arithmetic
        The arithmetic that is modelled, and the namespace of the array.
    dtype : numpy.dtype
        The type that is modelled.
    """

    value: np.ndarray
    bound: np.ndarray
    arithmetic: Arithmetic
    dtype: DType = field(default=np.dtype(np.float32))

    device = "cpu"

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape."""
        return self.value.shape

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return self.value.ndim

    def __array_namespace__(self, api_version: str | None = None) -> Arithmetic:
        return self.arithmetic

    def __getitem__(self, index: Any) -> Bounded:
        return self._with(self.value[index], self.bound[index])

    def _with(self, value: Any, bound: Any, dtype: DType | None = None) -> Bounded:
        dtype = dtype or self.dtype
        bound = np.asarray(bound) * _SLACK
        if dtype.name in FLOATS:  # what may overflow may be anything
            bound = np.where(np.abs(value) + bound <= largest_of(dtype), bound, np.inf)
        return Bounded(np.asarray(value), bound, self.arithmetic, dtype)

    def _rounded(self, value: Any, bound: Any, roundoffs: float = 1) -> Bounded:
        """Return a result of one operation: `bound` from its operands, and its own rounding."""
        kind = FLOATS[self.dtype.name]
        return self._with(value, bound + roundoffs * (kind.roundoff + _OURS) * (np.abs(value) + bound) + kind.smallest)

    def _other(self, other: Any) -> Bounded:
        if isinstance(other, Bounded):
            return other
        unit = 0.0 if float(np.asarray(other).astype(self.dtype)) == other else FLOATS[self.dtype.name].roundoff
        value = np.asarray(other, dtype=np.float64)
        return self._with(value, unit * np.abs(value))

    def __neg__(self) -> Bounded:
        return self._with(-self.value, self.bound)

    def __add__(self, other: Any) -> Bounded:
        y = self._other(other)
        return self._rounded(self.value + y.value, self.bound + y.bound)

    def __sub__(self, other: Any) -> Bounded:
        return self + -self._other(other)

    def __rsub__(self, other: Any) -> Bounded:
        return -self + other

    def __mul__(self, other: Any) -> Bounded:
        y = self._other(other)
        bound = np.abs(self.value) * y.bound + self.bound * (np.abs(y.value) + y.bound)
        return self._rounded(self.value * y.value, bound)

    def __truediv__(self, other: Any) -> Bounded:
        y = self._other(other)
        nearest = np.abs(y.value) - y.bound  # to 0
        quotient = self.value / y.value
        bound = np.where(nearest > 0, (self.bound + np.abs(quotient) * y.bound) / nearest, np.inf)
        return self._rounded(quotient, bound, 4)

    def __rtruediv__(self, other: Any) -> Bounded:
        return self._other(other) / self

    __radd__ = __add__
    __rmul__ = __mul__

    def __gt__(self, other: Any) -> Bounded:
        y = self._other(other)
        apart, reach = np.abs(self.value - y.value), self.bound + y.bound
        known = (apart > reach) | ((apart == 0) & (reach == 0))  # false where either is nan
        # False is 0 and True 1: where it may be either, the bound is 1.
        return self._with(self.value > y.value, np.where(known, 0.0, 1.0), np.dtype(bool))

    def __lt__(self, other: Any) -> Bounded:
        return self._other(other) > self


def _monotone(
    function: Callable[[np.ndarray], np.ndarray], ulps: Callable[[Bounded], Any] = lambda x: _ULPS
) -> Callable[[Arithmetic, Bounded], Bounded]:
    """Return the rule of a function that only rises or only falls, whose results are off by so many units."""

    def rule(self: Arithmetic, x: Bounded) -> Bounded:
        value = function(x.value)
        above, below = function(x.value + x.bound), function(x.value - x.bound)
        reach = np.where(x.bound == 0, 0, np.maximum(np.abs(above - value), np.abs(value - below)))
        reach = np.where(np.isfinite(x.bound), reach, np.inf)  # what may be anything may be nan, and stays it
        return x._rounded(value, reach, 2 * ulps(x))

    return rule


@dataclass(frozen=True)
class Arithmetic:
    """The arithmetic of a library as a namespace: what the forward pass uses of the standard, with bounds.

    Parameters
    ----------
    precision : str
        Precision of matrix products: ``"highest"``, ``"tf32"`` or ``"bf16"``.
    """

    precision: str = "highest"

    float16, float32, float64 = (np.dtype(name) for name in ("float16", "float32", "float64"))
    exp = _monotone(np.exp)
    expm1 = _monotone(np.expm1)
    log = _monotone(np.log)
    log1p = _monotone(np.log1p)
    sqrt = _monotone(np.sqrt)
    tanh = _monotone(np.tanh)
    erfc = _monotone(
        np.vectorize(math.erfc, otypes=[np.float64]), lambda x: _ULPS * np.maximum(1, (np.abs(x.value) + x.bound) ** 2)
    )

    @property
    def __name__(self) -> str:
        """The name in error messages."""
        return f"bounds ({self.precision})"

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        raise BackendError(f"there is no rule for the error of {name!r}; add one in anyback/bounds.py")

    def __array_namespace_info__(self) -> SimpleNamespace:
        """Return what the standard asks: the default type, and the only one that every library has, is float32."""
        floats = {"float32": self.float32}
        return SimpleNamespace(
            default_dtypes=lambda device=None: {"real floating": self.float32},
            dtypes=lambda device=None, kind=None: floats,
            devices=lambda: [Bounded.device],
        )

    def asarray(self, x: Any) -> Bounded:
        """Return a NumPy array as one whose values are exact."""
        x = np.asarray(x)
        return Bounded(x.astype(np.float64), np.zeros(x.shape), self, x.dtype)

    def astype(self, x: Bounded, dtype: DType) -> Bounded:
        """Return `x` in another type, which may round it."""
        kind = FLOATS[dtype.name]
        value = x.value.astype(np.float64)
        # A wider type holds every number of a narrower one, and whole numbers of as many bits.
        if x.dtype.kind not in "biu":
            exact = FLOATS[x.dtype.name].significant <= kind.significant
        else:
            exact = bool(np.all(np.abs(value) <= 1 / kind.roundoff))
        rounding = 0 if exact else kind.roundoff * (np.abs(value) + x.bound) + kind.smallest
        return x._with(value, x.bound + rounding, dtype)

    def matmul(self, x: Bounded, y: Bounded) -> Bounded:
        """Return the matrix product of (n, k) or (k,) with (k, m)."""
        asked, kind = PRECISIONS[self.precision], FLOATS[x.dtype.name]
        bits = asked.significant
        exact = x.value @ y.value
        ways = [_as_it_is]
        if bits is not None and x.dtype.name == "float32":
            ways += [functools.partial(_to_nearest, bits=bits), functools.partial(_cut_off, bits=bits)]
        bound = np.zeros(exact.shape)
        for way in ways:
            (x_mid, x_reach), (y_mid, y_reach) = way(x), way(y)
            size_x, size_y = np.abs(x_mid) + x_reach, np.abs(y_mid) + y_reach
            reach = np.abs(x_mid @ y_mid - exact) + x_reach @ size_y + np.abs(x_mid) @ y_reach
            terms = np.count_nonzero(size_x, axis=-1)[..., None]
            rounding = sum(_gamma(terms * u) for u in (asked.roundoffs * kind.roundoff, 3 * _OURS))
            # Products, and operands before them, may be flushed to 0.
            flushed = kind.smallest * (2 * terms + np.sum(size_x, axis=-1)[..., None] + np.sum(size_y, axis=0))
            sums = size_x @ size_y
            bound = np.maximum(bound, reach + rounding * sums + flushed)
            # A part of a sum may overflow that the whole would not.
            bound = np.where((1 + rounding) * sums <= kind.largest, bound, np.inf)
        return x._with(exact, bound)

    def abs(self, x: Bounded) -> Bounded:
        """Return the absolute value."""
        return x._with(np.abs(x.value), x.bound)

    def square(self, x: Bounded) -> Bounded:
        """Return the square."""
        return x * x

    def sign(self, x: Bounded) -> Bounded:
        """Return the sign, unknown where the interval holds 0."""
        known = (np.abs(x.value) > x.bound) | ((x.value == 0) & (x.bound == 0))  # false where either is nan
        return x._with(np.sign(x.value), np.where(known, 0.0, np.where(np.isfinite(x.bound), 2.0, np.inf)))

    def maximum(self, x: Bounded, y: Any) -> Bounded:
        """Return the larger of two."""
        y = x._other(y)
        value, low = np.maximum(x.value, y.value), np.maximum(x.value - x.bound, y.value - y.bound)
        high = np.maximum(x.value + x.bound, y.value + y.bound)
        return x._with(value, np.maximum(high - value, value - low))

    def minimum(self, x: Bounded, y: Any) -> Bounded:
        """Return the smaller of two."""
        return -self.maximum(-x, -x._other(y))

    def where(self, condition: Bounded, x: Bounded, y: Any) -> Bounded:
        """Return `x` or `y`; where the condition is open, the bound holds both."""
        y = x._other(y)
        value = np.where(condition.value, x.value, y.value)
        both = np.abs(np.where(condition.value, y.value, x.value) - value) + np.maximum(x.bound, y.bound)
        chosen = np.where(condition.value, x.bound, y.bound)
        return x._with(value, np.where(condition.bound == 0, chosen, both))

    def isnan(self, x: Bounded) -> Bounded:
        """Return whether a value is nan: open where it may be anything."""
        return x._with(np.isnan(x.value), np.where(np.isfinite(x.bound), 0.0, 1.0), np.dtype(bool))

    def reshape(self, x: Bounded, shape: tuple[int, ...]) -> Bounded:
        """Return `x` in another shape."""
        return x._with(x.value.reshape(shape), x.bound.reshape(shape))


def round_to(x: np.ndarray, bits: int) -> np.ndarray:
    """Return numbers rounded to nearest, ties to even, to so many significant bits; the type stays.

    Parameters
    ----------
    x : numpy.ndarray, floating-point
        Any shape.
    bits : int
        Significant bits, the leading one counted: 11 for TF32, 8 for bfloat16.

    Returns
    -------
    numpy.ndarray
        Shape and dtype of `x`.

    Examples
    --------
    >>> round_to(np.asarray([1.0, 1.00390625, -0.1]), 8)
    array([ 1.        ,  1.        , -0.10009766])
    """
    return _shortened(x, bits, np.rint)


def _shortened(x: np.ndarray, bits: int, whole: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Return numbers of so many significant bits; `whole` makes whole numbers of those that have more."""
    fraction, exponent = np.frexp(x)
    return np.ldexp(whole(np.ldexp(fraction, bits)), exponent - bits)


# What a library may do to the operand of a product, as the middle and the half width of the interval it ends up in.


def _as_it_is(x: Bounded) -> tuple[np.ndarray, np.ndarray]:
    return x.value, x.bound


def _to_nearest(x: Bounded, bits: int) -> tuple[np.ndarray, np.ndarray]:
    low = _shortened(x.value - x.bound, bits, lambda v: np.ceil(v - 0.5))  # ties go either way
    return _middle(low, _shortened(x.value + x.bound, bits, lambda v: np.floor(v + 0.5)))


def _cut_off(x: Bounded, bits: int) -> tuple[np.ndarray, np.ndarray]:
    return _middle(_shortened(x.value - x.bound, bits, np.trunc), _shortened(x.value + x.bound, bits, np.trunc))


def _gamma(nu: np.ndarray) -> np.ndarray:
    """Return ``n u / (1 - n u)``, Higham's bound; infinite from where it proves nothing."""
    with np.errstate(divide="ignore"):
        return np.where(nu < 1, nu / (1 - np.minimum(nu, 1)), np.inf)


def _middle(low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return (low + high) / 2, (high - low) / 2


# -- Which labels are beyond doubt --------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Certificate:
    """Which labels no library's rounding can change.

    Parameters
    ----------
    labels : numpy.ndarray
        The labels in exact arithmetic as far as they are decided, shape (n,).
    margins : numpy.ndarray
        By how much the winning output is ahead of the next, before the last activation, shape (n,).
    bounds : numpy.ndarray
        By how much rounding may move that, shape (n,): a label is decided where its margin is larger.
    precision : str
        The precision of matrix products that holds for.
    """

    labels: np.ndarray
    margins: np.ndarray
    bounds: np.ndarray
    precision: str

    @property
    def decided(self) -> np.ndarray:
        """Whether each label is beyond doubt, shape (n,)."""
        return self.margins > self.bounds  # false where either is nan

    @property
    def undecided(self) -> int:
        """The number of labels that another order of summation may change."""
        return int(np.sum(~self.decided))

    def __repr__(self) -> str:
        total = len(self.labels)
        return f"Certificate({total - self.undecided} of {total} labels decided, precision={self.precision!r})"


def certify(net: Sequential, x: Any, *, precision: str | None = None) -> Certificate:
    """Say which labels are the same on every array library, whatever the order of summation.

    Parameters
    ----------
    net : Sequential
        A network that gives one output for each class, or one for two classes. It may be on any library.
    x : array or list
        Inputs, shape (n, in_features) or one sample.
    precision : str or None
        Precision of matrix products: ``"highest"``, ``"tf32"``, ``"bf16"``; None is the current.

    Returns
    -------
    Certificate
        With ``labels``, ``decided``, ``undecided``, ``margins`` and ``bounds``.

    Raises
    ------
    BackendError
        If a layer uses a function for which there is no rule.
    DataError
        If the network gives no labels.

    Notes
    -----
    A last `softmax` or `log_softmax` keeps the order of its inputs, and a last `sigmoid` of one output the side of
    one half, so the decision is made on what goes in; a margin of 20 unit roundoffs covers their own error of 4 units
    in the last place. Several outputs of a `sigmoid` may all round to 1, so there it is made on what comes out.

    Examples
    --------
    >>> import anyback as ab
    >>> net = ab.load_model("digits-mlp", backend="numpy")
    >>> proof = certify(net, ab.datasets.digits("test").images)
    >>> proof.undecided
    0
    """
    arithmetic = Arithmetic(precision or backends.get_precision())
    if arithmetic.precision not in PRECISIONS:
        raise unknown_precision(arithmetic.precision)
    rows = backends.to_numpy(x)
    rows = rows if checked_network(net).is_batch(rows) else rows[None]
    layers = tuple(net.map(lambda a: arithmetic.asarray(backends.to_numpy(a))).flat())
    parts = [_decide(layers, net.dtype, arithmetic, rows[i : i + 1024]) for i in range(0, max(len(rows), 1), 1024)]
    labels, margins, bounds = (np.concatenate(column) for column in zip(*parts, strict=True))
    return Certificate(labels, margins, bounds, arithmetic.precision)


def _decide(
    layers: tuple[Layer, ...], dtype: DType | None, arithmetic: Arithmetic, rows: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return label, margin and bound of each row."""
    x = arithmetic.asarray(rows)
    if x.dtype.kind == "f" and dtype is not None:
        x = arithmetic.astype(x, np.dtype(dtype_name(dtype)))
    last = layers[-1] if layers and any(layers[-1] is f for f in (softmax, log_softmax, sigmoid)) else None
    with np.errstate(all="ignore"):  # an interval that is too wide ends in inf or nan, and decides nothing
        y = Sequential(layers[:-1] if last else layers).forward(x)
        if last is sigmoid and y.shape[-1] > 1:
            y = sigmoid(y)
    if y.ndim != 2 or y.shape[1] < 1:
        raise DataError(f"the network gives shape {y.shape}; labels need (n, classes) or (n, 1)")
    check_softmax(last, y.shape[1])
    value, bound = y.value, y.bound
    if y.shape[1] == 1:  # two classes: is it above one half?
        half = 0.0 if last is sigmoid else 0.5
        value = np.column_stack([np.full(len(value), half), value])
        bound = np.column_stack([np.zeros(len(value)), bound])
    index = np.arange(len(value))
    labels = np.argmax(value, axis=1)
    gaps = value[index, labels][:, None] - value
    reaches = bound[index, labels][:, None] + bound + 20 * FLOATS[y.dtype.name].roundoff
    # The rival that comes closest is not always the second largest value: its bound counts too.
    slack = gaps - reaches
    slack[index, labels] = np.inf
    rival = np.argmin(np.where(np.isnan(slack), -np.inf, slack), axis=1)
    return labels, gaps[index, rival], reaches[index, rival]
