"""From the graph of a file to a network of calls: what is known is computed beforehand, what nobody needs is left out."""

from __future__ import annotations

import dataclasses
from collections import ChainMap, Counter
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from typing import Any

import numpy as np

from anyback.errors import AnybackError, OperatorError, WeightsError
from anyback.network import Network, Port, Signature
from anyback.numbers import FLOATS
from anyback.onnx._as_ops import as_op
from anyback.onnx._classes import classes_of, default_outputs
from anyback.onnx._bodies import converted, prepared
from anyback.onnx._messages import Attribute, Function, Graph, Model, Node
from anyback.onnx._operator import Operator, Parameter, find
from anyback.onnx._plumbing import received
from anyback.onnx._values import Known, Made, Making, Value
from anyback.plan import Rows

__all__ = ["network_of"]

#: The most bytes of a value that is computed beforehand, and of all of them.
MOST_BYTES, MOST_BYTES_IN_ALL = 64 << 20, 1 << 30
#: The most steps of a network, with the functions of the file written out.
MOST_STEPS = 1_000_000

#: The values by the names of a graph.
Names = MutableMapping[str, Value]


def network_of(model: Model, outputs: Sequence[str] | None = None) -> Network:
    """Return the network of a model.

    Parameters
    ----------
    model : Model
        As it was read and checked.
    outputs : sequence of str or None
        The names of the outputs that are wanted; None is all of them, or of a classifier that gives labels and
        probabilities the probabilities alone.

    Returns
    -------
    Network
        Its arrays are NumPy's.

    Raises
    ------
    OperatorError
        If the model uses operators that are not known here: all of them are named.
    WeightsError
        If the model cannot be what it says.
    """
    check_operators(model)
    return _Planner(model).network(outputs)


def check_operators(model: Model) -> None:
    """Raise one `OperatorError` for all operators of a model that are not known here."""
    missing: Counter[str] = Counter()
    own = {(f.domain, f.name) for f in model.functions}
    for nodes, opsets in [(model.graph.nodes, model.opsets), *((f.nodes, f.opsets) for f in model.functions)]:
        for node in _all_nodes(nodes):
            version = opsets.get(node.domain, 1)
            known = (node.domain, node.op_type) in own or find(node.domain, node.op_type, version) is not None
            if not known:
                missing[f"{node.domain or 'ai.onnx'}.{node.op_type} of version {version}"] += 1
    if missing:
        said = [f"{name} (used {count} times)" if count > 1 else name for name, count in sorted(missing.items())]
        raise OperatorError(f"the network uses operators that anyback does not have: {', '.join(said)}")


def _all_nodes(nodes: Sequence[Node]) -> Iterator[Node]:
    """Yield the nodes of a graph, and those of its subgraphs."""
    for node in nodes:
        yield node
        for attribute in node.attributes:
            if attribute.graph is not None:
                yield from _all_nodes(attribute.graph.nodes)


@dataclasses.dataclass(frozen=True)
class _Around:
    """What is around a node: the versions of the domains, and the attributes of the function that it belongs to."""

    opsets: Mapping[str, int]
    given: Mapping[str, Attribute] = dataclasses.field(default_factory=dict)


class _Planner:
    """A model that is being made into a network."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._functions = {(f.domain, f.name, f.overload): f for f in model.functions}
        self._steps = 0
        self._bytes = 0

    def network(self, outputs: Sequence[str] | None) -> Network:
        graph, making = self._model.graph, Making()
        names: Names = {}
        # Old files name their constants among the inputs.
        ports = [port for port in self._ports() if port.name not in graph.initializers]
        for port in ports:
            names[port.name] = self._input(port, making)
        around = _Around(self._model.opsets)
        wanted = list(outputs or default_outputs(graph))
        self._graph(graph, names, making, around, wanted)
        numbers = [making.number(names[name]) for name in wanted]
        fields = making.into.fields(numbers, tuple(port.samples for port in ports))
        signature = Signature(tuple(ports), tuple(wanted), classes_of(graph))
        return Network(*fields, signature)

    def _ports(self) -> list[Port]:
        """Return the inputs of the graph; those that nothing but shapes and axes are made of stay on the host."""
        fixed = set()
        for node in _all_nodes(self._model.graph.nodes):
            found = find(node.domain, node.op_type, self._model.opsets.get(node.domain, 1))
            for place, name in enumerate(node.inputs if found is not None else ()):
                parameter = found.input(place) if found is not None else None
                if parameter is not None and parameter.kind != "array":
                    fixed.add(name)
        return [Port(v.name, v.dtype, v.shape, v.name in fixed or v.dtype == "string") for v in self._model.graph.inputs]

    def _input(self, port: Port, making: Making) -> Made:
        rest = () if port.shape is None else port.shape[1:]
        sizes = tuple(size for size in rest if isinstance(size, int))
        known = port.shape and len(sizes) == len(rest)
        number = making.into.input((1, *sizes) if known else None)
        if port.dtype in FLOATS and not port.host:
            number = making.into.call(received, number, dtype=port.dtype)
        return Made(number, making, port.host)

    # -- Graphs --------------------------------------------------------------------------------------

    def _graph(self, graph: Graph, names: Names, making: Making, around: _Around, wanted: Sequence[str]) -> None:
        """Add the nodes of a graph that the wanted outputs need."""
        for name, tensor in graph.initializers.items():
            if name not in names:  # an input that has a default is one only where nobody gives it
                names[name] = Known(tensor.array())
        self._nodes(graph.nodes, names, making, around, wanted)

    def _nodes(
        self, nodes: Sequence[Node], names: Names, making: Making, around: _Around, wanted: Sequence[str]
    ) -> None:
        needed, kept = set(wanted), []
        for node in reversed(nodes):
            if needed.intersection(node.outputs):
                kept.append(node)
                needed.update(node.inputs)
                needed.update(*(_free_names(a.graph) for a in node.attributes if a.graph is not None))
        for node in reversed(kept):
            self._steps += 1
            if self._steps > MOST_STEPS:
                raise WeightsError(f"the network has more than {MOST_STEPS:,} steps")
            try:
                self._node(node, names, making, around, needed)
            except AnybackError as error:
                raise type(error)(f"{node.op_type} {node.name!r}: {error}") from None

    def _node(self, node: Node, names: Names, making: Making, around: _Around, needed: set[str]) -> None:
        given = [names[name] if name else None for name in node.inputs]
        while given and given[-1] is None:
            given.pop()
        attributes = _resolved(node.attributes, around)
        if (function := self._functions.get((node.domain, node.op_type, node.overload))) is not None:
            self._function(function, node, given, attributes, names, making)
            return
        operator = find(node.domain, node.op_type, around.opsets.get(node.domain, 1))
        if operator is None:
            raise OperatorError("is not known")
        outputs = [name if name in needed else "" for name in node.outputs]
        if _passes_on(operator, given, attributes, outputs):
            names[outputs[0]] = given[0] if given[0] is not None else Known(None)
            return
        branch = _known_branch(operator, given, attributes)
        if branch is not None:
            inner: Names = ChainMap({}, names)  # type: ignore[arg-type]
            wanted = [v.name for v in branch.outputs]
            self._graph(branch, inner, making, around, wanted)
            names.update({out: inner[name] for out, name in zip(outputs, wanted, strict=False) if out})
            return
        call = _NodeCall(self, operator, node, given, attributes, names, making, around)
        names.update({name: value for name, value in zip(outputs, call.results(outputs), strict=False) if name})

    def _function(
        self,
        function: Function,
        node: Node,
        given: Sequence[Value | None],
        attributes: Mapping[str, Attribute],
        names: Names,
        making: Making,
    ) -> None:
        """Add the nodes of a function of the file in place of its call."""
        inner: Names = {name: value for name, value in zip(function.inputs, given, strict=False) if value is not None}
        inner.update({name: Known(None) for name in function.inputs[len(given) :]})
        around = _Around(function.opsets or self._model.opsets, {**function.defaults, **attributes})
        self._nodes(function.nodes, inner, making, around, function.outputs)
        names.update({out: inner[name] for out, name in zip(node.outputs, function.outputs, strict=False) if out})

    def body(
        self, graph: Graph, hosts: Sequence[bool], names: Names, parent: Making, around: _Around
    ) -> tuple[Making, list[Value]]:
        """Return a body that is being made, and its outputs; `hosts` says which of its inputs are on the host."""
        making = Making(parent)
        inner: Names = ChainMap({}, names)  # type: ignore[arg-type]
        for port, host in zip(graph.inputs, hosts, strict=True):
            inner[port.name] = Made(making.into.input(), making, host)
        wanted = [v.name for v in graph.outputs]
        self._graph(graph, inner, making, around, wanted)
        return making, [inner[name] for name in wanted]

    def spend(self, values: Sequence[Any]) -> None:
        """Count the bytes of values that were computed beforehand."""
        for value in values:
            size = value.nbytes if isinstance(value, np.ndarray) else 0
            self._bytes += size
            if size > MOST_BYTES or self._bytes > MOST_BYTES_IN_ALL:
                raise WeightsError(
                    f"its constants take more than {MOST_BYTES >> 20} MB each or {MOST_BYTES_IN_ALL >> 20} MB in all"
                )


def _free_names(graph: Graph) -> set[str]:
    """Return the names that a graph uses and does not define."""
    defined = {*graph.initializers, *(v.name for v in graph.inputs)}
    used = {v.name for v in graph.outputs}
    for node in graph.nodes:
        used.update(node.inputs)
        used.update(*(_free_names(a.graph) for a in node.attributes if a.graph is not None))
        defined.update(node.outputs)
    return used - defined


def _resolved(attributes: Sequence[Attribute], around: _Around) -> dict[str, Attribute]:
    """Return attributes by name, with those that a function takes from its caller in place; absent ones left out."""
    found = {}
    for attribute in attributes:
        if not attribute.reference:
            found[attribute.name] = attribute
        elif attribute.reference in around.given:
            found[attribute.name] = dataclasses.replace(around.given[attribute.reference], name=attribute.name)
    return found


def _passes_on(
    operator: Operator, given: Sequence[Value | None], attributes: Mapping[str, Attribute], outputs: Sequence[str]
) -> bool:
    """Return whether a node gives its first input as it is."""
    if any(outputs[1:]):
        return False
    if operator.name == "Dropout":
        training = given[2] if len(given) > 2 else Known(np.asarray(False))
        return isinstance(training, Known) and not np.any(training.value)
    return operator.name in ("Identity", "ZipMap")


def _known_branch(
    operator: Operator, given: Sequence[Value | None], attributes: Mapping[str, Attribute]
) -> Graph | None:
    """Return the branch that an If takes, where its condition is known."""
    if operator.name != "If" or not isinstance(given[0], Known):
        return None
    chosen = attributes["then_branch" if np.all(given[0].value) else "else_branch"]
    return chosen.graph


class _NodeCall:
    """A node that becomes a call, or a known value."""

    def __init__(
        self,
        planner: _Planner,
        operator: Operator,
        node: Node,
        given: Sequence[Value | None],
        attributes: Mapping[str, Attribute],
        names: Names,
        making: Making,
        around: _Around,
    ) -> None:
        self._planner, self._operator, self._node = planner, operator, node
        self._given, self._names, self._making, self._around = list(given), names, making, around
        self._bodies = {name: a.graph for name, a in attributes.items() if a.graph is not None}
        self._attributes = {
            name: _attribute(operator, a) for name, a in attributes.items() if name not in self._bodies
        }
        # Tables that are made of the attributes, once: arrays behind the inputs, all of which are then given.
        self._tables, self._attributes = operator.ready(self._attributes)
        if any(operator.input(place) is None for place in range(len(given))):
            raise WeightsError(f"expected at most {len(operator.inputs)} inputs, found {len(given)}")
        for place, parameter in enumerate(operator.inputs):
            absent = place >= len(given) or given[place] is None
            if absent and parameter.required and parameter.name not in self._attributes:
                raise WeightsError(f"the input {parameter.name} is missing")
        if operator.prepare is not None and operator.variadic is None:
            self._given += [None] * (len(operator.inputs) - len(given))

    def results(self, outputs: Sequence[str]) -> Sequence[Value]:
        """Return the values of the outputs."""
        count = max((place + 1 for place, name in enumerate(outputs) if name), default=1)
        if self._operator.several:
            self._attributes["outputs"] = count
        if self._operator.wanted:
            self._attributes["wanted"] = tuple(bool(name) for name in outputs[:count])
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
        with np.errstate(all="ignore"):
            found = self._operator.op.compute(*arguments, *self._tables, **self._attributes)
        results = [found] if count == 1 else list(found)
        results = [np.asarray(x) if isinstance(x, np.generic) else x for x in results]
        self._planner.spend(results)
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
                if kind != "array" or host or self._operator.host:
                    numbers.append(making.on_host(value) if kind != "array" or not self._operator.host else making.number(value))
                else:
                    numbers.append(making.on_device(value, like if like is not None else 0))
        for table in self._tables:
            places.append((None if table is None else len(numbers), None if table is None else "array"))
            if table is not None:
                known = Known(table)
                numbers.append(making.on_host(known) if host else making.on_device(known, like if like is not None else 0))
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
            body, outputs = self._planner.body(
                graph, [False] * len(graph.inputs), self._names, self._making, self._around
            )
            numbers = [body.number(v) for v in outputs]
            fields = body.into.fields(numbers, ((),) * body.into.inputs)
            found[name] = body, Network(*fields)
        return found


def _attribute(operator: Operator, attribute: Attribute) -> Any:
    """Return the value of an attribute as the parameter of its name takes it."""
    parameter = operator.attributes.get(attribute.name) or _named(operator.inputs, attribute.name)
    if parameter is None:
        raise OperatorError(f"has the attribute {attribute.name!r}, which anyback does not know")
    return attribute.value_as(parameter.kind)


def _named(parameters: Sequence[Parameter], name: str) -> Parameter | None:
    return next((p for p in parameters if p.name == name), None)
