"""A model of ONNX as it would be, had its maker written float64 wherever it wrote float32."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import AttributeProto, ModelProto, TensorProto, numpy_helper

__all__ = ["as_float64"]

#: Attributes that name a type in which numbers are given or computed.
TYPES = frozenset({"to", "dtype", "output_dtype", "stash_type", "softmax_precision"})


def as_float64(model: ModelProto) -> ModelProto:
    """Return a copy of a model whose float32 constants, inputs, outputs and casts are float64.

    The numbers are the same, so what the copy answers is what the model means, but for the rounding of its steps.
    Numbers that attributes hold have one type in ONNX, float32, and stay as they are.
    """
    made = ModelProto()
    made.CopyFrom(model)
    widen_graph(made.graph)
    for function in made.functions:
        del function.value_info[:]
        widen_nodes(function.node)
    return made


def widen_graph(graph: Any) -> None:
    del graph.value_info[:]
    for tensor in graph.initializer:
        widen_tensor(tensor)
    for value in (*graph.input, *graph.output):
        widen_type(value.type)
    widen_nodes(graph.node)


def widen_type(kind: Any) -> None:
    if kind.HasField("tensor_type"):
        if kind.tensor_type.elem_type == TensorProto.FLOAT:
            kind.tensor_type.elem_type = TensorProto.DOUBLE
    elif kind.HasField("sequence_type"):
        widen_type(kind.sequence_type.elem_type)
    elif kind.HasField("optional_type"):
        widen_type(kind.optional_type.elem_type)


def widen_nodes(nodes: Any) -> None:
    for node in nodes:
        for attribute in node.attribute:
            widen_attribute(attribute)


def widen_attribute(attribute: Any) -> None:
    if attribute.name in TYPES and attribute.i == TensorProto.FLOAT:
        attribute.i = TensorProto.DOUBLE
    elif attribute.type == AttributeProto.TENSOR:
        widen_tensor(attribute.t)
    elif attribute.type == AttributeProto.GRAPH:
        widen_graph(attribute.g)
    elif attribute.name in ("value_float", "value_floats"):  # of a Constant: its output is float32 in this form
        numbers = attribute.f if attribute.name == "value_float" else list(attribute.floats)
        attribute.Clear()
        attribute.name, attribute.type = "value", AttributeProto.TENSOR
        attribute.t.CopyFrom(numpy_helper.from_array(np.asarray(numbers, np.float64)))
    for tensor in attribute.tensors:
        widen_tensor(tensor)
    for graph in attribute.graphs:
        widen_graph(graph)


def widen_tensor(tensor: Any) -> None:
    if tensor.data_type == TensorProto.FLOAT:
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float64), tensor.name))
