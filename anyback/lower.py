"""From a network to a plan: rewrites that save work, which memory each step may overwrite, and when values die."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from anyback import backends
from anyback._typing import Array
from anyback.backends import Backend, Product
from anyback.network import (
    Builder,
    Call,
    Memory,
    Network,
    freed,
    measured_shapes,
    of_one_float,
    proved_rows,
    travels_in,
    value_types,
    where,
)
from anyback.numbers import FLOATS, PrecisionName
from anyback.ops import OPS, Rows, Travel, known_op
from anyback.plan import Plan, Shape, Step

__all__ = ["lower", "multiply_adds", "simplified"]


def lower(
    net: Network,
    backend: Backend,
    precision: PrecisionName,
    dtypes: Sequence[str],
    samples: Sequence[Shape],
    rows: int | None = None,
) -> Plan:
    """Return the plan of a network for one library, and for inputs of known types and sample shapes.

    Parameters
    ----------
    net : Network
        Its arrays are of the library, on the device.
    backend : Backend
        The library and the device.
    precision : str
        The precision of products, which is in force.
    dtypes : sequence of str
        The dtype of each input.
    samples : sequence of tuple of int
        The shape of one sample of each input.
    rows : int or None
        Exactly how many rows a tile has; None takes the number that suits the library.

    Returns
    -------
    Plan

    Raises
    ------
    ShapeError
        If the network does not take such samples.
    """
    net = simplified(net, dtypes)
    tile, shapes, travels = _tile_and_shapes(net, backend, dtypes, samples, rows)
    memory, dead, types = Memory(net), freed(net), value_types(net, dtypes)
    steps, ways, checked = [], [], set()
    for place, (number, call) in enumerate(net.results()):
        product = _product(net, call, shapes, tile)
        way = None if product is None else backend.way(precision, product)
        if way is not None:
            ways.append(way)
            checked.add(number)
        step = Step(
            compute=call.op.compute,
            kernel=call.op.name if known_op(call.op) else None,
            arguments=call.arguments,
            attributes=dict(call.attributes),
            casts=None if of_one_float(types, number, call) else call.op.casts,
            results=call.results,
            product=product,
            way="" if way is None else way.name,
            in_place=memory.may_overwrite(number, call) and bool(shapes[call.arguments[0] or 0]),
            frees=dead.get(number, ()),
            opaque=call.op.rows is Rows.UNKNOWN,
            where=where(net, place),
        )
        steps.append(step)
    known = net.rows if travels is None else proved_rows(net, backend, travels, checked)
    return Plan(
        backend=backend,
        precision=precision,
        dtypes=tuple(dtypes),
        shapes=tuple(samples),
        steps=tuple(steps),
        arrays=net.arrays,
        outputs=net.outputs,
        rows=known,
        tile=tile,
        step=backend.rows_of_step(tile) if rows is None else tile,
        multiple=backend.multiple(known, ways, tile),
    )


def _tile_and_shapes(
    net: Network, backend: Backend, dtypes: Sequence[str], samples: Sequence[Shape], rows: int | None
) -> tuple[int, list[Any], list[Travel] | None]:
    """Return the number of rows of a tile (fewer where values are large), and the whole shapes of a tile's values.

    And where the rows are in these values, where that is to be proved and is.
    """
    if net.rows is Rows.UNKNOWN:
        return (tile := rows or backend.tile), net.shapes(*[(tile, *sample) for sample in samples]), None
    of_rows, travels = functools.partial(_shapes, net, backend, dtypes, samples), None
    if rows is not None:
        return rows, of_rows(rows), None
    if net.rows is Rows.ANY:
        two = of_rows(2)
        travels = travels_in(net, two)
        of_rows = functools.partial(_grown, of_rows(1), two) if travels is None else functools.partial(_of, travels)
    one = of_rows(1)
    values = [*one[: len(net.inputs)], *one[net.first_result :]]
    largest = max((math.prod(shape) for shape in values if shape), default=1)
    tile = backend.rows_of_tile(largest, multiply_adds(net, one))
    return tile, of_rows(tile), travels


def multiply_adds(net: Network, shapes: Sequence[Any]) -> int:
    """Return the number of multiply-adds of a network whose values have these shapes, as far as its ops say."""
    found = 0
    for call in net.calls:
        given = [None if i is None else shapes[i] for i in call.arguments]
        if given and given[0] is not None:
            found += call.op.multiply_adds(*given, **call.attributes)
    return found


def _shapes(net: Network, backend: Backend, dtypes: Sequence[str], samples: Sequence[Shape], rows: int) -> list[Any]:
    """Return the whole shapes of all values for some rows; they are measured where the ops do not say all of them."""
    whole = [(rows, *sample) for sample in samples]
    found = net.shapes(*whole)
    if None not in found or net.rows is not Rows.ANY:
        return found
    return measured_shapes(net, backend, list(zip(whole, dtypes, strict=True)))


def _of(travels: Sequence[Travel], rows: int) -> list[Any]:
    return [value.of_rows(rows) for value in travels]


def _grown(one: list[Any], two: list[Any], rows: int) -> list[Any]:
    """Return the whole shapes of all values for some rows, of those for one and two rows."""
    # A value without an axis for the rows has the same shape for any number of rows.
    return [
        None
        if a is None or b is None or len(a) != len(b)
        else tuple(i + (rows - 1) * (j - i) for i, j in zip(a, b, strict=True))
        for a, b in zip(one, two, strict=True)
    ]


def _product(net: Network, call: Call, shapes: list[Any], tile: int) -> Product | None:
    """Return the product that a call computes, if it is of rows by arrays of the network, so that its way is chosen."""
    arrays = [net.array_of(i) for i in call.arguments[1:]]
    present = [x for x in arrays if x is not None]
    absent = [i for i in call.arguments[1:] if i is None]
    if call.op.rows is not Rows.PRODUCT or len(present) + len(absent) < len(arrays) or not present:
        return None
    given = [None if i is None else shapes[i] for i in call.arguments]
    if given[0] is None and (samples := call.op.takes(*given[1:], **call.attributes)) and None not in samples[-1]:
        given[0] = (tile, *samples[-1])
    return call.op.product(given[0], given[1:], present[0].dtype, call.attributes, tile)


# -- Rewrites -----------------------------------------------------------------------------------------


def simplified(net: Network, dtypes: Sequence[str]) -> Network:
    """Return a network that computes the same with less work, for inputs of these types.

    - `pixels` is dropped where the input is floating-point, since it passes such input unchanged. Where the input holds
      integers, its scale is folded into the weights behind it: that rounds each weight once instead of each pixel.
    - A batch normalization is folded into the product before it.
    - Calls that return their input are dropped.
    - The arrays of a product are cast to the type of its result once, not for every tile.

    Parameters
    ----------
    net : Network
        The network.
    dtypes : sequence of str
        The dtype of each input.

    Returns
    -------
    Network
    """
    rewriting = _Rewriting(net, dtypes)
    for number, call in net.results():
        rewriting.add(number, call)
    return rewriting.network()


#: Ops that may return their first argument unchanged -> whether they do, by the name of its type.
_PASSING: dict[str, Callable[[str | None], bool]] = {
    "identity": lambda dtype: True,
    "pixels": lambda dtype: dtype is not None and "float" in dtype,
}
#: Ops that multiply their first argument by the second, so that a scale of the first may move to the second -> the axis
#: of the weight that numbers the outputs.
_LINEAR = {"linear": 1, "conv": 0}
#: Ops that return the same numbers in another shape.
_SHAPING = ("flatten", "reshape")


class _Rewriting:
    """The simplified form of a network, made call by call."""

    def __init__(self, net: Network, dtypes: Sequence[str]) -> None:
        self._net, self._types = net, value_types(net, dtypes)
        self._into = Builder(len(net.inputs))
        self._users: dict[int, list[tuple[int, Call]]] = {}
        for number, call in net.results():
            for i in {i for i in call.arguments if i is not None}:
                self._users.setdefault(i, []).append((number, call))
        self._new: dict[int, int | None] = {i: i for i in range(len(net.inputs))}
        #: Value of integers whose division is put off -> (its number in the new network, the array that divides it).
        self._unscaled: dict[int, tuple[int | None, Array]] = {}
        #: Batch normalizations that are folded into the product before them.
        self._folded: set[int] = set()

    def add(self, number: int, call: Call) -> None:
        """Add a call, or the simpler form that takes its place."""
        first = call.arguments[0] if call.arguments else None
        name, source = call.op.name if known_op(call.op) else "", -1 if first is None else first
        if number in self._folded or (name in _PASSING and _PASSING[name](self._types[source])):
            self._pass_on(number, source)
        elif name == "pixels" and self._is_integer(source):
            largest = self._net.array_of(call.arguments[1])
            self._unscaled[number] = self._value(source), largest
        elif name in _SHAPING and source in self._unscaled:
            given, largest = self._unscaled[source]
            self._unscaled[number] = self._into.call(call.op, given, name=call.name, **call.attributes), largest
        elif name in _LINEAR and all(i is None or self._net.array_of(i) is not None for i in call.arguments[1:]):
            self._multiply(number, call, source)
        else:
            self._call(number, call, [self._value(i) for i in call.arguments])

    def network(self) -> Network:
        """Return the new network, without arrays that no call uses."""
        outputs = [self._value(i) or 0 for i in self._net.outputs]
        arrays, calls, inputs, places = self._into.fields(outputs, self._net.inputs)
        return Network(arrays, calls, inputs, places, self._net.signature, self._net.classes)

    def _is_integer(self, number: int) -> bool:
        dtype = self._types[number]
        return dtype is not None and "int" in dtype

    def _pass_on(self, number: int, source: int) -> None:
        if source in self._unscaled:
            self._unscaled[number] = self._unscaled[source]
        else:
            self._new[number] = self._value(source)

    def _value(self, number: int | None) -> int | None:
        """Return the new number of a value of the old network; a division that was put off is added first."""
        if number in self._unscaled:
            given, largest = self._unscaled.pop(number)
            self._new[number] = self._into.call(OPS["pixels"], given, self._into.array(largest))
        array = self._net.array_of(number)
        return None if number is None else self._into.array(array) if array is not None else self._new[number]

    def _call(self, number: int, call: Call, arguments: list[int | None]) -> None:
        found = self._into.copy(call, arguments)
        self._new |= {number + i: found + i for i in range(call.results)}

    def _multiply(self, number: int, call: Call, source: int) -> None:
        """Add a product; a scale before it and a batch normalization behind it are folded into its arrays."""
        arrays = [self._net.array_of(i) for i in call.arguments[1:]]
        weight, bias = arrays[0], arrays[1] if len(arrays) > 1 else None
        dtype = self._types[number]
        # Not into weights of a half type: rounding them again would show, and float16 lacks numbers that small.
        wide = dtype is None or FLOATS[dtype].bits >= 32
        if source in self._unscaled and wide:
            given, largest = self._unscaled[source]
            weight = _made(lambda: weight / largest, weight)
        else:
            given = self._value(source)
        after = self._only_user(number)
        norm = _norm_of(self._net, *after) if after is not None and wide else None
        if after is not None and norm is not None:
            weight, bias = _made(lambda: _normalized(weight, bias, norm, _LINEAR[call.op.name]), weight)
            self._folded.add(after[0])
            dtype = self._types[after[0]]
        weight, bias = (_cast(x, dtype) for x in (weight, bias))
        self._call(number, call, [given, self._into.array(weight), self._into.array(bias)])

    def _only_user(self, number: int) -> tuple[int, Call] | None:
        """Return the only call that uses a value, with its number; None where several do or it is an output."""
        users = self._users.get(number, [])
        return users[0] if len(users) == 1 and number not in self._net.outputs else None


@dataclass(frozen=True, eq=False)
class _Norm:
    """The arrays of a batch normalization, each of shape (channels,)."""

    mean: Array
    variance: Array
    weight: Array | None
    bias: Array | None
    epsilon: float


def _norm_of(net: Network, number: int, call: Call) -> _Norm | None:
    """Return the arrays of a call of `batch_norm`; None for another op, or where an argument is computed."""
    arrays = [net.array_of(i) for i in call.arguments[1:]]
    known = all(i is None or x is not None for i, x in zip(call.arguments[1:], arrays, strict=True))
    if call.op.name != "batch_norm" or not known_op(call.op) or not known:
        return None
    mean, variance, weight, bias = [*arrays, None, None][:4]
    return _Norm(mean, variance, weight, bias, call.attributes["epsilon"])


def _normalized(weight: Array, bias: Array | None, norm: _Norm, axis: int) -> tuple[Array, Array]:
    """Return the weight and bias of a product with a batch normalization behind it folded in."""
    xp = backends.array_namespace(weight)
    factor = 1 / xp.sqrt(norm.variance + norm.epsilon)
    factor = factor if norm.weight is None else factor * norm.weight
    shift = -norm.mean if bias is None else bias - norm.mean
    shift = shift * factor if norm.bias is None else shift * factor + norm.bias
    wide = tuple(-1 if i == axis else 1 for i in range(weight.ndim))
    return weight * xp.reshape(factor, wide), shift


def _made(make: Callable[[], Any], beside: Array) -> Any:
    """Return the arrays of `make`, called outside of any program or mode of the caller's, so that the arrays last."""
    with backends.backend_of(beside).unwatched(beside):
        return make()


def _cast(x: Array | None, dtype: str | None) -> Array | None:
    if x is None or dtype is None or backends.dtype_name(x.dtype) == dtype:
        return x
    xp = backends.array_namespace(x)
    return _made(lambda: xp.astype(x, backends.as_dtype(xp, dtype)), x)
