"""From a graph to a network of calls: known values are computed beforehand, and nodes that nothing uses left out."""

from __future__ import annotations

import dataclasses
from collections import ChainMap
from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any

import numpy as np

from anyback.errors import AnybackError, OperatorError, WeightsError
from anyback.network import Network, Port, Signature
from anyback.numbers import FLOATS
from anyback.onnx._classes import classes_of, default_outputs
from anyback.onnx._held import said_type
from anyback.onnx._joined import joined
from anyback.onnx._missing import check_operators, named
from anyback.onnx._model import Attribute, Function, Graph, Model, Node, ValueInfo, all_nodes
from anyback.onnx._node_call import NodeCall, check_given
from anyback.onnx._operator import Operator, find
from anyback.onnx._plumbing import received
from anyback.onnx._values import ROWS, Known, Made, Making, Value

__all__ = ["network_of"]

#: The most bytes of a value that is computed beforehand, and of all such values.
MOST_BYTES, MOST_BYTES_IN_ALL = 64 << 20, 1 << 30

#: The longest error, in characters, to which the name of its node is added.
_LONGEST = 1000

#: A graph's values by their names.
Names = MutableMapping[str, Value]


def network_of(model: Model, outputs: Sequence[str] | None = None) -> Network:
    """Return the network of a model.

    Parameters
    ----------
    model : Model
        The model as it was read and checked.
    outputs : sequence of str or None
        The names of the wanted outputs. None is all outputs, but for a classifier with labels and probabilities only
        the probabilities.

    Returns
    -------
    Network
        With NumPy arrays.

    Raises
    ------
    OperatorError
        If the model uses operators that are not known; the error names all of them.
    WeightsError
        If the model contradicts itself.
    """
    check_operators(model)
    return _Planner(model).network(outputs)


@dataclasses.dataclass(frozen=True)
class _Around:
    """The surroundings of a node: versions of the domains, and the attributes of the function that it is in."""

    opsets: Mapping[str, int]
    given: Mapping[str, Attribute] = dataclasses.field(default_factory=dict)


class _Planner:
    """Makes the network of a model."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._functions = {(f.domain, f.name, f.overload): f for f in model.functions}
        self._bytes = 0

    def network(self, outputs: Sequence[str] | None) -> Network:
        graph, making = self._model.graph, Making()
        names: Names = {}
        # Old files name their constants among the inputs.
        ports = [port for port in self._ports() if port.name not in graph.initializers]
        for place, port in enumerate(ports):
            names[port.name] = self._input(port, making, ROWS - place)
        around = _Around(self._model.opsets)
        wanted = list(outputs or default_outputs(graph))
        self._graph(graph, names, making, around, wanted)
        numbers = [making.number(names[name]) for name in wanted]
        into, numbers = joined(making.into, numbers)
        arrays, calls, inputs, places = into.fields(numbers, tuple(port.samples for port in ports), needed=True)
        signature = Signature(tuple(ports), tuple(wanted))
        return Network(arrays, calls, inputs, places, signature, classes_of(graph))

    def _ports(self) -> list[Port]:
        """Return the ports of the graph's inputs; shapes, axes, strings and single integers stay on the host."""
        fixed = set()
        for node in all_nodes(self._model.graph.nodes):
            found = find(node.domain, node.op_type, self._model.opsets.get(node.domain, 1))
            for place, name in enumerate(node.inputs if found is not None else ()):
                parameter = found.input(place) if found is not None else None
                if parameter is not None and parameter.kind != "array":
                    fixed.add(name)
        return [
            Port(v.name, v.dtype, v.shape, v.name in fixed or v.dtype == "string" or _is_whole(v), v.kind)
            for v in self._model.graph.inputs
        ]

    def _input(self, port: Port, making: Making, rows: int) -> Made:
        rest = () if port.shape is None else port.shape[1:]
        sizes = tuple(size for size in rest if isinstance(size, int))
        known = port.shape and len(sizes) == len(rest)
        number = making.into.input((rows, *sizes) if known else None)
        if port.dtype in FLOATS and not port.host:
            number = making.into.call(received, number, dtype=port.dtype)
        return Made(number, making, port.host, said_type(port.dtype))

    # -- Graphs --------------------------------------------------------------------------------------

    def _graph(self, graph: Graph, names: Names, making: Making, around: _Around, wanted: Sequence[str]) -> None:
        """Add the nodes of a graph that the wanted outputs need."""
        given = {port.name for port in graph.inputs}.intersection(names)
        for name, tensor in graph.initializers.items():
            if name not in given:  # a given input replaces its default
                names[name] = Known(tensor.array(), said_type(tensor.dtype))
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
            try:
                self._node(node, names, making, around, needed)
            except AnybackError as error:
                if len(str(error)) > _LONGEST:  # the names of more outer nodes are left out
                    raise
                raise type(error)(f"{named(node)}: {error}") from None
            except Exception as error:  # of a library, or of Python: inputs or attributes that do not fit together
                said = (str(error).splitlines() or [""])[0][:200]
                raise OperatorError(
                    f"{named(node)} cannot be computed of what it is given: {type(error).__name__}: {said}"
                ) from error

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
        check_given(operator, given, attributes)
        outputs = [name if name in needed else "" for name in node.outputs]
        if _passes_on(operator, given, attributes, outputs):
            names[outputs[0]] = given[0] if given and given[0] is not None else Known(None)
            return
        branch = _known_branch(operator, given, attributes)
        if branch is not None:
            inner: Names = ChainMap({}, names)
            wanted = [v.name for v in branch.outputs]
            self._graph(branch, inner, making, around, wanted)
            _give(names, outputs, [inner[name] for name in wanted])
            return

        def body(subgraph: Graph, host: Sequence[bool]) -> tuple[Making, list[Value]]:
            return self._made_body(subgraph, host, names, making, around)

        call = NodeCall(operator, node, given, attributes, making, body, self._spend)
        _give(names, outputs, call.results(outputs))

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
        if len(given) > len(function.inputs):
            raise WeightsError(f"expected at most {len(function.inputs)} inputs, found {len(given)}")
        inner: Names = {name: value for name, value in zip(function.inputs, given, strict=False) if value is not None}
        inner.update({name: Known(None) for name in function.inputs[len(given) :]})
        around = _Around(function.opsets or self._model.opsets, {**function.defaults, **attributes})
        self._nodes(function.nodes, inner, making, around, function.outputs)
        _give(names, node.outputs, [inner[name] for name in function.outputs])

    def _made_body(
        self, graph: Graph, host: Sequence[bool], names: Names, parent: Making, around: _Around
    ) -> tuple[Making, list[Value]]:
        """Return the making of a body, and its outputs; `host` says which of its inputs are on the host."""
        making = Making(parent)
        inner: Names = ChainMap({}, names)
        if len(host) != len(graph.inputs):
            raise WeightsError(f"its body takes {len(graph.inputs)} inputs, and is given {len(host)}")
        for port, there in zip(graph.inputs, host, strict=True):
            inner[port.name] = Made(making.into.input(), making, there, said_type(port.dtype))
        wanted = [v.name for v in graph.outputs]
        self._graph(graph, inner, making, around, wanted)
        return making, [inner[name] for name in wanted]

    def _spend(self, values: Sequence[Any]) -> None:
        """Count the bytes of values that were computed beforehand, and raise `WeightsError` where they are too many."""
        for value in values:
            size = value.nbytes if isinstance(value, np.ndarray) else 0
            self._bytes += size
            if size > MOST_BYTES or self._bytes > MOST_BYTES_IN_ALL:
                raise WeightsError(
                    f"its constants take more than {MOST_BYTES >> 20} MB each or {MOST_BYTES_IN_ALL >> 20} MB in all"
                )


def _is_whole(info: ValueInfo) -> bool:
    """Return whether a value is one integer or one truth value, such as a rate or a switch."""
    return info.shape == () and info.dtype.startswith(("int", "uint", "bool"))


def _give(names: Names, outputs: Sequence[str], values: Sequence[Value]) -> None:
    """Add the values of a node's outputs under their names; an output that nothing uses has an empty name."""
    if any(outputs[len(values) :]):
        raise WeightsError(f"it gives {len(values)} outputs, and is asked for {len(outputs)}")
    names.update({name: value for name, value in zip(outputs, values, strict=False) if name})


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
    """Return attributes by name; references in a function are replaced by its caller's attributes, or left out."""
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
    """Return whether a node returns its first input unchanged."""
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
