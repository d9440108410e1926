"""What must hold of a model before anything is made of it: names, subgraphs and functions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set

from anyback.errors import WeightsError
from anyback.onnx._model import Function, Graph, Model, Node

__all__ = ["check_model"]

#: How deep subgraphs may lie in each other.
_DEEPEST = 10


def check_model(model: Model) -> None:
    """Raise `WeightsError` where a model is not sound.

    Every name is defined once, and used behind its definition; a subgraph sees the names around it; no function calls
    itself, by others either; subgraphs lie at most 10 deep in each other.

    Parameters
    ----------
    model : Model
        As it was read.
    """
    for domain, version in model.opsets.items():
        if version < 1:
            raise WeightsError(f"it uses version {version} of the operators of {_quoted(domain or 'ai.onnx')}")
    _check_graph(model.graph, frozenset(), 0)
    names: set[tuple[str, str, str]] = set()
    for function in model.functions:
        if _key(function) in names:
            raise WeightsError(f"the function {_quoted(function.name)} is there twice")
        names.add(_key(function))
        defined = _added(set(), function.inputs, "an input of a function")
        _check_nodes(function.nodes, defined, frozenset(), 0)
        _check_outputs(function.outputs, defined)
    _check_calls({_key(f): f for f in model.functions})


def _key(function: Function) -> tuple[str, str, str]:
    return function.domain, function.name, function.overload


def _quoted(name: str) -> str:
    return repr(name[:80])


def _added(defined: set[str], names: Iterable[str], what: str) -> set[str]:
    """Add names to those that are defined here, or raise an error where one is there already."""
    for name in names:
        if name in defined:
            raise WeightsError(f"the name {_quoted(name)} is defined twice: again as {what}")
        if name:
            defined.add(name)
    return defined


def _check_graph(graph: Graph, around: Set[str], depth: int) -> None:
    if depth > _DEEPEST:
        raise WeightsError(f"its subgraphs lie more than {_DEEPEST} deep in each other")
    defined: set[str] = set()
    _added(defined, (v.name for v in graph.inputs), "an input")
    # Old files name their constants as inputs too: these are values that may be given another.
    _added(defined, (name for name in graph.initializers if name not in defined), "a constant")
    _check_nodes(graph.nodes, defined, around, depth)
    _check_outputs([v.name for v in graph.outputs], defined | set(around))


def _check_nodes(nodes: Sequence[Node], defined: set[str], around: Set[str], depth: int) -> None:
    inside = [node for node in nodes if any(a.graph is not None for a in node.attributes)]
    outer: Set[str] = frozenset()
    for node in nodes:
        for name in node.inputs:
            if name and name not in defined and name not in around:
                who = f"{_quoted(node.op_type)} {_quoted(node.name)}"
                raise WeightsError(f"{who} uses {_quoted(name)}, which nothing before it defines")
        if inside and any(a.graph is not None for a in node.attributes):
            outer = defined | around
            for attribute in node.attributes:
                if attribute.graph is not None:
                    _check_graph(attribute.graph, outer, depth + 1)
        if any(name in around for name in node.outputs if name):
            name = next(name for name in node.outputs if name in around)
            raise WeightsError(f"the name {_quoted(name)} is defined in a subgraph and around it")
        _added(defined, node.outputs, f"an output of {_quoted(node.op_type)}")


def _check_outputs(names: Sequence[str], defined: Set[str]) -> None:
    for name in names:
        if name not in defined:
            raise WeightsError(f"the output {_quoted(name)} is defined by nothing")


def _check_calls(functions: Mapping[tuple[str, str, str], Function]) -> None:
    """Raise an error where a function calls itself, by others either."""
    calls = {key: list(dict.fromkeys(_called(f.nodes, functions))) for key, f in functions.items()}
    done: set[tuple[str, str, str]] = set()
    for first in functions:
        path: list[tuple[str, str, str]] = []
        todo = [(first, False)]
        while todo:
            key, left = todo.pop()
            if left:
                path.pop()
                done.add(key)
            elif key in path:
                raise WeightsError(f"the function {_quoted(key[1])} calls itself")
            elif key not in done:
                path.append(key)
                todo.append((key, True))
                todo.extend((other, False) for other in calls[key])


def _called(
    nodes: Sequence[Node], functions: Mapping[tuple[str, str, str], Function]
) -> Iterable[tuple[str, str, str]]:
    for node in nodes:
        key = node.domain, node.op_type, node.overload
        if key in functions:
            yield key
        for attribute in node.attributes:
            if attribute.graph is not None:
                yield from _called(attribute.graph.nodes, functions)
