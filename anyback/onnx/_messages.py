"""The messages of an ONNX file, as far as a network needs them; what the fields mean: onnx/onnx.proto of ONNX."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from anyback.errors import OperatorError, WeightsError
from anyback.onnx._tensors import Tensor, type_name
from anyback.onnx._wire import Field, Wire, floats, signed, varints

__all__ = ["Attribute", "Function", "Graph", "Model", "Node", "ValueInfo", "model_of"]


@dataclass(frozen=True, eq=False)
class ValueInfo:
    """An input or an output of a graph.

    Parameters
    ----------
    name : str
        Its name.
    dtype : str
        The type of a tensor's numbers; empty where it is not said.
    shape : tuple of (int, str or None), or None
        The sizes of a tensor or the names of sizes; None where it is not said.
    kind : str
        ``"tensor"``, ``"sequence"``, ``"map"``, ``"optional"`` or ``"sparse"``.
    """

    name: str
    dtype: str = ""
    shape: tuple[int | str | None, ...] | None = None
    kind: str = "tensor"


@dataclass(frozen=True, eq=False)
class Attribute:
    """An attribute of a node.

    Parameters
    ----------
    name : str
        Its name.
    value : int, float, str, tuple, numpy.ndarray, Tensor or None
        Its value; lists of numbers are arrays.
    graph : Graph or None
        The subgraph that it is.
    reference : str
        In a function: the name of the caller's attribute that it stands for.
    """

    name: str
    value: Any = None
    graph: Graph | None = None
    reference: str = ""

    def value_as(self, kind: str) -> Any:
        """Return the value as a parameter of a kind takes it; see `anyback.onnx._operator`."""
        value = self.value
        if hasattr(value, "array"):
            value = value.array()
        if kind == "type" and isinstance(value, int):
            return type_name(value)
        if kind in ("ints", "floats") or (isinstance(value, np.ndarray) and kind == "array"):
            return tuple(np.reshape(value, -1).tolist()) if self._is_list(kind) else value
        return value

    def _is_list(self, kind: str) -> bool:
        return kind in ("ints", "floats") or not hasattr(self.value, "array")


@dataclass(frozen=True, eq=False)
class Node:
    """A call of an operator, by names of values.

    Parameters
    ----------
    op_type, domain : str
        The operator.
    name : str
        The node's own name, which may be empty.
    inputs, outputs : tuple of str
        Names of values; an absent one is empty.
    attributes : tuple of Attribute
        In the order of the file.
    overload : str
        Which of several functions of a name is called.
    """

    op_type: str
    domain: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: tuple[Attribute, ...]
    overload: str = ""


@dataclass(frozen=True, eq=False)
class Graph:
    """Nodes in an order in which they can run, with their inputs, outputs and constants."""

    nodes: tuple[Node, ...]
    inputs: tuple[ValueInfo, ...]
    outputs: tuple[ValueInfo, ...]
    initializers: Mapping[str, Tensor]


@dataclass(frozen=True, eq=False)
class Function:
    """A function of the file's own, which stands for nodes."""

    domain: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    nodes: tuple[Node, ...]
    opsets: Mapping[str, int]
    defaults: Mapping[str, Attribute] = field(default_factory=dict)
    overload: str = ""


@dataclass(frozen=True, eq=False)
class Model:
    """A whole file."""

    graph: Graph
    opsets: Mapping[str, int]
    functions: tuple[Function, ...] = ()


# -- From fields to values ------------------------------------------------------------------------------

#: What a field is called, and how it is read; a field that may be there several times has a list.
_Spec = dict[int, tuple[str, Callable[..., Any], bool]]


class _Reader:
    """Reads the messages of a file."""

    def __init__(self, wire: Wire, external: Callable[[Mapping[str, str]], np.ndarray]) -> None:
        self.wire, self.external = wire, external

    def message(self, spec: _Spec, start: int, end: int, depth: int) -> dict[str, Any]:
        """Return the known fields of a message by name; the last of those that are there once counts."""
        found: dict[str, Any] = {name: [] for name, _, many in spec.values() if many}
        for part in self.wire.fields(start, end, depth):
            known = spec.get(part.number)
            if known is None:
                continue
            name, read, many = known
            value = read(self, part, depth + 1)
            if many:
                found[name].append(value)
            else:
                found[name] = value
        return found


def _expect(part: Field, *kinds: int) -> None:
    if part.kind not in kinds:
        raise WeightsError(f"a field of number {part.number} is written as another kind of value than it is")


def _int(reader: _Reader, part: Field, depth: int) -> int:
    _expect(part, 0)
    return signed(part.start)


def _float(reader: _Reader, part: Field, depth: int) -> float:
    _expect(part, 5)
    return float(floats(reader.wire.bytes(part.start, part.end), "<f4")[0])


def _text(reader: _Reader, part: Field, depth: int) -> str:
    _expect(part, 2)
    return reader.wire.text(part.start, part.end)


def _bytes(reader: _Reader, part: Field, depth: int) -> bytes:
    _expect(part, 2)
    return bytes(reader.wire.data[part.start : part.end])


def _raw(reader: _Reader, part: Field, depth: int) -> np.ndarray:
    _expect(part, 2)
    return reader.wire.bytes(part.start, part.end)


def _ints(reader: _Reader, part: Field, depth: int) -> np.ndarray:
    """Return the numbers of one field of a repeated one: one, a run of them, or packed ones; signed."""
    _expect(part, 0, 2)
    if part.values is not None:
        return part.values.view(np.int64)
    if part.kind == 0:
        return np.asarray([part.start], np.uint64).view(np.int64)
    return varints(reader.wire.bytes(part.start, part.end)).view(np.int64)


def _numbers(kind: str) -> Callable[[_Reader, Field, int], np.ndarray]:
    """Return what reads numbers of four or eight bytes, packed or not."""

    def read(reader: _Reader, part: Field, depth: int) -> np.ndarray:
        _expect(part, 2, 1 if kind == "<f8" else 5)
        return part.values if part.values is not None else floats(reader.wire.bytes(part.start, part.end), kind)

    return read


def _inside(make: Callable[[_Reader, int, int, int], Any]) -> Callable[[_Reader, Field, int], Any]:
    """Return what reads a message inside another."""

    def read(reader: _Reader, part: Field, depth: int) -> Any:
        _expect(part, 2)
        return make(reader, part.start, part.end, depth)

    return read


def _joined(parts: list[np.ndarray], dtype: Any) -> np.ndarray:
    if len(parts) == 1:
        return parts[0]
    return np.concatenate(parts) if parts else np.empty(0, dtype)


_ENTRY: _Spec = {1: ("key", _text, False), 2: ("value", _text, False)}


def _entry(reader: _Reader, start: int, end: int, depth: int) -> tuple[str, str]:
    found = reader.message(_ENTRY, start, end, depth)
    return found.get("key", ""), found.get("value", "")


_TENSOR: _Spec = {
    1: ("dims", _ints, True),
    2: ("data_type", _int, False),
    3: ("segment", _raw, False),
    4: ("floats", _numbers("<f4"), True),
    5: ("ints32", _ints, True),
    6: ("strings", _bytes, True),
    7: ("ints64", _ints, True),
    8: ("name", _text, False),
    9: ("raw", _raw, False),
    10: ("doubles", _numbers("<f8"), True),
    11: ("unsigned", _ints, True),
    13: ("external", _inside(_entry), True),
    14: ("location", _int, False),
}


def _tensor(reader: _Reader, start: int, end: int, depth: int) -> Tensor:
    found = reader.message(_TENSOR, start, end, depth)
    name = found.get("name", "")
    if "segment" in found:
        raise WeightsError(f"the tensor {name[:80]!r} is only a segment of one")
    typed = {key: _joined(found[key], np.int64) for key in ("ints32", "ints64", "unsigned") if found[key]}
    typed |= {key: _joined(found[key], np.float32) for key in ("floats", "doubles") if found[key]}
    raw = found.get("raw")
    if found.get("location", 0) == 1:
        if raw is not None or typed or found["strings"]:
            raise WeightsError(f"the tensor {name[:80]!r} has its numbers both in this file and in another")
        entries = dict(found["external"])
        if len(entries) != len(found["external"]):
            raise WeightsError(f"the tensor {name[:80]!r} says twice where its numbers are")
        raw = reader.external(entries)
    dims = tuple(_joined(found["dims"], np.int64).tolist())
    return Tensor.checked(name, found.get("data_type", 0), dims, raw, typed, found["strings"])


_SPARSE: _Spec = {
    1: ("values", _inside(_tensor), False),
    2: ("indices", _inside(_tensor), False),
    3: ("dims", _ints, True),
}


def _sparse(reader: _Reader, start: int, end: int, depth: int) -> Tensor:
    found = reader.message(_SPARSE, start, end, depth)
    if "values" not in found or "indices" not in found:
        raise WeightsError("a sparse tensor lacks its values or their places")
    return Tensor.sparse(found["values"], found["indices"], tuple(_joined(found["dims"], np.int64).tolist()))


_DIM: _Spec = {1: ("size", _int, False), 2: ("name", _text, False)}


def _dim(reader: _Reader, start: int, end: int, depth: int) -> int | str | None:
    found = reader.message(_DIM, start, end, depth)
    size = found.get("size")
    # Exporters write a size below 0, or 0, for one that may be any.
    return size if size is not None and size > 0 else found.get("name") or None


_SHAPE: _Spec = {1: ("dims", _inside(_dim), True)}


def _shape(reader: _Reader, start: int, end: int, depth: int) -> tuple[int | str | None, ...]:
    return tuple(reader.message(_SHAPE, start, end, depth)["dims"])


_TENSOR_TYPE: _Spec = {1: ("type", _int, False), 2: ("shape", _inside(_shape), False)}
_KINDS = {1: "tensor", 4: "sequence", 5: "map", 8: "sparse", 9: "optional"}


def _tensor_type(reader: _Reader, start: int, end: int, depth: int) -> dict[str, Any]:
    return reader.message(_TENSOR_TYPE, start, end, depth)


_TYPE: _Spec = {1: ("tensor", _inside(_tensor_type), False)}
_TYPE |= {number: (kind, _raw, False) for number, kind in _KINDS.items() if number != 1}


def _type(reader: _Reader, start: int, end: int, depth: int) -> dict[str, Any]:
    return reader.message(_TYPE, start, end, depth)


_VALUE: _Spec = {1: ("name", _text, False), 2: ("type", _inside(_type), False)}


def _value(reader: _Reader, start: int, end: int, depth: int) -> ValueInfo:
    found = reader.message(_VALUE, start, end, depth)
    said = found.get("type", {})
    kind = next((kind for kind in _KINDS.values() if kind in said), "tensor")
    tensor = said.get("tensor", {})
    dtype = type_name(tensor["type"]) if tensor.get("type") else ""
    return ValueInfo(found.get("name", ""), dtype, tensor.get("shape"), kind)


def _graph(reader: _Reader, start: int, end: int, depth: int) -> Graph:
    found = reader.message(_GRAPH, start, end, depth)
    constants: dict[str, Tensor] = {}
    for tensor in (*found["initializers"], *found["sparse"]):
        if not tensor.name or tensor.name in constants:
            raise WeightsError(f"the constant {tensor.name[:80]!r} is there twice, or has no name")
        constants[tensor.name] = tensor
    return Graph(tuple(found["nodes"]), tuple(found["inputs"]), tuple(found["outputs"]), constants)


def _attribute(reader: _Reader, start: int, end: int, depth: int) -> Attribute:
    found = reader.message(_ATTRIBUTE, start, end, depth)
    name = found.get("name", "")
    if found.get("reference"):
        return Attribute(name, reference=found["reference"])
    if "type_proto" in found:
        return Attribute(name, value=found["type_proto"])
    if "graph" in found:
        return Attribute(name, graph=found["graph"])
    if found["graphs"] or found["tensors"]:
        raise OperatorError(f"the attribute {name[:80]!r} is a list of graphs or tensors, which anyback does not take")
    for key in ("int", "float", "text", "tensor", "sparse"):
        if key in found and _TYPES.get(found.get("type", 0), key) == key:
            return Attribute(name, found[key])
    return Attribute(name, _list(found))


def _list(found: dict[str, Any]) -> Any:
    """Return the value of an attribute that is a list, or one that is left out because it is 0 or empty."""
    kind = _TYPES.get(found.get("type", 0), "")
    if found["ints"] or kind == "ints":
        return _joined(found["ints"], np.int64)
    if found["floats"] or kind == "floats":
        return _joined(found["floats"], np.float32)
    if found["texts"] or kind == "texts":
        return tuple(found["texts"])
    return {"int": 0, "float": 0.0, "text": ""}.get(kind)


#: The number that says of what type an attribute is -> the field that holds it.
_TYPES = {1: "float", 2: "int", 3: "text", 4: "tensor", 6: "floats", 7: "ints", 8: "texts", 11: "sparse"}
_ATTRIBUTE: _Spec = {
    1: ("name", _text, False),
    2: ("float", _float, False),
    3: ("int", _int, False),
    4: ("text", _text, False),
    5: ("tensor", _inside(_tensor), False),
    6: ("graph", _inside(_graph), False),
    7: ("floats", _numbers("<f4"), True),
    8: ("ints", _ints, True),
    9: ("texts", _text, True),
    10: ("tensors", _raw, True),
    11: ("graphs", _raw, True),
    14: ("type_proto", _inside(_type), False),
    20: ("type", _int, False),
    21: ("reference", _text, False),
    22: ("sparse", _inside(_sparse), False),
}
_NODE: _Spec = {
    1: ("inputs", _text, True),
    2: ("outputs", _text, True),
    3: ("name", _text, False),
    4: ("op_type", _text, False),
    5: ("attributes", _inside(_attribute), True),
    7: ("domain", _text, False),
    8: ("overload", _text, False),
}


def _node(reader: _Reader, start: int, end: int, depth: int) -> Node:
    found = reader.message(_NODE, start, end, depth)
    return Node(
        op_type=found.get("op_type", ""),
        domain=_domain(found.get("domain", "")),
        name=found.get("name", ""),
        inputs=tuple(found["inputs"]),
        outputs=tuple(found["outputs"]),
        attributes=tuple(found["attributes"]),
        overload=found.get("overload", ""),
    )


def _domain(name: str) -> str:
    """Return a domain by the shorter of its two names."""
    return "" if name == "ai.onnx" else name


_GRAPH: _Spec = {
    1: ("nodes", _inside(_node), True),
    5: ("initializers", _inside(_tensor), True),
    11: ("inputs", _inside(_value), True),
    12: ("outputs", _inside(_value), True),
    15: ("sparse", _inside(_sparse), True),
}
_OPSET: _Spec = {1: ("domain", _text, False), 2: ("version", _int, False)}


def _opset(reader: _Reader, start: int, end: int, depth: int) -> tuple[str, int]:
    found = reader.message(_OPSET, start, end, depth)
    return _domain(found.get("domain", "")), found.get("version", 0)


_FUNCTION: _Spec = {
    1: ("name", _text, False),
    4: ("inputs", _text, True),
    5: ("outputs", _text, True),
    7: ("nodes", _inside(_node), True),
    9: ("opsets", _inside(_opset), True),
    10: ("domain", _text, False),
    11: ("defaults", _inside(_attribute), True),
    13: ("overload", _text, False),
}


def _function(reader: _Reader, start: int, end: int, depth: int) -> Function:
    found = reader.message(_FUNCTION, start, end, depth)
    return Function(
        domain=_domain(found.get("domain", "")),
        name=found.get("name", ""),
        inputs=tuple(found["inputs"]),
        outputs=tuple(found["outputs"]),
        nodes=tuple(found["nodes"]),
        opsets=dict(found["opsets"]),
        defaults={a.name: a for a in found["defaults"]},
        overload=found.get("overload", ""),
    )


_MODEL: _Spec = {
    1: ("version", _int, False),
    7: ("graph", _inside(_graph), False),
    8: ("opsets", _inside(_opset), True),
    25: ("functions", _inside(_function), True),
}


def model_of(wire: Wire, size: int, external: Callable[[Mapping[str, str]], np.ndarray]) -> Model:
    """Return the model that bytes hold, or raise `WeightsError` where they hold none.

    Parameters
    ----------
    wire : Wire
        The bytes.
    size : int
        How many.
    external : callable
        Takes what a tensor says of a file beside this one, and returns its bytes.
    """
    found = _Reader(wire, external).message(_MODEL, 0, size, 0)
    if "graph" not in found:
        raise WeightsError("not an ONNX model: it has no graph")
    return Model(found["graph"], dict(found["opsets"]), tuple(found["functions"]))
