"""One node of a graph that becomes a call, or a value that is known beforehand."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from anyback.errors import OperatorError, WeightsError
from anyback.network import Network
from anyback.onnx._as_ops import as_op
from anyback.onnx._bodies import converted, prepared
from anyback.onnx._model import Attribute, Graph, Node
from anyback.onnx._operator import HINTS, Operator, Parameter
from anyback.onnx._sizes import check_known
from anyback.onnx._values import Known, Made, Making, Value

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
        Takes a subgraph, and returns the body that is being made of it and its outputs.
    spend : callable
        Takes values that were computed beforehand, and raises an error where they take too much memory.
    """

    def __init__(
        self,
        operator: Operator,
        node: Node,
        given: Sequence[Value | None],
        attributes: Mapping[str, Attribute],
        making: Making,
        body: Callable[[Graph], tuple[Making, list[Value]]],
        spend: Callable[[Sequence[Any]], None],
    ) -> None:
        self._operator, self._node, self._given, self._making = operator, node, list(given), making
        self._body, self._spend = body, spend
        self._bodies = {name: a.graph for name, a in attributes.items() if a.graph is not None}
        self._attributes = {
            name: _attribute(operator, a) for name, a in attributes.items() if name not in (*self._bodies, *HINTS)
        }
        # Tables that are made of the attributes, once: arrays behind the inputs, all of which are then given.
        self._tables, self._attributes = operator.ready(self._attributes)
        if operator.prepare is not None and operator.variadic is None:
            self._given += [None] * (len(operator.inputs) - len(given))

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
        if not self._bodies:
            number = as_op(self._operator, self._given, self._attributes, self._making) if count == 1 else None
            if number is not None:
                return [Made(number, self._making)]
        return self._call(count)

    # -- Known values --------------------------------------------------------------------------------

    def _known(self, count: int) -> list[Value]:
        """Compute with values that are known."""
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
        return [Known(x) for x in results]

    def _kind(self, place: int) -> str:
        parameter = self._operator.input(place)
        return "array" if parameter is None else parameter.kind

    def _default(self, place: int) -> Any:
        parameter = self._operator.input(place)
        return None if parameter is None or parameter.required else parameter.default

    # -- Values that are computed when the network runs -----------------------------------------------

    def _call(self, count: int) -> list[Value]:
        making, op = self._making, self._operator.op
        bodies = self._made_bodies()
        outer = [v for body, _ in bodies.values() for v in body.captured]
        arrays = [v for place, v in enumerate(self._given) if v is not None and self._kind(place) == "array"]
        made = [v for v in arrays if isinstance(v, Made)]
        host = not outer and all(v.host for v in made)
        like = next((making.number(v) for v in made if not v.host), None)
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
                if bodies and isinstance(value, Made) and value.host and kind == "array":
                    numbers.append(making.number(value))  # such as the condition of a branch
                elif kind != "array" or host or self._operator.host:
                    numbers.append(
                        making.on_host(value) if kind != "array" or not self._operator.host else making.number(value)
                    )
                else:
                    numbers.append(making.on_device(value, like if like is not None else 0))
        for table in self._tables:
            places.append((None if table is None else len(numbers), None if table is None else "array"))
            if table is not None:
                known = Known(table)
                numbers.append(
                    making.on_host(known) if host else making.on_device(known, like if like is not None else 0)
                )
        rows = op.rows
        where: dict[str, slice] = {}
        for name, (body, net) in bodies.items():
            where[name] = slice(len(numbers), len(numbers) + len(body.captured))
            numbers.extend(body.captured)
            self._attributes[name] = net
            rows = max(rows, net.rows)
        plain = not bodies and all(place == at and kind == "array" for at, (place, kind) in enumerate(places))
        if not plain:
            op = prepared(op, places, where, rows=rows)
        number = making.into.call(
            op, *numbers, name=self._operator.name, results=count, source=self._node.name, **self._attributes
        )
        on_host = host or self._operator.host
        return [Made(number + k, making, on_host) for k in range(count)]

    def _made_bodies(self) -> dict[str, tuple[Making, Network]]:
        found = {}
        for name, graph in self._bodies.items():
            body, outputs = self._body(graph)
            numbers = [body.number(v) for v in outputs]
            fields = body.into.fields(numbers, ((),) * body.into.inputs)
            found[name] = body, Network(*fields)
        return found


def _attribute(operator: Operator, attribute: Attribute) -> Any:
    """Return the value of an attribute as the parameter of its name takes it."""
    parameter = operator.attributes.get(attribute.name) or _named(operator.inputs, attribute.name)
    if parameter is None:
        raise OperatorError(f"has the attribute {attribute.name[:80]!r}, which anyback does not know")
    return attribute.value_as(parameter.kind)


def _named(parameters: Sequence[Parameter], name: str) -> Parameter | None:
    return next((p for p in parameters if p.name == name), None)
