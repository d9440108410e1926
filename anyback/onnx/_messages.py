"""The messages of an ONNX file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Attribute", "Function", "Graph", "Model", "Node", "ValueInfo"]


@dataclass(frozen=True, eq=False)
class ValueInfo:
    name: str
    dtype: str = ""
    shape: tuple[int | str | None, ...] | None = None
    kind: str = "tensor"


@dataclass(frozen=True, eq=False)
class Attribute:
    name: str
    value: Any = None
    graph: Graph | None = None
    reference: str = ""


@dataclass(frozen=True, eq=False)
class Node:
    op_type: str
    domain: str
    name: str
    inputs: Sequence[str]
    outputs: Sequence[str]
    attributes: Sequence[Attribute]


@dataclass(frozen=True, eq=False)
class Graph:
    nodes: Sequence[Node]
    inputs: Sequence[ValueInfo]
    outputs: Sequence[ValueInfo]
    initializers: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Function:
    domain: str
    name: str
    inputs: Sequence[str]
    outputs: Sequence[str]
    nodes: Sequence[Node]
    opsets: Mapping[str, int]
    defaults: Mapping[str, Attribute] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Model:
    graph: Graph
    opsets: Mapping[str, int]
    functions: Sequence[Function] = ()
