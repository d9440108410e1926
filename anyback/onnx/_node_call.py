"""One node of a graph, which becomes a call, or a value that is computed when the file is loaded."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from anyback.errors import OperatorError, WeightsError
from anyback.onnx._as_ops import as_op, multiplied
from anyback.onnx._bodies import converted, prepared
from anyback.onnx._held import result_type
from anyback.onnx._model import Attribute, Node
from anyback.onnx._operator import HINTS, Operator, Parameter
from anyback.onnx._plumbing import turned
from anyback.onnx._sizes import PICKING, check_known, result_shapes
from anyback.onnx._subgraphs import MadeBody, MakeBody, branches, loop_body
from anyback.onnx._values import Known, Made, Making, Value, is_fixed, sizes_of

__all__ = ["NodeCall", "check_given"]


def check_given(operator: Operator, given: Sequence[Any], attributes: Mapping[str, Attribute]) -> None:
    """Raise `WeightsError` where an operator is given too many inputs, or lacks an input or an attribute."""
    if len(given) > len(operator.inputs) and operator.variadic is None:
        raise WeightsError(f"expected at most {len(operator.inputs)} inputs, found {len(given)}")
    for place, parameter in enumerate(operator.inputs):
        absent = place >= len(given) or given[place] is None
        if absent and parameter.required and parameter.name not in attributes:
            raise WeightsError(f"the input {parameter.name} is missing")
    many = given[len(operator.inputs) :]
    if operator.variadic is not None and (any(value is None for value in many) or not given):
        raise WeightsError(f"one of its {operator.variadic.name} is missing")
    for parameter in operator.attributes.values():
        found = attributes.get(parameter.name)
        if parameter.required and (found is None or (parameter.kind == "body") != (found.graph is not None)):
            raise WeightsError(f"the attribute {parameter.name} is missing, or of another kind than it should be")


class NodeCall:
    """A node that becomes a call, or a value that is known.

    Parameters
    ----------
    operator : Operator
        The operator.
    node : Node
        The node.
    given : sequence of (value or None)
        Its inputs; None is an absent one.
    attributes : mapping of str to Attribute
        Its attributes.
    making : Making
        The network that is being made.
    body : callable
        Makes the body of a subgraph; see `MakeBody`.
    spend : callable
        Takes values that were computed beforehand, and raises an error where all of them take too much memory.
    """

    def __init__(
        self,
        operator: Operator,
        node: Node,
        given: Sequence[Value | None],
        attributes: Mapping[str, Attribute],
        making: Making,
        body: MakeBody,
        spend: Callable[[Sequence[Any]], None],
    ) -> None:
        self._operator, self._node, self._given, self._making = operator, node, list(given), making
        self._body, self._spend = body, spend
        self._bodies = {name: a.graph for name, a in attributes.items() if a.graph is not None}
        self._attributes = {
            name: _attribute(operator, a)
            for name, a in attributes.items()
            if name not in (*self._bodies, *HINTS) and not _says_nothing(operator, a)
        }
        # The arrays that `prepare` makes of the attributes follow the inputs, so every input must then have a place.
        types = [value.held if value is not None else "" for value in given]
        said = {a.name: a.value for a in attributes.values() if hasattr(a.value, "array")}
        self._held = result_type(operator, types, self._attributes | said)
        self._tables, self._attributes = operator.ready(self._attributes)
        if operator.held:
            self._attributes["held"] = tuple(types)
        for place, parameter in enumerate(operator.inputs[: len(given)]):
            if parameter.turned and self._given[place] is not None:
                self._given[place] = self._turned(self._given[place])
        if operator.prepare is not None and operator.variadic is None:
            self._given += [None] * (len(operator.inputs) - len(given))

    def _turned(self, value: Value | None) -> Value:
        """Return a value with its last two axes swapped."""
        if isinstance(value, Known):
            if np.ndim(value.value) < 2:
                raise WeightsError(f"expected weights of at least 2 axes, found shape {np.shape(value.value)}")
            return Known(np.ascontiguousarray(np.swapaxes(value.value, -1, -2)))
        assert value is not None
        return Made(self._making.into.call(turned, self._making.number(value)), self._making, value.host)

    def results(self, outputs: Sequence[str]) -> Sequence[Value]:
        """Return the values of the outputs."""
        count = max((place + 1 for place, name in enumerate(outputs) if name), default=1)
        if self._operator.wanted:
            self._attributes["wanted"] = tuple(bool(name) for name in outputs[:count])
        if self._operator.several:
            self._attributes["outputs"] = count
        elif count > 1:
            raise WeightsError(f"it gives one output, and is asked for {count}")
        present = [value for value in self._given if value is not None]
        if not self._bodies and not self._operator.random and all(isinstance(v, Known) for v in present):
            return self._known(count)
        sizes = self._sizes() if count == 1 and not self._operator.domain else None
        if sizes is not None and is_fixed(sizes):
            return [Known(sizes)]
        if not self._bodies:
            known = self._operator, self._given, self._attributes, self._making, self._node.name
            number = as_op(*known) if count == 1 else None
            if number is not None:
                return [Made(number, self._making, held=self._held)]
            if self._operator.multiplied:
                self._multiply()
        return self._call(count, sizes)

    def _sizes(self) -> np.ndarray | None:
        """Return what a shape, or sizes that are picked from shapes, are for `ROWS` rows; else None."""
        name, given = self._operator.name, self._given
        if name == "Shape" and isinstance(given[0], Made):
            cut = slice(self._attributes.get("start", 0), self._attributes.get("end"))
            shape = None if given[0].shape is None else given[0].shape[cut]
            return None if shape is None or any(size >> 63 for size in shape) else np.asarray(shape, np.int64)
        known = [sizes_of(value) for value in given]
        if name not in PICKING or not all(isinstance(x, np.ndarray) for x in known):
            return None
        others = zip(given[1:], known[1:], strict=True)  # a file's own number may be huge: a slice to the end
        if name != "Concat" and not all(isinstance(value, Known) or is_fixed(x) for value, x in others):
            return None  # the number of rows says which are picked
        try:
            self._given = [Known(x) for x in known]
            found = self._known(1)[0]
        finally:
            self._given = given
        x = found.value if isinstance(found, Known) else None
        if not isinstance(x, np.ndarray) or x.dtype.kind not in "iu":
            return None
        # Fewer rows may fit into a type, where so many do not.
        return None if name == "Cast" and not is_fixed(known[0]) and not np.array_equal(x, known[0]) else x

    def _multiply(self) -> None:
        """Replace the first input by its product with the weight, where that product can be a call of its own."""
        place = [parameter.name for parameter in self._operator.prepared].index("weight")
        product = multiplied(self._given[0], self._tables[place], self._making)
        if product is not None:
            self._given[0] = product
            self._tables = (*self._tables[:place], None, *self._tables[place + 1 :])

    # -- Known values --------------------------------------------------------------------------------

    def _known(self, count: int) -> list[Value]:
        """Return the results, computed now: all inputs are known."""
        arguments = [
            self._default(place) if v is None else converted(v.value, self._kind(place))  # type: ignore[union-attr]
            for place, v in enumerate(self._given)
        ]
        check_known(self._operator, arguments, self._attributes)
        with np.errstate(all="ignore"):
            found = self._operator.op.compute(*arguments, *self._tables, **self._attributes)
        results = [found] if count == 1 else list(found)
        results = [np.asarray(x) if isinstance(x, np.generic) else x for x in results]
        self._spend(results)
        return [Known(x, "" if place else self._held) for place, x in enumerate(results)]

    def _kind(self, place: int) -> str:
        parameter = self._operator.input(place)
        return "array" if parameter is None else parameter.kind

    def _default(self, place: int) -> Any:
        parameter = self._operator.input(place)
        return None if parameter is None or parameter.required else parameter.default

    # -- Values that are computed when the network runs -----------------------------------------------

    def _call(self, count: int, sizes: np.ndarray | None) -> list[Value]:
        making, op = self._making, self._operator.op
        bodies = self._subgraphs() if self._bodies else {}
        outer = [number for body in bodies.values() for number in body.captured]
        arrays = [v for place, v in enumerate(self._given) if v is not None and self._kind(place) == "array"]
        made = [v for v in arrays if isinstance(v, Made)]
        host = not outer and not bodies and all(v.host for v in made)
        like = next((making.number(v) for v in made if not v.host), None)
        like = next(iter(outer), 0) if like is None else like
        numbers: list[int | None] = []
        places: list[tuple[int | None, Any]] = []
        for place, value in enumerate(self._given):
            kind = self._kind(place)
            if value is None:
                places.append((None, self._default(place)))
            elif kind != "array" and isinstance(value, Known):
                places.append((None, converted(value.value, kind)))
            else:
                places.append((len(numbers), kind))
                numbers.append(self._number(place, value, host or self._stays(place, value, bodies), like))
        for table in self._tables:
            places.append((None if table is None else len(numbers), None if table is None else "array"))
            if table is not None:
                known = Known(table)
                numbers.append(making.on_host(known) if host else making.on_device(known, like))
        rows = op.rows
        where: dict[str, slice] = {}
        for name, body in bodies.items():
            where[name] = slice(len(numbers), len(numbers) + len(body.captured))
            numbers.extend(body.captured)
            self._attributes[name] = body.net
            rows = max(rows, body.net.rows)
        plain = not bodies and all(place == at and kind == "array" for at, (place, kind) in enumerate(places))
        if not plain:
            op = prepared(op, places, where, rows=rows)
        number = making.into.call(
            op, *numbers, name=self._operator.name, results=count, source=self._node.name, **self._attributes
        )
        if not bodies and not self._operator.domain:
            for k, shape in enumerate(result_shapes(self._operator, self._given, self._attributes, count)):
                making.into.learn_shape(number + k, shape)
        gives = next((body.gives_host for body in bodies.values()), ())
        on_host = [host or self._operator.host or (k < len(gives) and gives[k]) for k in range(count)]
        return [Made(number + k, making, there, "" if k else self._held, sizes) for k, there in enumerate(on_host)]

    def _number(self, place: int, value: Value, host: bool, like: int) -> int:
        """Return the number of an argument, moved to the host or to the device as the function takes it."""
        if self._kind(place) != "array":
            return self._making.on_host(value)
        if self._operator.host:
            return self._making.number(value)
        return self._making.on_host(value) if host else self._making.on_device(value, like)

    def _stays(self, place: int, value: Value, bodies: Mapping[str, MadeBody]) -> bool:
        """Return whether an operator with bodies takes this value on the host, although others are on the device."""
        if self._operator.loop:
            # The condition before the first step may be anywhere.
            there = isinstance(value, Known) or value.host
            return there if place == 1 else next(iter(bodies.values())).takes_host[place]
        return len(bodies) > 1 and isinstance(value, Made) and value.host  # the condition of a branch

    def _subgraphs(self) -> dict[str, MadeBody]:
        if not self._operator.loop:
            return branches(self._bodies, self._body)
        ((name, graph),) = self._bodies.items()
        found = loop_body(graph, self._given[2:], self._body)
        self._attributes |= {"endless": found.endless, "condition_on_host": found.takes_host[1]}
        # Outputs are the values after the last step, without the condition, and what the steps gave.
        return {name: dataclasses.replace(found, gives_host=found.gives_host[1:])}


def _says_nothing(operator: Operator, attribute: Attribute) -> bool:
    """Return whether an attribute is the data type of number 0, which stands for no type where none is required."""
    parameter = operator.attributes.get(attribute.name)
    return parameter is not None and parameter.kind == "type" and not parameter.required and attribute.value == 0


def _attribute(operator: Operator, attribute: Attribute) -> Any:
    """Return the value of an attribute in the form of the parameter of its name."""
    parameter = operator.attributes.get(attribute.name) or _named(operator.inputs, attribute.name)
    if parameter is None:
        raise OperatorError(f"has the attribute {attribute.name[:80]!r}, which anyback does not know")
    return attribute.value_as(parameter.kind)


def _named(parameters: Sequence[Parameter], name: str) -> Parameter | None:
    return next((p for p in parameters if p.name == name), None)
