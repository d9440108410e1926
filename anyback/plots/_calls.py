"""The words of a picture of a network: what stands in the box of each call."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

from anyback import backends
from anyback.layers import Sequential
from anyback.network import Call, Network, Sample, checked_network, is_network, usual_shapes
from anyback.ops import Rows
from anyback.plan import Shape

__all__ = ["Box", "boxes_of", "drawable", "input_words", "name_of", "shape_words", "shortened"]


@dataclass(frozen=True)
class Box:
    """One call in words.

    Parameters
    ----------
    name : str
        The name of the call.
    parameters : int
        How many trained numbers it uses; an array counts in the first box that uses it.
    details : tuple of str
        The arrays with their shapes, and the attributes that the shapes do not imply.
    sources : tuple of int
        The numbers of the inputs and results that the call takes.
    results : tuple of int
        The numbers of its results.
    gives : str
        The shape of each result for one sample, with "output" before it where the network returns it.
    returned : bool
        Whether the network returns a result.
    products : bool
        Whether it multiplies.
    known : bool
        Whether the facts of its op are known.
    """

    name: str
    parameters: int
    details: tuple[str, ...]
    sources: tuple[int, ...]
    results: tuple[int, ...]
    gives: str
    returned: bool
    products: bool
    known: bool


def drawable(net: Any) -> Network:
    """Return a network whose calls say what it computes, or raise `AnybackError` where `net` is no network.

    A network of a subclass with its own `__call__` becomes a network of a single call without known facts.
    """
    return net if is_network(checked_network(net)) else Sequential(net)


def name_of(call: Call) -> str:
    """Return the name of a call."""
    return call.name or call.op.name


def shortened(text: str, most: int) -> str:
    """Return a text of at most `most` letters, with an ellipsis where it is cut."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def boxes_of(net: Network) -> list[Box]:
    """Return a box for each call."""
    shapes = usual_shapes(net)
    found = []
    for (number, call), row in zip(net.results(), net.summary(), strict=True):
        sources = [i for i in call.arguments if i is not None and net.array_of(i) is None]
        results = tuple(range(number, number + call.results))
        found.append(
            Box(
                name=row.name,
                parameters=row.parameters,
                details=(*_arrays(net, call), *_attributes(call, [row.input, row.output])),
                sources=tuple(dict.fromkeys(sources)),
                results=results,
                gives=", ".join(("output " if i in net.outputs else "") + _sample_words(shapes[i]) for i in results),
                returned=not set(results).isdisjoint(net.outputs),
                products=call.op.products,
                known=call.op.rows is not Rows.UNKNOWN,
            )
        )
    return found


def input_words(net: Network) -> str:
    """Return the shapes of the inputs in words, and which of them the network returns as they are."""
    shapes, many = usual_shapes(net), len(net.inputs) > 1
    said = [f"input{f' {i + 1}:' if many else ''} {_sample_words(shapes[i])}" for i in range(len(net.inputs))]
    return ", ".join(f"{words}, output" if i in net.outputs else words for i, words in enumerate(said))


def _sample_words(shape: Shape | None) -> str:
    """Return the shape of one sample in words, from the whole shape of a batch."""
    return shape_words(None if shape is None else shape[1:])


def shape_words(shape: Sample | None) -> str:
    """Return a shape in words: ``?`` where it is not known."""
    if shape is None:
        return "?"
    return "×".join("?" if size is None else str(size) for size in shape) or "one number"


def _arrays(net: Network, call: Call) -> list[str]:
    """Return the arrays of a call in words, those of one shape together; for a single number its value."""
    names = _names(call)
    groups: dict[str, list[str]] = {}
    for place, number in enumerate(call.arguments):
        if (x := net.array_of(number)) is not None:
            said = shape_words(tuple(x.shape)) if x.ndim else f"{float(backends.to_numpy(x)):g}"
            groups.setdefault(said, []).append(names[place] if place < len(names) else "array")
    return [f"{', '.join(dict.fromkeys(group))} {said}" for said, group in groups.items()]


def _names(call: Call) -> list[str]:
    """Return the names of an op's parameters, as far as they have names."""
    try:
        parameters = inspect.signature(call.op.compute).parameters.values()
    except (TypeError, ValueError):  # a function that is not written in Python
        return []
    return [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]


def _attributes(call: Call, shapes: list[Shape | None]) -> list[str]:
    return [
        f"{name} {_value(value)}"
        for name, value in call.attributes.items()
        if isinstance(value, (bool, int, float, str, tuple)) and not _says_nothing(value) and value not in shapes
    ]


def _says_nothing(value: Any) -> bool:
    """Return whether an attribute changes nothing: None, or for each axis a step of 1 or a padding of 0."""
    if not isinstance(value, tuple):
        return value is None or value is False
    edges = {n for item in value if isinstance(item, tuple) for n in item}
    return edges == {0} or (not edges and set(value) in ({0}, {1}))


def _value(value: Any) -> str:
    if isinstance(value, tuple):
        return "×".join("+".join(map(str, dict.fromkeys(n))) if isinstance(n, tuple) else str(n) for n in value)
    return f"{value:g}" if isinstance(value, float) else str(value)[:40]
