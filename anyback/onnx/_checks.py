"""Checks of a model before a network is made of it: names, subgraphs and functions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from typing import TypeAlias

from anyback.errors import WeightsError
from anyback.onnx._model import Function, Graph, Model, Node, all_nodes

__all__ = ["check_model"]

#: The most levels of nested subgraphs.
_DEEPEST = 10
#: How many functions may call each other in a row, and the most steps once the functions are written out.
_LONGEST, _MOST_STEPS = 50, 1_000_000

#: The key of a function: its domain, its name and its overload.
_Key: TypeAlias = tuple[str, str, str]


def check_model(model: Model) -> None:
    """Raise `WeightsError` where a model is not sound.

    A model is sound where every name is defined once, and before it is used (a subgraph may use the names around it);
    where no function calls itself, directly or through others; where subgraphs are nested at most 10 deep; and where
    its functions, written out, are at most a million steps.

    Parameters
    ----------
    model : Model
        The model as it was read.
    """
    for domain, version in model.opsets.items():
        if version < 1:
            raise WeightsError(f"it uses version {version} of the operators of {_quoted(domain or 'ai.onnx')}")
    _check_graph(model.graph, (), 0)
    names: set[_Key] = set()
    for function in model.functions:
        if not function.name or not function.outputs:
            raise WeightsError(f"the function {_quoted(function.name)} has no name, or gives nothing")
        if _key(function) in names:
            raise WeightsError(f"the function {_quoted(function.name)} is there twice")
        names.add(_key(function))
        defined = _added(set(), function.inputs, "an input of a function")
        _check_nodes(function.nodes, defined, (), 0)
        _check_outputs(function.outputs, (defined,))
    _check_calls(model)


def _key(function: Function) -> _Key:
    return function.domain, function.name, function.overload


def _quoted(name: str) -> str:
    return repr(name[:80])


def _added(defined: set[str], names: Iterable[str], what: str) -> set[str]:
    """Return the names `defined` with more names added, or raise an error where one is there already."""
    for name in names:
        if name in defined:
            raise WeightsError(f"the name {_quoted(name)} is defined twice: again as {what}")
        if name:
            defined.add(name)
    return defined


def _check_graph(graph: Graph, around: tuple[Set[str], ...], depth: int) -> None:
    if depth > _DEEPEST:
        raise WeightsError(f"its subgraphs lie more than {_DEEPEST} deep in each other")
    defined: set[str] = set()
    _added(defined, (v.name for v in graph.inputs), "an input")
    # Old files list their constants among the inputs too, since a caller may give another value.
    _added(defined, (name for name in graph.initializers if name not in defined), "a constant")
    _check_nodes(graph.nodes, defined, around, depth)
    _check_outputs([v.name for v in graph.outputs], (*around, defined))


def _check_nodes(nodes: Sequence[Node], defined: set[str], around: tuple[Set[str], ...], depth: int) -> None:
    """Check nodes whose names are added to those that are defined here; `around` are the names of outer graphs."""
    for node in nodes:
        for name in node.inputs:
            if name and name not in defined and not _is_in(name, around):
                who = f"{_quoted(node.op_type)} {_quoted(node.name)}"
                raise WeightsError(f"{who} uses {_quoted(name)}, which nothing before it defines")
        for attribute in node.attributes:
            if attribute.graph is not None:
                _check_graph(attribute.graph, (*around, defined), depth + 1)
        for name in node.outputs:
            if name and _is_in(name, around):
                raise WeightsError(f"the name {_quoted(name)} is defined in a subgraph and around it")
        _added(defined, node.outputs, f"an output of {_quoted(node.op_type)}")


def _is_in(name: str, scopes: Iterable[Set[str]]) -> bool:
    return any(name in scope for scope in scopes)


def _check_outputs(names: Sequence[str], scopes: Sequence[Set[str]]) -> None:
    for name in names:
        if not _is_in(name, scopes):
            raise WeightsError(f"the output {_quoted(name)} is defined by nothing")


def _check_calls(model: Model) -> None:
    """Raise an error where a function calls itself, directly or through others, or calls become too many steps."""
    functions = {_key(f): f for f in model.functions}
    calls = {key: _called(f.nodes, functions) for key, f in functions.items()}
    steps: dict[_Key, int] = {}
    deep: dict[_Key, int] = {}
    for first in functions:
        path: list[_Key] = []
        todo = [(first, False)]
        while todo:
            key, left = todo.pop()
            if left:
                path.pop()
                steps[key] = _steps(functions[key].nodes, calls[key], steps)
                deep[key] = 1 + max((deep[other] for other in calls[key]), default=0)
                if deep[key] > _LONGEST:
                    raise WeightsError(f"its functions call each other more than {_LONGEST} deep")
            elif key in path:
                raise WeightsError(f"the function {_quoted(key[1])} calls itself")
            elif key not in steps:
                path.append(key)
                if len(path) > _LONGEST:
                    raise WeightsError(f"its functions call each other, or themselves, more than {_LONGEST} deep")
                todo.append((key, True))
                todo.extend((other, False) for other in calls[key])
    if _steps(model.graph.nodes, _called(model.graph.nodes, functions), steps) > _MOST_STEPS:
        raise WeightsError(f"the network has more than {_MOST_STEPS:,} steps")


def _called(nodes: Sequence[Node], functions: Mapping[_Key, Function]) -> Counter[_Key]:
    """Return how often each function is called."""
    keys = ((node.domain, node.op_type, node.overload) for node in all_nodes(nodes))
    return Counter(key for key in keys if key in functions)


def _steps(nodes: Sequence[Node], calls: Counter[_Key], steps: Mapping[_Key, int]) -> int:
    """Return the number of nodes after all functions are written out."""
    return sum(1 for _ in all_nodes(nodes)) + sum(count * steps[key] for key, count in calls.items())
