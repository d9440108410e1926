"""The classes that a classifier's outputs stand for, as scikit-learn's exporter writes them into a graph."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from anyback.onnx._model import Graph, Node

__all__ = ["classes_of", "default_outputs"]

#: Operators that give labels as their first output and scores as their second.
_CLASSIFIERS = {"LinearClassifier", "SVMClassifier", "TreeEnsembleClassifier"}
_LABELS = ("classlabels_int64s", "classlabels_strings", "classlabels_ints")
#: Operators that give the same labels in another type or shape.
_PASSING = {"Cast", "Identity", "Reshape", "Squeeze", "Flatten"}


def default_outputs(graph: Graph) -> list[str]:
    """Return the outputs of a graph; of a classifier that gives labels and probabilities, the probabilities alone."""
    names = [v.name for v in graph.outputs]
    labels = len(names) == 2 and graph.outputs[0].dtype in ("int64", "string", "int32")
    return names[1:] if labels and classes_of(graph) is not None else names


def classes_of(graph: Graph) -> tuple[Any, ...] | None:
    """Return the labels that the first output of a graph is chosen from; None where it gives no labels."""
    makers = {name: node for node in graph.nodes for name in node.outputs}
    node = makers.get(graph.outputs[0].name) if graph.outputs else None
    while node is not None and node.op_type in _PASSING:
        node = makers.get(node.inputs[0])
    if node is None:
        return None
    if node.op_type == "ArrayFeatureExtractor":
        return _constant(graph, makers, node.inputs[0])
    attributes = {a.name: a.value for a in node.attributes}
    found = next(
        (attributes[name] for name in _LABELS if attributes.get(name) is not None and len(attributes[name])), None
    )
    return tuple(np.asarray(found).tolist()) if found is not None and node.op_type in _CLASSIFIERS else None


def _constant(graph: Graph, makers: Mapping[str, Node], name: str) -> tuple[Any, ...] | None:
    """Return a constant of a graph, which may be cast first, as a tuple; None where it is none."""
    while name in makers and makers[name].op_type in _PASSING:
        name = makers[name].inputs[0]
    found = graph.initializers.get(name)
    return None if found is None else tuple(np.reshape(found.array(), -1).tolist())
