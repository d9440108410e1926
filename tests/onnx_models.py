"""ONNX models as tests write them down."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

__all__ = ["constant", "graph", "made", "node", "value"]


def value(name: str, *shape: Any, code: int = TensorProto.FLOAT) -> Any:
    return helper.make_tensor_value_info(name, code, shape)


def constant(name: str, x: Any) -> Any:
    return numpy_helper.from_array(np.asarray(x), name)


def graph(nodes: list[Any], inputs: list[Any], outputs: list[Any], *constants: Any) -> Any:
    return helper.make_graph(nodes, "graph", inputs, outputs, list(constants))


def made(nodes: list[Any], inputs: list[Any], outputs: list[Any], *constants: Any, **more: Any) -> bytes:
    whole = graph(nodes, inputs, outputs, *constants)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3), helper.make_opsetid("own", 1)]
    return bytes(helper.make_model(whole, opset_imports=opsets, **more).SerializeToString())


def node(op_type: str, given: str, gives: str, **attributes: Any) -> Any:
    """Return a node; names of values are parted by spaces, and an absent one is ``-``."""
    names = [["" if name == "-" else name for name in text.split()] for text in (given, gives)]
    return helper.make_node(op_type, *names, **attributes)
