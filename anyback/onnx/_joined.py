"""Calls that files write in several steps, joined into one: rules on the graph, once all of its calls are known.

A rule looks at one call and at those before it, and returns the call that takes its place. Calls whose results nothing
uses any more are left out afterwards. So a rule is right whatever else uses the results in between; `_Calls.only` says
whether something else does, so that nothing is computed twice.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from anyback._typing import Array
from anyback.errors import ShapeError
from anyback.network import Builder, Call
from anyback.numbers import FLOATS, dtype_name
from anyback.onnx._bodies import known_parameter
from anyback.ops import OPS, known_op

__all__ = ["joined"]

#: The name of an op, its arguments (numbers of values, new arrays, or calls before it), and its attributes.
Found = tuple[str, Sequence[Any], Mapping[str, Any]]


def joined(into: Builder, outputs: Sequence[int]) -> tuple[Builder, list[int]]:
    """Return the builder of the same network with joined calls, and the numbers of its outputs there."""
    found = dict(_found(into, outputs))
    if not found:
        return into, list(outputs)
    made = Builder(0, None)
    new: dict[int, int | None] = {}

    def number(value: Any) -> int | None:
        if isinstance(value, tuple):
            name, arguments, attributes = value
            return made.call(OPS[name], *map(number, arguments), **attributes)
        if value is None or isinstance(value, np.ndarray):
            return made.array(value)
        if value not in new:  # the calls before have their numbers: it is an array
            new[value] = made.array(into.array_at(value))
        return new[value]

    def replaced(call: Call, name: str, arguments: Sequence[Any], attributes: Mapping[str, Any]) -> int | None:
        try:
            return made.call(OPS[name], *map(number, arguments), source=call.source, **attributes)
        except ShapeError:  # operators broadcast what the op does not
            return None

    for first, call in into.values():
        if call is None:
            new[first] = made.input(into.shape_of(first))
            continue
        place = replaced(call, *found[first]) if first in found else None
        if place is None:
            place = made.copy(call, [number(i) for i in call.arguments])
        for k in range(call.results):
            new[first + k] = place + k
            made.learn_shape(place + k, into.shape_of(first + k))
    return made, [number(i) or 0 for i in outputs]


def _found(into: Builder, outputs: Sequence[int]) -> Iterator[tuple[int, Found]]:
    """Yield the numbers of the calls that rules replace, and what takes their place."""
    named = [(first, call, rule) for first, call in into.values() if (rule := _RULES.get(_name(call))) is not None]
    calls = _Calls(into, outputs) if named else None
    for first, call, rule in named:
        if calls is not None and call is not None and (found := rule(calls, call)) is not None:
            yield first, found


def _name(call: Call | None) -> str:
    """Return the name of an op of the table, or that of an operator."""
    return "" if call is None else call.op.name if known_op(call.op) else call.name


class _Calls:
    """What rules ask about the calls of a network that is being made."""

    def __init__(self, into: Builder, outputs: Sequence[int]) -> None:
        self._into = into
        self._uses = Counter([*outputs, *(i for _, call in into.values() if call for i in call.arguments)])
        self._owners = {
            first + k: (call, k) for first, call in into.values() if call is not None for k in range(call.results)
        }

    def by(self, value: Any, *names: str) -> Call | None:
        """Return the call of one of these names whose only result is a value; else None."""
        call = self._owners.get(value, (None, 0))[0]
        return call if _name(call) in names and call is not None and call.results == 1 else None

    def only(self, value: Any, *names: str) -> Call | None:
        """Return the call whose only result is a value, where the value is used once alone."""
        return self.by(value, *names) if self._uses[value] == 1 else None

    def part(self, value: Any, name: str) -> tuple[Call, int] | None:
        """Return the call of a name that gives a value among its results, and the value's place there."""
        call, place = self._owners.get(value, (None, 0))
        return None if call is None or _name(call) != name else (call, place)

    def array(self, value: Any) -> Array | None:
        """Return the NumPy array of a value that is a known array of floating-point numbers; else None."""
        x = None if value is None else self._into.array_at(value)
        return x if isinstance(x, np.ndarray) and dtype_name(x.dtype) in FLOATS else None

    def number(self, value: Any, beside: Any) -> float | None:
        """Return the number of a known array of one floating-point number, no wider than a value; else None."""
        x = self.array(value)
        return float(x.reshape(())) if x is not None and x.size == 1 and x.ndim <= self.rank(beside) else None

    def unit(self, known: Any) -> float:
        """Return the distance of 1 to the next number in the type of a known array."""
        x = self.array(known)
        return 0.0 if x is None else 2 * FLOATS[dtype_name(x.dtype)].roundoff

    def rank(self, value: Any) -> int:
        """Return the number of axes of a value; 0 where it is not known."""
        return len(self.shape(value) or ())

    def shape(self, value: Any) -> tuple[int, ...] | None:
        return self._into.shape_of(value)

    def with_constant(self, call: Call) -> Iterator[tuple[Any, Any]]:
        """Yield the arguments of a call of two arguments, in both orders where the second is a known array."""
        a, b = call.arguments
        for value, known in ((a, b), (b, a)):
            if self.array(known) is not None:
                yield value, known


# -- Rules ------------------------------------------------------------------------------------------------

#: Of more factors a product is no GELU, and to look at all of them would take long for a long chain.
_MOST_FACTORS = 5


def _biased(calls: _Calls, add: Call) -> Found | None:
    """Join a product and the bias behind it."""
    if add.attributes:  # of old versions: the axis at which the bias is added
        return None
    for value, known in calls.with_constant(add):
        product, bias = calls.only(value, "dense", "linear"), calls.array(known)
        if product is None or product.arguments[2] is not None or bias is None:
            continue
        x, weight, _ = product.arguments
        kernel = calls.array(weight)
        if kernel is None or bias.size != kernel.shape[1] or bias.ndim > calls.rank(value) or not bias.ndim:
            continue
        if bias.shape[-1] == kernel.shape[1] and bias.dtype == kernel.dtype:
            return _name(product), (x, weight, known if bias.ndim == 1 else bias.reshape(-1)), {}
    return None


def _gelu(calls: _Calls, product: Call) -> Found | None:
    """Join ``x * (1 + erf(x / sqrt(2))) * 0.5``, in any order of the factors."""
    todo: list[Any] = list(product.arguments)
    factors: list[Any] = []
    known: list[Any] = []
    while todo:
        value = todo.pop()
        if (inner := calls.only(value, "Mul")) is not None:
            todo.extend(inner.arguments)
        else:
            (factors if calls.array(value) is None else known).append(value)
        if len(todo) + len(factors) + len(known) > _MOST_FACTORS:
            return None
    if len(factors) != 2:
        return None
    for x, total in (factors, factors[::-1]):
        added = calls.only(total, "Add")
        for value, one in () if added is None else calls.with_constant(added):
            error = calls.only(value, "Erf", "erf")
            if error is not None and calls.number(one, x) == 1:
                inside, scale = _unscaled(calls, error.arguments[0])
                half = math.prod(calls.number(i, x) or math.nan for i in known)
                if inside == x and half == 0.5 and abs(scale - math.sqrt(0.5)) < calls.unit(one):
                    return "gelu_by_erf", (x,), {}
    return None


def _picked(calls: _Calls, squeeze: Call) -> Found | None:
    """Take one place of an axis, for one part of a split into parts of one place; the split may be of turned axes."""
    part = calls.part(squeeze.arguments[0], "Split")
    if part is None:
        return None
    split, index = part
    sizes, axis, source = known_parameter(split, 1), split.attributes.get("axis", 0), split.arguments[0]
    shape = calls.shape(source) or ()
    if not sizes or set(sizes) != {1} or known_parameter(squeeze, 1) != (axis,):
        return None
    if axis not in range(len(shape)) or shape[axis] != len(sizes):
        return None
    if axis > 0:
        return "pick", (source,), {"axis": axis, "index": index}
    turned = calls.by(source, "Transpose")
    perm: tuple[int, ...] = () if turned is None else turned.attributes.get("perm", ())
    if turned is None or perm[1:2] != (0,):  # only where the axis of the rows comes first then
        return None
    first, _, *rest = perm
    found = "pick", turned.arguments, {"axis": first, "index": index}
    return "permute", (found,), {"axes": tuple(at - (at > first) for at in rest)}


def _attention(calls: _Calls, product: Call) -> Found | None:
    """Join the scores of queries and keys, their softmax, and the product with the values."""
    weights, v = product.arguments
    behind = calls.only(weights, "softmax")
    if behind is None:
        return None
    scores, mask = behind.arguments[0], None
    if (added := calls.only(scores, "Add")) is not None:
        for value, known in calls.with_constant(added):
            scores, mask = value, calls.array(known)
        if mask is None or added.attributes or not _shows_a_key(mask):
            return None
    scores, scale = _unscaled(calls, scores)
    inner = calls.only(scores, "MatMul")
    if inner is None:
        return None
    (q, of_q), (turned, of_k) = (_unscaled(calls, i) for i in inner.arguments)
    keys = calls.only(turned, "permute")
    if keys is None or {calls.rank(i) for i in (q, turned, v)} != {4}:
        return None
    a, b, c = keys.attributes["axes"]
    k = keys.arguments[0] if (a, c, b) == (1, 2, 3) else ("permute", keys.arguments, {"axes": (a, c, b)})
    return "attention", (q, k, v, mask), {"scale": scale * of_q * of_k}


def _unscaled(calls: _Calls, value: Any) -> tuple[Any, float]:
    """Return a value before it was multiplied or divided by one known number, and the factor."""
    scaled = calls.only(value, "Mul", "Div")
    if scaled is None:
        return value, 1.0
    for x, known in calls.with_constant(scaled):
        number, divided = calls.number(known, x), _name(scaled) == "Div"
        if number and math.isfinite(number) and not (divided and known != scaled.arguments[1]):
            return x, 1 / number if divided else number
    return value, 1.0


def _shows_a_key(mask: Array) -> bool:
    """Return whether each query may attend a key, and no score becomes infinite but by hiding it."""
    return bool(0 < mask.ndim <= 4 and np.all(mask < np.inf) and np.all(np.any(np.isfinite(mask), axis=-1)))


#: The name of a call -> the rule that may replace it.
_RULES: Mapping[str, Callable[[_Calls, Call], Found | None]] = {
    "Add": _biased,
    "Mul": _gelu,
    "Squeeze": _picked,
    "MatMul": _attention,
}
