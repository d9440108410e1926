"""The contents of an ONNX file that a network needs, as frozen dataclasses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from anyback.onnx._tensors import Tensor, type_name

__all__ = ["Attribute", "Function", "Graph", "Model", "Node", "ValueInfo", "all_nodes"]


@dataclass(frozen=True, eq=False)
class ValueInfo:
    """An input or an output of a graph.

    Parameters
    ----------
    name : str
        Its name.
    dtype : str
        The type of a tensor's numbers; empty where the file does not say it.
    shape : tuple of (int, str or None), or None
        The sizes of a tensor or the names of sizes; None where the file does not say them.
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
        """Return the value in the form of a parameter's kind; see `anyback.onnx._operator`."""
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


def all_nodes(nodes: Sequence[Node]) -> Iterator[Node]:
    """Yield the nodes of a graph, and those of its subgraphs."""
    for node in nodes:
        yield node
        for attribute in node.attributes:
            if attribute.graph is not None:
                yield from all_nodes(attribute.graph.nodes)
