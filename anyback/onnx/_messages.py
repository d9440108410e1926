"""The messages of an ONNX file, read into a model. The fields are those of ONNX's onnx/onnx.proto."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from anyback.errors import OperatorError, WeightsError
from anyback.onnx._fields import (
    Reader,
    Spec,
    a_float,
    a_text,
    an_int,
    inside,
    ints,
    joined,
    numbers,
    raw,
    sizes,
    some_bytes,
    texts,
)
from anyback.onnx._model import Attribute, Function, Graph, Model, Node, ValueInfo
from anyback.onnx._tensors import Tensor, type_name
from anyback.onnx._wire import Wire

__all__ = ["model_of"]

_ENTRY: Spec = {1: ("key", a_text, False), 2: ("value", a_text, False)}


def _entry(reader: Reader, start: int, end: int, depth: int) -> tuple[str, str]:
    found = reader.message(_ENTRY, start, end, depth)
    return found.get("key", ""), found.get("value", "")


_TENSOR: Spec = {
    1: ("dims", ints, True),
    2: ("data_type", an_int, False),
    3: ("segment", raw, False),
    4: ("floats", numbers("<f4"), True),
    5: ("ints32", ints, True),
    6: ("strings", some_bytes, True),
    7: ("ints64", ints, True),
    8: ("name", a_text, False),
    9: ("raw", raw, False),
    10: ("doubles", numbers("<f8"), True),
    11: ("unsigned", ints, True),
    13: ("external", inside(_entry), True),
    14: ("location", an_int, False),
}


def _tensor(reader: Reader, start: int, end: int, depth: int) -> Tensor:
    found = reader.message(_TENSOR, start, end, depth)
    name = found.get("name", "")
    if "segment" in found:
        raise WeightsError(f"the tensor {name[:80]!r} is only a segment of one")
    typed = {key: joined(found[key], np.int64) for key in ("ints32", "ints64", "unsigned") if found[key]}
    typed |= {key: joined(found[key], np.float32) for key in ("floats", "doubles") if found[key]}
    held = found.get("raw")
    if found.get("location", 0) == 1:
        if held is not None or typed or found["strings"]:
            raise WeightsError(f"the tensor {name[:80]!r} has its numbers both in this file and in another")
        entries = dict(found["external"])
        if len(entries) != len(found["external"]):
            raise WeightsError(f"the tensor {name[:80]!r} says twice where its numbers are")
        held = reader.external(entries)
    dims = sizes(found["dims"])
    return Tensor.checked(name, found.get("data_type", 0), dims, held, typed, found["strings"])


_SPARSE: Spec = {
    1: ("values", inside(_tensor), False),
    2: ("indices", inside(_tensor), False),
    3: ("dims", ints, True),
}


def _sparse(reader: Reader, start: int, end: int, depth: int) -> Tensor:
    found = reader.message(_SPARSE, start, end, depth)
    if "values" not in found or "indices" not in found:
        raise WeightsError("a sparse tensor lacks its values or their places")
    return Tensor.sparse(found["values"], found["indices"], sizes(found["dims"]))


_DIM: Spec = {1: ("size", an_int, False), 2: ("name", a_text, False)}


def _dim(reader: Reader, start: int, end: int, depth: int) -> int | str | None:
    found = reader.message(_DIM, start, end, depth)
    size = found.get("size")
    # Exporters write a size below 0, or 0, for one that may be any.
    return size if size is not None and size > 0 else found.get("name") or None


_SHAPE: Spec = {1: ("dims", inside(_dim), True)}


def _shape(reader: Reader, start: int, end: int, depth: int) -> tuple[int | str | None, ...]:
    return tuple(reader.message(_SHAPE, start, end, depth)["dims"])


_TENSOR_TYPE: Spec = {1: ("type", an_int, False), 2: ("shape", inside(_shape), False)}
_KINDS = {1: "tensor", 4: "sequence", 5: "map", 8: "sparse", 9: "optional"}


def _tensor_type(reader: Reader, start: int, end: int, depth: int) -> dict[str, Any]:
    return reader.message(_TENSOR_TYPE, start, end, depth)


_TYPE: Spec = {1: ("tensor", inside(_tensor_type), False)}
_TYPE |= {number: (kind, raw, False) for number, kind in _KINDS.items() if number != 1}


def _type(reader: Reader, start: int, end: int, depth: int) -> dict[str, Any]:
    return reader.message(_TYPE, start, end, depth)


_VALUE: Spec = {1: ("name", a_text, False), 2: ("type", inside(_type), False)}


def _value(reader: Reader, start: int, end: int, depth: int) -> ValueInfo:
    found = reader.message(_VALUE, start, end, depth)
    said = found.get("type", {})
    kind = next((kind for kind in _KINDS.values() if kind in said), "tensor")
    tensor = said.get("tensor", {})
    dtype = type_name(tensor["type"]) if tensor.get("type") else ""
    return ValueInfo(found.get("name", ""), dtype, tensor.get("shape"), kind)


def _graph(reader: Reader, start: int, end: int, depth: int) -> Graph:
    found = reader.message(_GRAPH, start, end, depth)
    constants: dict[str, Tensor] = {}
    for tensor in (*found["initializers"], *found["sparse"]):
        if not tensor.name or tensor.name in constants:
            raise WeightsError(f"the constant {tensor.name[:80]!r} is there twice, or has no name")
        constants[tensor.name] = tensor
    return Graph(tuple(found["nodes"]), tuple(found["inputs"]), tuple(found["outputs"]), constants)


def _attribute(reader: Reader, start: int, end: int, depth: int) -> Attribute:
    found = reader.message(_ATTRIBUTE, start, end, depth, texts=9)
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
        return joined(found["ints"], np.int64)
    if found["floats"] or kind == "floats":
        return joined(found["floats"], np.float32)
    if found["texts"] or kind == "texts":
        return tuple(itertools.chain.from_iterable(found["texts"]))
    return {"int": 0, "float": 0.0, "text": ""}.get(kind)


#: The number of an attribute's type -> the field that holds its value.
_TYPES = {1: "float", 2: "int", 3: "text", 4: "tensor", 6: "floats", 7: "ints", 8: "texts", 11: "sparse"}
_ATTRIBUTE: Spec = {
    1: ("name", a_text, False),
    2: ("float", a_float, False),
    3: ("int", an_int, False),
    4: ("text", a_text, False),
    5: ("tensor", inside(_tensor), False),
    6: ("graph", inside(_graph), False),
    7: ("floats", numbers("<f4"), True),
    8: ("ints", ints, True),
    9: ("texts", texts, True),
    10: ("tensors", raw, True),
    11: ("graphs", raw, True),
    14: ("type_proto", inside(_type), False),
    20: ("type", an_int, False),
    21: ("reference", a_text, False),
    22: ("sparse", inside(_sparse), False),
}
_NODE: Spec = {
    1: ("inputs", a_text, True),
    2: ("outputs", a_text, True),
    3: ("name", a_text, False),
    4: ("op_type", a_text, False),
    5: ("attributes", inside(_attribute), True),
    7: ("domain", a_text, False),
    8: ("overload", a_text, False),
}


def _node(reader: Reader, start: int, end: int, depth: int) -> Node:
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


_GRAPH: Spec = {
    1: ("nodes", inside(_node), True),
    5: ("initializers", inside(_tensor), True),
    11: ("inputs", inside(_value), True),
    12: ("outputs", inside(_value), True),
    15: ("sparse", inside(_sparse), True),
}
_OPSET: Spec = {1: ("domain", a_text, False), 2: ("version", an_int, False)}


def _opset(reader: Reader, start: int, end: int, depth: int) -> tuple[str, int]:
    found = reader.message(_OPSET, start, end, depth)
    return _domain(found.get("domain", "")), found.get("version", 0)


_FUNCTION: Spec = {
    1: ("name", a_text, False),
    4: ("inputs", a_text, True),
    5: ("outputs", a_text, True),
    7: ("nodes", inside(_node), True),
    9: ("opsets", inside(_opset), True),
    10: ("domain", a_text, False),
    11: ("defaults", inside(_attribute), True),
    13: ("overload", a_text, False),
}


def _function(reader: Reader, start: int, end: int, depth: int) -> Function:
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


_MODEL: Spec = {
    1: ("version", an_int, False),
    7: ("graph", inside(_graph), False),
    8: ("opsets", inside(_opset), True),
    25: ("functions", inside(_function), True),
}


def model_of(wire: Wire, size: int, external: Callable[[Mapping[str, str]], np.ndarray]) -> Model:
    """Return the model in bytes, or raise `WeightsError` where they hold none.

    Parameters
    ----------
    wire : Wire
        The bytes.
    size : int
        The number of bytes.
    external : callable
        Takes the entries by which a tensor says where it is in another file, and returns its bytes.
    """
    found = Reader(wire, external).message(_MODEL, 0, size, 0)
    if "graph" not in found:
        raise WeightsError("not an ONNX model: it has no graph")
    return Model(found["graph"], dict(found["opsets"]), tuple(found["functions"]))
