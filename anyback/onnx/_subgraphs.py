"""Subgraphs of a node, which become networks of their own, and which of their values are on the host."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from anyback.network import Network
from anyback.onnx._model import Graph
from anyback.onnx._values import Known, Made, Making, Value

__all__ = ["MadeBody", "MakeBody", "branches", "loop_body"]

#: Takes a subgraph, and for each of its inputs whether it is on the host; returns the making of the body, and outputs.
MakeBody = Callable[[Graph, Sequence[bool]], tuple[Making, list[Value]]]


@dataclass(frozen=True, eq=False)
class MadeBody:
    """A subgraph as a network.

    Parameters
    ----------
    net : Network
        Takes the subgraph's own inputs, then the values of the outer network.
    captured : sequence of int
        Numbers of these values in the outer network.
    takes_host, gives_host : tuple of bool
        Whether each input and each output of the subgraph is on the host.
    endless : bool
        For the body of a loop: whether its condition is always true.
    """

    net: Network
    captured: Sequence[int]
    takes_host: tuple[bool, ...] = ()
    gives_host: tuple[bool, ...] = ()
    endless: bool = False


def branches(graphs: Mapping[str, Graph], make: MakeBody) -> dict[str, MadeBody]:
    """Return the bodies of an operator that is no loop, by the names of its attributes; inputs are on the device.

    An output is on the host where it is in all of the bodies.
    """
    made = {name: make(graph, (False,) * len(graph.inputs)) for name, graph in graphs.items()}
    host = [all(map(_shape_like, values)) for values in zip(*(outputs for _, outputs in made.values()), strict=False)]
    return {name: _subgraph(body, outputs, host) for name, (body, outputs) in made.items()}


def loop_body(graph: Graph, given: Sequence[Value | None], make: MakeBody) -> MadeBody:
    """Return the body of a loop: it takes the number of the step, a condition, and the values of the step before.

    Parameters
    ----------
    graph : Graph
        The body.
    given : sequence of (value or None)
        The values before the first step.
    make : callable
        See `MakeBody`.
    """
    # A value is on the host as long as each step leaves it there: whether it does depends on the others.
    host = [True, True, *(isinstance(v, Known) or (v is not None and v.host) for v in given)]
    while True:
        body, outputs = make(graph, host)
        there = [isinstance(v, Known) or v.host for v in outputs]
        stays = [True, *(before and after for before, after in zip(host[1:], there, strict=False))]
        if stays == host:
            break
        host = stays
    again = outputs[0]
    endless = isinstance(again, Known) and bool(np.all(again.value))
    endless = endless or (isinstance(again, Made) and again.making is body and again.number == 1)
    gives = [*host[1:], *(isinstance(v, Made) and v.host for v in outputs[len(host) - 1 :])]
    return _subgraph(body, outputs, gives, host, endless)


def _shape_like(value: Value) -> bool:
    """Return whether a value is one of shapes, texts or the like, which are used on the host."""
    if isinstance(value, Made):
        return value.host
    return not value.is_numbers or value.value.dtype.kind in "biu"


def _subgraph(
    body: Making, outputs: Sequence[Value], gives: Sequence[bool], takes: Sequence[bool] = (), endless: bool = False
) -> MadeBody:
    numbers = []
    for place, value in enumerate(outputs):
        if gives[place]:
            numbers.append(body.on_host(value))
            continue
        like = next((body.number(v) for v in outputs if isinstance(v, Made) and not v.host), None)
        like = next((k for k in range(body.into.inputs) if takes and not takes[k]), 0) if like is None else like
        numbers.append(body.on_device(value, like))
    fields = body.into.fields(numbers, ((),) * body.into.inputs)
    return MadeBody(Network(*fields), list(body.captured), tuple(takes), tuple(gives), endless)
